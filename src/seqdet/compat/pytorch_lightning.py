"""Counterpart of ``pytorch_lightning``: the Lightning that is installed, whose ``Trainer`` knows old arguments too."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import wraps
from importlib import import_module
from typing import Any

import torch

from ..checks import InputError
from ..devices import choose_device, choose_precision

log = logging.getLogger(__name__)
lightning: Any = import_module("lightning.pytorch")
Arguments = dict[str, Any]


def __getattr__(name: str) -> Any:
    """Everything else is Lightning's own."""
    return getattr(lightning, name)


class Trainer(lightning.Trainer):
    """Lightning's own; arguments of Lightning 1 that are gone become those of today, each with a line in the log.

    ``TRANSLATIONS`` and ``resume_from_checkpoint`` are meant. What else Lightning does not know is its
    error.
    """

    @wraps(lightning.Trainer.__init__)
    def __init__(self, **arguments: Any) -> None:
        self.fit_from = take_checkpoint_path(arguments)
        super().__init__(**translate(arguments))

    @wraps(lightning.Trainer.fit)
    def fit(self, *arguments: Any, **options: Any) -> None:
        super().fit(*arguments, **({"ckpt_path": self.fit_from} if self.fit_from else {}) | options)


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
    return (
        _with_callback(lightning.callbacks.TQDMProgressBar(steps), others) if steps else {"enable_progress_bar": False}
    )


def _weights_summary(depth: str | None, others: Arguments) -> Arguments:
    if depth == "full":
        return _with_callback(lightning.callbacks.ModelSummary(max_depth=-1), others)
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


def _shown(arguments: Arguments) -> str:
    return ", ".join(f"{name}={_value(value)}" for name, value in arguments.items())


def _value(value: Any) -> str:
    """The value as a script would write it; of objects the type."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return repr(value) if value is None or isinstance(value, bool | int | float | str) else type(value).__name__
