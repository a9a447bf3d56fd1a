"""Whether a folder holds recordings of events or pictures, of which a dataset has one kind alone."""

from __future__ import annotations

from pathlib import Path

from ..checks import InputError
from ..data.dataset import TEXTS, is_named_as_recording
from ..data.labels import LABEL_SUFFIX, LABELLED_SUFFIX
from ..files import below
from ..pictures.sequence import TIMES_SUFFIX
from .options import Kind
from .sequences import is_named_as_pictures


def kind_of(named: Path, wanted: Kind | None) -> Kind:
    """What is labelled in a file or folder: what is wanted, or else what is there, by the names of files.

    Raises:
        InputError: if both are there and none is wanted.
    """
    if wanted is not None:
        return wanted
    kinds = _kinds_in(named)
    if len(kinds) > 1:
        raise InputError(
            f"{named} must hold recordings of events or pictures, and has both ({kinds['events'].name} and "
            f"{kinds['pictures'].name}). Say which the labels are of: --of events or --of pictures."
        )
    return "pictures" if "pictures" in kinds else "events"


def check_kind(out: Path, kind: Kind) -> None:
    """Raise ``InputError`` if the dataset in a folder is of the other kind."""
    other = {other: path for other, path in _kinds_in(out).items() if other != kind} if out.is_dir() else {}
    for found, path in other.items():
        raise InputError(
            f"{out} must be a dataset of {kind} to take more of them, and is one of {found} ({path.name}). Name "
            "another folder."
        )


def _kinds_in(named: Path) -> dict[Kind, Path]:
    """Which kinds there are, each with its first file; texts, which may be anything, are none."""
    found: dict[Kind, Path] = {}
    for path in below(named) if named.is_dir() else [named]:
        if path.name.startswith(".") or path.is_dir():
            continue
        if is_named_as_pictures(path):
            found.setdefault("pictures", path)
        elif _is_of_events(path):
            found.setdefault("events", path)
    return found


def _is_of_events(path: Path) -> bool:
    ours = (LABEL_SUFFIX, LABELLED_SUFFIX, TIMES_SUFFIX)
    return is_named_as_recording(path) and path.suffix.lower() not in TEXTS and not path.name.endswith(ours)
