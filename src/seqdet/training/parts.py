"""Parts of a detector by name: those that stay as they are, and those that learn at a rate of their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

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
            raise _unknown("train.freeze", part, names)
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


def rate_factors(module: nn.Module, factors: Mapping[str, float]) -> dict[str, float]:
    """The factor of the learning rate of every parameter, by name: that of the longest name that it is within, or 1.

    Args:
        module: a detector.
        factors: of parameters of these names, or below them.

    Raises:
        InputError: if a name is none of the detector's.
    """
    names = [name for name, _ in module.named_parameters()]
    for part in factors:
        if not any(_is_within(name, part) for name in names):
            raise _unknown("train.lr_factors", part, names)
    found = dict.fromkeys(names, 1.0)
    for part in sorted(factors, key=len):
        found |= {name: factors[part] for name in names if _is_within(name, part)}
    return found


def _unknown(setting: str, part: str, names: list[str]) -> InputError:
    """That a setting names no part of a detector whose parameters have these names."""
    known = {prefix for name in names for prefix in _prefixes(name)}
    tops = " and ".join(sorted({name.partition(".")[0] for name in names}))
    return InputError(
        f"{setting} must name parts of the detector, which consists of {tops}, got {part!r}.{suggestion(part, known)}"
    )


def _is_within(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")


def _join(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def _prefixes(name: str) -> Iterator[str]:
    words = name.split(".")
    return (".".join(words[: n + 1]) for n in range(len(words)))
