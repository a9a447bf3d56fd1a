"""What is known of detectors that others publish: how their checkpoints are told, and what they become."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from ..checks import InputError
from ..config import ModelConfig

GROUP = re.compile(r"\(((?:[^()]|\([^()]*\))*)\)\??")
"""A group of a pattern, which may have a group in it."""
REFERENCE = re.compile(r"\\g<(\d)>|\\(\d)")
"""What stands for a group in what takes the place of a pattern."""

WORDS = re.compile(r"[.:]")


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
        rules: pairs of a pattern and what takes its place, by which ``renamed`` names; for messages.
        apart: the same kind of rules, from our names to those before ``rules``, where theirs are cut in other pieces.
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
    rules: Sequence[tuple[str, str]] = ()
    apart: Sequence[tuple[str, str]] = ()

    def name_of(self, ours: str, known: Sequence[str]) -> str:
        """What its authors call one of our tensors, as far as the rules can be read backwards; else our name.

        Args:
            ours: the name.
            known: names of theirs that are there: the one that is missing is like them.
        """
        name = renamed_by(self.apart, ours)
        steps = {name: 0}
        for pattern, put in reversed(self.rules):
            for found, original in _backwards(pattern, put):
                for each, count in list(steps.items()):
                    before = re.sub(found, original, each)
                    if before != each:
                        steps[before] = max(count + 1, steps.get(before, 0))
        fitting = [each for each in steps if each != name and renamed_by(self.rules, each) == name]
        return max(fitting, key=lambda each: (_likeness(each, known), steps[each], len(each)), default=name)


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


@cache
def _backwards(pattern: str, put: str) -> list[tuple[str, str]]:
    """A rule from right to left; two where a group of it is optional, without what it stands for and with it."""
    groups = [found[1] for found in GROUP.finditer(pattern)]
    used = [int(found[1] or found[2]) for found in REFERENCE.finditer(put)]
    first, *others = (re.escape(each) for each in REFERENCE.sub("\n", put).split("\n"))
    text = first + "".join(f"({groups[n - 1]}){each}" for n, each in zip(used, others, strict=True))
    start = "^" if pattern.startswith("^") else ""
    end = "$" if pattern.endswith("$") else ""
    rules = {}
    for with_optional in (False, True):
        pieces = GROUP.split(pattern.strip("^$"))  # literal text and groups in turn
        for n, group in enumerate(groups):
            unsaid = group if with_optional else ""
            pieces[2 * n + 1] = rf"\g<{used.index(n + 1) + 1}>" if n + 1 in used else unsaid
        rules["".join(pieces).replace(r"\.", ".")] = f"{start}{text}{end}"
    return [(found, original) for original, found in rules.items()]


@lru_cache(4096)
def _words(name: str) -> list[str]:
    return WORDS.split(name)


def _likeness(name: str, known: Sequence[str]) -> tuple[int, bool]:
    """With how many of its words the most similar other name begins, and whether that has as many words."""
    words = _words(name)
    best = (0, False)
    for other in known:
        theirs = _words(other)
        differs = (n for n, (one, two) in enumerate(zip(words, theirs, strict=False)) if one != two)
        best = max(best, (next(differs, len(words)), len(words) == len(theirs)))
    return best
