"""Parts of a detector that are not learnt: they stay as they are, in evaluation mode, also when a run goes on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import nn

from ..checks import InputError
from ..config_files import suggestion


def frozen_parts(module: nn.Module, name: str = "") -> tuple[str, ...]:
    """What ``requires_grad_(False)`` has frozen, as few names as say it: modules, and parameters of others."""
    parameters = list(module.parameters())
    if name and parameters and not any(each.requires_grad for each in parameters):
        return (name,)
    inner = [each for key, child in module.named_children() for each in frozen_parts(child, _join(name, key))]
    own = [_join(name, key) for key, each in module.named_parameters(recurse=False) if not each.requires_grad]
    return (*own, *inner)


def freeze(module: nn.Module, parts: Iterable[str]) -> None:
    """Have the parameters of these names, or below them, not learnt.

    Raises:
        InputError: if a name is none of the detector's, or nothing is left to learn.
    """
    names = [name for name, _ in module.named_parameters()]
    for part in parts:
        chosen = [each for name, each in module.named_parameters() if _is_within(name, part)]
        if not chosen:
            known = {prefix for name in names for prefix in _prefixes(name)}
            raise InputError(
                f"train.freeze must name parts of the detector, such as {names[0].partition('.')[0]}, got {part!r}."
                f"{suggestion(part, known)}"
            )
        for parameter in chosen:
            parameter.requires_grad_(False)
    if not any(each.requires_grad for each in module.parameters()):
        raise InputError("train.freeze must leave something to learn, and all of the detector is frozen.")


def rest(module: nn.Module, parts: Iterable[str]) -> None:
    """Put the modules of these names in evaluation mode: statistics of batch norm are not learnt either."""
    for part in parts:
        for name, inner in module.named_modules():
            if name and _is_within(name, part):
                inner.eval()


def _is_within(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")


def _join(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def _prefixes(name: str) -> Iterator[str]:
    words = name.split(".")
    return (".".join(words[: n + 1]) for n in range(len(words)))
