"""Checkpoints of others: a detector as its authors publish it becomes one of ours. Tensors are read, code is never run.

``ARCHITECTURES`` are the detectors that are known by the names of their tensors.
"""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..checks import InputError, check_choice, listed, one_line
from ..config import MODELS, InputConfig, ModelConfig, model_config
from .detector import Detector
from .published_evrt import EVRT_DETR
from .published_names import Architecture, Facts
from .published_rvt import RVT, S5_VIT
from .zoo import build_detector

ARCHITECTURES: tuple[Architecture, ...] = (RVT, S5_VIT, EVRT_DETR)
SUFFIXES = (".ckpt", ".pt", ".pth")
"""Of the checkpoints of a folder."""
PREFIX = "mdl."
"""Which Lightning puts before the names of a module's tensors in the authors' trainings."""
WINDOW_US = 50_000
MAX_COUNT = 10
"""Where the counts of events stop in frames."""
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Types of weights, of which ours are made."""
COUNTERS = (torch.int32, torch.int64, *FLOATS)
"""Types of counters of batch norm, which are cast with the rest where a checkpoint was made small."""
CODE = re.compile(r"GLOBAL ([\w.]+)|(?:reduce|function|class) [`'\"]?([\w.]+)")


SETTINGS = re.compile(
    r"(omegaconf|pytorch_lightning|lightning|lightning_fabric|pathlib)\..*"
    r"|typing\.Any|argparse\.Namespace|collections\.defaultdict|builtins\.(int|float|str|bool|dict|list|tuple|set)"
)
"""Classes of which the settings of a training are, as Lightning keeps them beside the tensors."""


class Unread:
    """Stands for an object of a class that ``SETTINGS`` names: nothing of it is imported, called or read."""

    def __init__(self, *args: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def append(self, value: object) -> None:
        """An entry of a list."""

    def extend(self, values: object) -> None:
        """Entries of a list."""


class Dataset(NamedTuple):
    """Recordings on which detectors are trained that are published.

    classes: names, in the order of their labels.
    sensor_hw: height and width of the sensor.
    frame_hw: height and width of the frames.
    split: windows of attention on the coarsest map, in each direction.
    """

    classes: tuple[str, ...]
    sensor_hw: tuple[int, int]
    frame_hw: tuple[int, int]
    split: int


DATASETS = {
    "gen1": Dataset(("car", "pedestrian"), (240, 304), (240, 304), 1),
    "1mpx": Dataset(("pedestrian", "two wheeler", "car"), (720, 1280), (360, 640), 2),
}
"""What ``input`` lists."""


class Imported(NamedTuple):
    """A detector that others trained, in evaluation mode.

    detector: ours.
    source: of the header of our file: the name of each file, and its SHA-256.
    notes: what a user should know, in lines.
    """

    detector: Detector
    source: dict[str, str]
    notes: list[str]


def import_weights(
    path: Path | str,
    *,
    name: str | None = None,
    classes: Sequence[str] = (),
    input: str | None = None,
    **settings: Any,
) -> Imported:
    """The detector in a checkpoint as its authors publish it.

    Args:
        path: the file; or a folder, where a detector is in several.
        name: of the architecture, a key of ``seqdet.config.MODELS``; what the tensors say if not given.
        classes: their names, in the order of their labels; those of the dataset if none.
        input: a key of ``DATASETS``, which says what frames show; the one of so many classes if not given.
        settings: of the architecture, such as ``carry``, and those that tensors do not say.

    Raises:
        InputError: if a file holds code or is damaged, or what it holds is no whole detector of a known architecture.
    """
    path = Path(path)
    files = sorted(each for each in path.iterdir() if each.suffix in SUFFIXES) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path} must be a folder with checkpoints ({', '.join(SUFFIXES)}), and has none.")
    tensors: dict[str, Tensor] = {}
    left_out: list[str] = []
    for file in files:
        found, others = read_checkpoint(file)
        prefix = f"{file.stem}:" if len(files) > 1 else ""
        tensors |= {prefix + each: tensor for each, tensor in found.items()}
        left_out += [prefix + each for each in others]
    architecture = _recognised(tensors, path)
    facts = architecture.facts(tensors, path)
    known = _dataset(input, facts, classes, path)
    config = _config(architecture, facts, known, name, classes, settings)
    with torch.device("meta"):
        detector = build_detector(config)
    combined = architecture.combined(tensors)
    for each in tensors.keys() - combined.keys():
        _check_type(each, tensors[each], torch.float32, path)
    fitting, unknown = _fitting(detector, architecture, combined, path)
    detector.load_state_dict(fitting, assign=True)
    bins: dict[str, int | float | bool | str] = {"bins": facts.in_channels // 2, "max_count": MAX_COUNT}
    detector.input = InputConfig("stacked_histogram", bins, WINDOW_US, known.sensor_hw, known.frame_hw)
    height, width = known.frame_hw
    millions = sum(parameter.numel() for parameter in detector.parameters()) / 1e6
    notes = [
        f"{architecture.title}, {config.name} of {millions:.2f} M parameters: "
        f"classes {', '.join(config.classes)}; frames of {width}x{height} pixels, {facts.in_channels // 2} bins of "
        f"{WINDOW_US // 1000} ms together."
    ]
    if left_out or unknown:
        notes.append(f"Left out: {listed([*left_out, *unknown])}.")
    if architecture.remark and all(getattr(config, key) == value for key, value in architecture.published.items()):
        notes.append(architecture.remark)
    source = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    return Imported(detector.eval(), source, notes)


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of a checkpoint by name, and the names of what else is in it.

    A checkpoint of Lightning has them in its ``state_dict``, where those of the module have a prefix; others are a
    table of tensors. Settings that it keeps beside them, in the classes of OmegaConf and the like, are passed over.

    Raises:
        InputError: if the file is missing, is damaged, or holds more than tensors and plain values: code is not run.
    """
    if not path.is_file():
        raise InputError(f"{path} must be a checkpoint, or a folder with some, and is neither.")
    try:
        with torch.serialization.safe_globals([(Unread, name) for name in _classes_of_settings(path)]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{path} must be a file that can be read: {one_line(error.strerror or error)}.") from error
    except pickle.UnpicklingError as error:
        if found := CODE.search(str(error)):
            raise InputError(
                f"{path} must hold tensors and plain values alone, and it holds code, {found[1] or found[2]}, which "
                "seqdet never runs. Ask its authors for a file of its state_dict alone."
            ) from error
        raise InputError(f"{path} must be a checkpoint of PyTorch; it is damaged or of another kind.") from error
    except (RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{path} must be a checkpoint of PyTorch; it is damaged or of another kind.") from error
    others: list[str] = []
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        others = [str(key) for key in content if key != "state_dict"]
        content = content["state_dict"]
    if not isinstance(content, dict) or not any(isinstance(each, Tensor) for each in content.values()):
        raise InputError(f"{path} must hold a table of tensors, or one in state_dict, got {type(content).__name__}.")
    is_module = any(str(key).startswith(PREFIX) for key in content)
    tensors = {}
    for key, value in content.items():
        if isinstance(value, Tensor) and (str(key).startswith(PREFIX) or not is_module):
            tensors[str(key).removeprefix(PREFIX)] = value.detach()
        else:
            others.append(str(key))
    return tensors, others


def _classes_of_settings(path: Path) -> list[str]:
    """The names of classes in a checkpoint that are those of settings; none where that cannot be told."""
    with suppress(Exception):  # damaged files fail in many ways, and fail again when they are read
        return [each for each in torch.serialization.get_unsafe_globals_in_checkpoint(path) if SETTINGS.fullmatch(each)]
    return []


def _recognised(tensors: dict[str, Tensor], path: Path) -> Architecture:
    for architecture in ARCHITECTURES:
        if all(any(re.search(sign, name) for name in tensors) for sign in architecture.signs):
            return architecture
    known = ", ".join(each.title for each in ARCHITECTURES)
    raise InputError(
        f"{path} must be a checkpoint of one of {known}; its {len(tensors)} tensors have the names of none of them: "
        f"{listed(list(tensors))}."
    )


def _dataset(name: str | None, facts: Facts, classes: Sequence[str], path: Path) -> Dataset:
    if name is not None:
        check_choice(name, DATASETS, "input")
        known = DATASETS[name]
    else:
        fitting = [each for each in DATASETS.values() if len(each.classes) == facts.classes]
        if len(fitting) != 1:
            raise InputError(
                f"input must be one of {', '.join(DATASETS)}, as {path} has {facts.classes} classes, which does not "
                "say what it was trained on."
            )
        known = fitting[0]
    named = classes or known.classes
    if not classes and len(named) != facts.classes:
        raise InputError(
            f"input must be a dataset of as many classes as {path} has, {facts.classes}, or classes be given, got "
            f"{name} of {len(named)}: {', '.join(named)}."
        )
    if len(named) != facts.classes:
        raise InputError(
            f"classes must be {facts.classes} names in the order of their labels for {path}, got {listed(named)}."
        )
    if facts.in_channels % 2:
        raise InputError(f"{path} must take bins of two polarities, got {facts.in_channels} channels.")
    return known


def _config(
    architecture: Architecture,
    facts: Facts,
    known: Dataset,
    name: str | None,
    classes: Sequence[str],
    settings: dict[str, Any],
) -> ModelConfig:
    names = [each for each, usual in MODELS.items() if type(usual) is architecture.kind]
    published = [each for each in names if all(getattr(MODELS[each], k) == v for k, v in facts.settings.items())]
    for key in architecture.unsaid if published else ():
        usual = getattr(MODELS[published[0]], key)
        if settings.get(key, usual) != usual:
            raise InputError(
                f"{key} must be {usual}, or left out, for a checkpoint of the size of {published[0]}, as its authors "
                f"trained it, got {settings[key]}."
            )
    if name is not None:
        check_choice(name, names, f"name of a checkpoint of {architecture.title}")
    else:
        if not published and (missing := [each for each in architecture.unsaid if each not in settings]):
            told = ", ".join(f"{key} {value}" for key, value in facts.settings.items())
            raise InputError(
                f"{missing[0]} must be given for a checkpoint of {architecture.title} of {told}: its tensors do not "
                "say it, and no published one has this size."
            )
        name = published[0] if published else names[0]
        settings = {**({} if published else facts.settings), **settings}
    if "split" in vars(MODELS[name]):
        settings = {"split": known.split, **settings}
    named = tuple(classes or known.classes)
    return model_config(name, **{**architecture.published, **settings}, classes=named, in_channels=facts.in_channels)


def _fitting(
    detector: Detector, architecture: Architecture, tensors: dict[str, Tensor], path: Path
) -> tuple[dict[str, Tensor], list[str]]:
    """Our tensors by our names, and the names of those of theirs that have no place."""
    wanted = detector.state_dict()
    name = detector.config.name
    fitting: dict[str, Tensor] = {}
    unknown = []
    for theirs, tensor in tensors.items():
        pairs = architecture.renamed(theirs, tensor)
        if not pairs or any(ours not in wanted for ours, _ in pairs):
            unknown.append(theirs)
            continue
        for ours, part in pairs:
            _check_type(theirs, part, wanted[ours].dtype, path)
            if part.layout != torch.strided or part.is_quantized or part.shape != wanted[ours].shape:
                raise InputError(
                    f"{path} must hold a {name}, whose {ours} has the shape {tuple(wanted[ours].shape)}; "
                    f"{theirs} gives {tuple(part.shape)} in its place."
                )
            number = part.to(wanted[ours].dtype)
            if not (part.isfinite().all() and number.isfinite().all()):
                raise InputError(f"{path} must hold finite numbers, and {theirs} has others.")
            fitting[ours] = number.clone(memory_format=torch.contiguous_format)
    if missing := [ours for ours in wanted if ours not in fitting]:
        known = [theirs for theirs in tensors if theirs not in unknown]
        names = list(dict.fromkeys(architecture.name_of(ours, known) for ours in missing))
        raise InputError(
            f"{path} must hold a whole {name}; of its {len(wanted)} tensors {len(missing)} are not there: "
            f"{listed(names)}."
        )
    return fitting, unknown


def _check_type(name: str, tensor: Tensor, wanted: torch.dtype, path: Path) -> None:
    """Raise if a tensor of theirs holds another kind of numbers than ours."""
    kinds = FLOATS if wanted.is_floating_point else COUNTERS
    if tensor.dtype not in kinds:
        raise InputError(
            f"{path} must hold one of {', '.join(str(kind).removeprefix('torch.') for kind in kinds)} in {name}, got "
            f"{str(tensor.dtype).removeprefix('torch.')}."
        )
