"""Where a training begins that does not begin from nothing: weights of a file, as far as they fit the detector."""

from __future__ import annotations

import logging
from dataclasses import fields, replace
from pathlib import Path

import torch
from torch import Tensor

from ..allowing import recall
from ..checks import InputError, listed, proposed
from ..config import InputConfig, ModelConfig, OwnConfig, Shown, WithMemoryConfig
from ..models.detector import Detector
from ..models.weights import load_detector
from ..models.zoo import build_detector
from ..runs import RunFolder

log = logging.getLogger(__name__)
FOREIGN = (".ckpt", ".pt", ".pth")
"""Endings of files that hold pickles."""
SOME_ROWS = "but for what belongs to "
"""Why something is new of a last layer that knew some of the classes."""
EVERY_ROW = (0, 0)
"""Places and logits before the classes, of a tensor that has no rows of classes."""
ANOTHER_CLASS = "\N{REPLACEMENT CHARACTER}"
"""The name of a class that no dataset has, for a look at what a detector of one class more is like."""


def model_of_start(path: Path) -> ModelConfig:
    """The architecture and settings of the detector in a file or a run; its classes and channels are left open.

    Raises:
        InputError: as ``load_detector``.
    """
    config = _loaded(path).config
    log.info("The detector is built as that of %s: %s.", path, config.name)
    return replace(config, classes=(), in_channels=None)


def start_from(detector: Detector, path: Path) -> Detector:
    """Give ``detector`` the weights of a file, or of a run, that fit it by name and shape; the log says which are new.

    Where the classes differ, the last layers keep what belongs to classes of the same name, row by row.

    Args:
        detector: changed in place.
        path: what ``save_detector`` or ``fit`` wrote.

    Returns:
        The detector of the file.

    Raises:
        InputError: if the file cannot be read, is of another architecture, or nothing of it fits, or so
            little that it is chance; the detector stays as it was.
    """
    source = _loaded(path)
    if not _is_same_architecture(detector, source):
        raise InputError(
            f"train.start must be of the architecture that is trained, {_kind(detector)}, got one of {_kind(source)} "
            f"in {path}; model.name, and model.frames of with_memory, say what is trained."
        )
    given = source.state_dict()
    wanted = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    by_class = _rows_of_classes(detector) if detector.classes != source.classes else {}
    weights = [name for name, tensor in wanted.items() if tensor.is_floating_point()]  # and no counter of batch norm
    reasons = {
        name: "not in the file"
        if name not in given
        else _take(tensor, given[name], by_class.get(name, EVERY_ROW), detector, source)
        for name, tensor in wanted.items()
    }
    new: dict[str, list[str]] = {}
    for name in weights:
        if (reason := reasons[name]) is not None:
            new.setdefault(reason, []).append(name)
    left = [name for reason, names in new.items() if not reason.startswith(SOME_ROWS) for name in names]
    taken = [name for name in weights if name not in left]
    others = _other_settings(detector.config, source.config)
    count = sum(wanted[name].numel() for name in taken)
    is_same = not others and type(detector.config) is type(source.config)
    if not count or (2 * count < min(_count(detector), _count(source)) and not is_same):  # scraps of the same shapes
        name = left[0]
        raise InputError(
            f"train.start must hold weights that fit the detector, and {'less than half' if count else 'none'} of "
            f"{path} does: " + (f"it has {listed(others)}." if others else f"{name} is {reasons[name]}.")
        )
    told = [f"{listed(_briefly(names, weights))} ({reason})" for reason, names in new.items()]
    log.log(
        logging.INFO if 2 * len(taken) >= len(weights) else logging.WARNING,
        "Began with %s: %d of %d tensors taken%s%s.",
        *(path, len(taken), len(weights), f", new are {listed(told, '; ')}" if new else ""),
        f"; the file has {listed(others)}" if others else "",
    )
    detector.load_state_dict(wanted)
    return source


def _is_same_architecture(detector: Detector, source: Detector) -> bool:
    """Whether weights of one mean something in the other; of functions of users their backbones say it."""
    one = detector.config
    other = source.config
    if isinstance(one, OwnConfig) or isinstance(other, OwnConfig):
        return type(detector.backbone) is type(source.backbone)
    if isinstance(one, WithMemoryConfig) and isinstance(other, WithMemoryConfig):
        return one.frames == other.frames
    return type(one) is type(other)


def _other_settings(wanted: ModelConfig, given: ModelConfig) -> list[str]:
    """What a file has of settings that change shapes, where it is not what is trained; classes and channels aside."""
    if type(wanted) is not type(given):
        return []
    names = [each.name for each in fields(wanted) if each.name not in ("name", "classes", "in_channels")]
    return [
        f"{name} {getattr(given, name)} in place of {getattr(wanted, name)}"
        for name in names
        if getattr(given, name) != getattr(wanted, name) and _changes_shapes(name, wanted, given)
    ]


def _changes_shapes(name: str, wanted: ModelConfig, given: ModelConfig) -> bool:
    """Whether a setting that differs makes tensors of other shapes, alone; true if it cannot differ alone."""
    given = replace(given, classes=wanted.classes, in_channels=wanted.in_channels)
    for one, other in ((wanted, given), (given, wanted)):
        try:
            changed = replace(one, **{name: getattr(other, name)})
            return _shapes(changed) != _shapes(one)
        except InputError:
            continue
    return True


def _shapes(config: ModelConfig) -> dict[str, torch.Size]:
    with torch.device("meta"):
        return {name: tensor.shape for name, tensor in build_detector(config).state_dict().items()}


def _count(detector: Detector) -> int:
    """How many numbers a detector has learnt, statistics of batch norm among them."""
    return sum(tensor.numel() for tensor in detector.state_dict().values() if tensor.is_floating_point())


def tell_other_input(before: Shown | None, now: Shown | None, path: Path) -> None:
    """Warn where frames show something else than those that the weights of ``path`` were trained on."""
    if not (isinstance(before, InputConfig) and isinstance(now, InputConfig)):
        if isinstance(now, InputConfig):
            log.warning("%s names no events that it was trained on, and these data are events.", path)
        if isinstance(before, InputConfig):
            log.warning("%s was trained on events as %s, and these data are pictures.", path, before.representation)
        return
    settings = ("representation", "parameters", "window_us")
    told = [
        f"{name} {getattr(before, name)} in place of {getattr(now, name)}"
        for name in settings
        if getattr(before, name) != getattr(now, name)
    ]
    if told:
        log.warning("%s was trained on frames that show something else: %s.", path, ", ".join(told))


def _loaded(path: Path) -> Detector:
    """The detector of a file of weights, or of a run, which may call what the run was allowed to."""
    folder = RunFolder(path if path.is_dir() else path.parent)
    recall(RunFolder(folder.root.parent if folder.root.name == folder.checkpoints.name else folder.root).config)
    if path.suffix in FOREIGN:
        imported = proposed("import-weights", path, "-o", path.with_suffix(".safetensors").name)
        raise InputError(
            f"train.start must be a run or a file of weights, .safetensors, got {path}. A published checkpoint is "
            f"imported first: {imported}"
        )
    if not path.is_dir():
        return load_detector(path)
    folder.check_holds_run()
    if not folder.detector.is_file():
        onward = proposed("train", "--resume", path)
        raise InputError(f"train.start must be a file of weights, or a finished run, and {path} is not: {onward}")
    return load_detector(folder.detector)


def _kind(detector: Detector) -> str:
    config = detector.config
    frames = f" of {config.frames}" if isinstance(config, WithMemoryConfig) else ""
    return (config.name or type(detector.backbone).__name__) + frames


def _rows_of_classes(detector: Detector) -> dict[str, tuple[int, int] | None]:
    """The tensors that depend on how many classes there are: how many places and how many logits before the classes.

    A last layer has, for each place of a cell, so many logits before those of the classes, along its first axis. Of
    other tensors it is not known how they depend on them.
    """
    config = detector.config
    with torch.device("meta"):
        other = build_detector(replace(config, classes=(*config.classes, ANOTHER_CLASS))).state_dict()
    last = {id(tensor) for layer in detector.head.predictors for tensor in layer.state_dict(keep_vars=True).values()}
    found: dict[str, tuple[int, int] | None] = {}
    for name, tensor in detector.state_dict(keep_vars=True).items():
        if tensor.shape == other[name].shape:
            continue
        places = len(other[name]) - len(tensor)
        before = len(tensor) // max(places, 1) - len(config.classes)
        fits = places > 0 and len(tensor) == places * (before + len(config.classes)) and before >= 0
        found[name] = (places, before) if fits and id(tensor) in last else None
    return found


def _take(
    tensor: Tensor, its: Tensor, rows: tuple[int, int] | None, detector: Detector, source: Detector
) -> str | None:
    """Copy what a tensor can have of another; why something of it is new, or None.

    Args:
        tensor, its: the two, changed and read.
        rows: as in ``_rows_of_classes``; ``EVERY_ROW`` of a tensor that does not depend on the classes.
        detector, source: whose they are.
    """
    if rows is None:
        return "of other classes"
    places, before = rows
    wanted = (places * (before + len(source.classes)), *tensor.shape[1:]) if places else tuple(tensor.shape)
    if its.shape != wanted:
        return f"{_shape(tensor)} in place of {_shape(its)}"
    if not places:
        tensor.copy_(its)
        return None
    kept = [name for name in detector.classes if name in source.classes]
    mine = tensor.unflatten(0, (places, -1))
    other = its.unflatten(0, (places, -1))
    mine[:, :before] = other[:, :before]
    for name in kept:
        mine[:, before + detector.classes.index(name)] = other[:, before + source.classes.index(name)]
    if not kept:
        return "of other classes"
    return None if len(kept) == len(detector.classes) else SOME_ROWS + listed(kept)


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"


def _briefly(names: list[str], among: list[str]) -> list[str]:
    """Names of modules in place of those of all their tensors, where all of them are meant."""
    left = set(among) - set(names)
    found: dict[str, None] = {}
    for name in names:
        words = name.split(".")
        prefixes = (".".join(words[:n]) for n in range(1, len(words)))
        whole = (each for each in prefixes if not any(other.startswith(f"{each}.") for other in left))
        found[next(whole, name)] = None
    return list(found)
