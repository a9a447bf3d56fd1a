"""What is known of detectors that others publish: how their checkpoints are told, and what they become."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from ..checks import InputError
from ..config import ModelConfig


class Facts(NamedTuple):
    """What the shapes of a checkpoint say.

    classes: how many there are.
    in_channels: of the frames.
    settings: of the architecture, by the names that its configuration has for them.
    """

    classes: int
    in_channels: int
    settings: dict[str, Any]


@dataclass(frozen=True)
class Architecture:
    """How checkpoints of one kind of detector are known, and what they become.

    Where a detector is published in several files, the names of its tensors are those of the files without their
    endings, a colon, and those in the files.

    Attributes:
        title: what its authors call it.
        kind: its configuration.
        signs: patterns; such a checkpoint, and no other, has for each a tensor in whose name it is found.
        facts: what its tensors say; the second argument is the path, for messages.
        renamed: our tensors by our names, for the name and the tensor of theirs; none if we have nothing like it.
        unsaid: settings that no tensor says, where the sizes are not those of a published one.
        published: settings that differ from ours where its authors trained it.
        remark: what a user should know of them.
        combined: their tensors, of which some were put together to one under a name that ``renamed`` knows.
    """

    title: str
    kind: type[ModelConfig]
    signs: tuple[str, ...]
    facts: Callable[[Mapping[str, Tensor], Path], Facts]
    renamed: Callable[[str, Tensor], Sequence[tuple[str, Tensor]]]
    unsaid: tuple[str, ...] = ()
    published: dict[str, Any] = field(default_factory=dict)
    remark: str = ""
    combined: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] = dict


def renamed_by(rules: Sequence[tuple[str, str]], name: str) -> str:
    """The name after all rules, pairs of a pattern and what takes its place, were applied in their order."""
    for pattern, ours in rules:
        name = re.sub(pattern, ours, name)
    return name


def size_of(tensors: Mapping[str, Tensor], name: str, axis: int, path: Path) -> int:
    """The length of an axis of a tensor that a whole checkpoint has.

    Raises:
        InputError: if it is not there, or has no such axis.
    """
    if name not in tensors:
        raise InputError(f"{path} must hold a whole detector; {name} is not there, and {len(tensors)} tensors are.")
    if tensors[name].ndim <= axis:
        raise InputError(f"{path} must have more than {axis} axes in {name}, got shape {tuple(tensors[name].shape)}.")
    return tensors[name].shape[axis]
