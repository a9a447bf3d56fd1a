"""Arguments that the ``Trainer`` of Lightning 1 took, in terms of today's."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import torch

from ...checks import InputError
from ...devices import choose_device, choose_precision

log = logging.getLogger(__name__)
Arguments = dict[str, Any]


def translate(arguments: Mapping[str, Any]) -> Arguments:
    """The arguments, old ones replaced by what they mean on this machine, each with a line in the log.

    Raises:
        InputError: if ``gpus`` asks for more than one.
    """
    today = dict(arguments)
    for name, meaning in TRANSLATIONS.items():
        if name not in today:
            continue
        old = {name: today.pop(name)}
        new = meaning(old[name], today)
        today |= new
        if new != old:
            log.warning("seqdet: Trainer(%s) means Trainer(%s) here.", _shown(old), _shown(new))
    return today


def take_checkpoint_path(arguments: Arguments) -> Any:
    """Take ``resume_from_checkpoint`` out of the arguments: today it belongs to ``fit``."""
    path = arguments.pop("resume_from_checkpoint", None)
    if path is not None:
        log.warning("seqdet: Trainer(resume_from_checkpoint=%r) means Trainer.fit(ckpt_path=%r) here.", path, path)
    return path


def _gpus(gpus: Any, others: Arguments) -> Arguments:
    if gpus is None and others.keys() & {"accelerator", "devices"}:
        return {}
    count = len(gpus) if isinstance(gpus, list | tuple) else gpus or 0
    if count == -1:
        count = max(1, torch.cuda.device_count())
    if count not in (0, 1):
        raise InputError(
            f"gpus must be 0, 1, or a list of one index, got {gpus!r}. For several, Lightning would start the script "
            "again without seqdet's names."
        )
    if not count or choose_device("auto") == "cpu":
        return {"accelerator": "cpu", "devices": 1}
    return {"accelerator": "gpu", "devices": gpus}


def _checkpoint_callback(value: Any, others: Arguments) -> Arguments:
    if value is None:
        return {}
    return {"enable_checkpointing": value} if isinstance(value, bool) else _with_callback(value, others)


def _precision(precision: Any, others: Arguments) -> Arguments:
    if str(precision) != "16":
        return {"precision": precision}
    if others.get("accelerator") != "cpu" and choose_device("auto") == "cuda":
        return {"precision": "16-mixed"}
    return {"precision": "bf16-mixed" if choose_precision("auto", "cpu") == "bfloat16" else "32-true"}


def _progress_bar_refresh_rate(steps: int | None, others: Arguments) -> Arguments:
    if steps is None:
        return {}
    return _with_callback(_callbacks().TQDMProgressBar(steps), others) if steps else {"enable_progress_bar": False}


def _weights_summary(depth: str | None, others: Arguments) -> Arguments:
    if depth == "full":
        return _with_callback(_callbacks().ModelSummary(max_depth=-1), others)
    return {"enable_model_summary": depth is not None}


TRANSLATIONS: dict[str, Callable[[Any, Arguments], Arguments]] = {
    "gpus": _gpus,
    "precision": _precision,
    "checkpoint_callback": _checkpoint_callback,
    "progress_bar_refresh_rate": _progress_bar_refresh_rate,
    "weights_summary": _weights_summary,
}
"""What an argument means, given its value and the other arguments. The device is settled before the precision."""


def _with_callback(callback: Any, others: Arguments) -> Arguments:
    given = others.get("callbacks") or []
    return {"callbacks": [*(given if isinstance(given, list | tuple) else [given]), callback]}


def _callbacks() -> Any:
    return import_module("lightning.pytorch.callbacks")


def _shown(arguments: Arguments) -> str:
    return ", ".join(f"{name}={_value(value)}" for name, value in arguments.items())


def _value(value: Any) -> str:
    """The value as a script would write it; of objects the type."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return repr(value) if value is None or isinstance(value, bool | int | float | str) else type(value).__name__
