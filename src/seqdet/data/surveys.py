"""What became of the events of recordings that are trained on: found by one pass, and kept beside their tensors."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..checks import InputError
from ..config import PicturesConfig
from ..events.accounts import Account
from ..events.dataset_facts import UNSTATED, DatasetFacts
from ..events.files import open_recording
from ..events.reading import whole_span_us
from ..files import make_folder, read_json, write_text
from ..pictures.sequence import is_sequence, look_through_pictures
from .labels import recording_name

SUFFIX = "_read.json"
"""How the file of a survey ends, which lies beside the tensors of the recording."""
VERSION = 2


@dataclass(frozen=True)
class Survey:
    """What one pass over a recording found. span_us: the times of its first and last event; None without events."""

    account: Account
    span_us: tuple[int, int] | None


def look_through(path: Path, stated: DatasetFacts = UNSTATED, pictures: PicturesConfig | None = None) -> Survey:
    """Read a recording, or a sequence of pictures, from begin to end.

    Args:
        path: of the recording.
        stated: about its sensor and its clock, for formats that do not say.
        pictures: how those of a sequence are read.

    Raises:
        InputError: if it cannot be read.
    """
    if has_no_bytes(path):
        return Survey(Account(), None)
    if is_sequence(path):
        settings = pictures or PicturesConfig()
        found, times_us = look_through_pictures(path, fps=settings.fps, bits=settings.bits)
        return Survey(found, (int(times_us[0]), int(times_us[-1])))
    with open_recording(path, size_hw=stated.size_hw, time_unit=stated.time_unit) as recording:
        span_us = whole_span_us(recording.chunks())
        return Survey(recording.account, span_us)  # the account is of the pass that ended just now


def has_no_bytes(path: Path) -> bool:
    """Whether a recording is a file without a byte, as of a camera that was stopped at once: it has no events."""
    return path.is_file() and not path.stat().st_size


def kept_survey(file: Path, origin: str, look: Callable[[], Survey]) -> Survey:
    """The survey in a file, if it is of this origin; else a new one, which is kept there if it can be.

    Args:
        file: of the survey.
        origin: what says which recording, read how.
        look: makes a new one.
    """
    with suppress(OSError, ValueError, KeyError, TypeError, UnicodeDecodeError):
        found = read_json(file.read_text(encoding="utf-8"))
        if found["version"] == VERSION and found["origin"] == origin:
            return Survey(Account.of(found), _span(found["span_us"]))
    survey = look()
    facts = {"version": VERSION, "origin": origin, "span_us": survey.span_us, **survey.account.as_dict()}
    with suppress(InputError, OSError):  # it is looked up again
        make_folder(file.parent)
        write_text(file, json.dumps(facts))
    return survey


def account_beside(tensors: Path) -> Account | None:
    """What became of the events of the recording that a tensor file, or folder of RVT, was made of; None if unknown."""
    name = recording_name(tensors)
    for stem in (name, re.sub(r"_-?\d+_-?\d+$", "", name)):  # a part of a longer recording
        with suppress(OSError, ValueError, UnicodeDecodeError):
            return Account.of(read_json(tensors.with_name(stem + SUFFIX).read_text(encoding="utf-8")))
    return None


def _span(value: object) -> tuple[int, int] | None:
    if value is None:
        return None
    if not (isinstance(value, list) and len(value) == 2 and all(isinstance(each, int) for each in value)):
        raise ValueError("it is no span of time")
    return value[0], value[1]
