"""``seqdet diagnose``: whether the memory of a trained detector matters, for how long, and whether it stays where it
belongs.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import InputError
from ..config import DiagnosisConfig
from ..data.dataset import Split
from ..evaluation.coco import figure
from ..files import write_text
from ..loading import prepare_split
from ..models.measuring import measure
from ..progress import Progress
from ..runs import RunFolder, versions
from ..viz.diagnosis import write_diagnosis
from .finished import finished_run
from .probing import (
    Probe,
    Recordings,
    Tally,
    difference_after_a_reset,
    difference_between_lanes,
    effect_of_a_window,
    has_recordings,
    remembers,
    silent_frame,
    with_windows,
)
from .scoring import HeldOut

log = logging.getLogger(__name__)
FORMAT = "seqdet diagnosis 1"
USUAL = DiagnosisConfig()
USUAL_WINDOWS = 800
"""Played for each score, if nobody says otherwise."""
LOST = (0.0, 0.1, 0.3, 0.5)
"""Shares of lost windows."""
LANES_APART = 1e-3
"""Largest difference of a lane beside others and alone, as a share of the largest number; rounding makes 1e-6."""
GONE = 0.01
"""An effect below this share of the first is over."""
MATTERS = 0.01
"""AP by which scores have to differ to speak of a difference."""


def diagnose(
    run: Path | str,
    out: Path | None = None,
    *,
    dataset: Path | None = None,
    split: Split = "test",
    config: DiagnosisConfig = USUAL,
) -> dict[str, Any]:
    """Measure what the memory of the detector of a run does; the content of the JSON file beside the page.

    Args:
        run: folder of a finished training.
        out: the page, ending in .html; ``diagnosis.html`` in the folder of the run if not given. The figures go to a
            file of the same name that ends in .json.
        dataset: another folder of recordings or tensors that fit the detector; the run's own if not given.
        split: of the dataset.
        config: how much is played.

    Raises:
        InputError: if there is no trained detector, no held-out data with labels, or a file cannot be written.
    """
    root = Path(run)
    if root.suffix == ".onnx":
        raise InputError(
            f"{root} must be the folder of a run: an exported model takes one window at a time, and has nothing to "
            "be held against. Name the folder that it was exported from."
        )
    folder = RunFolder(root)
    out = out or folder.diagnosis
    found = finished_run(folder, dataset)
    prepare_split(found.config.data, split)
    data = HeldOut(found.config, split, called=found.called)
    recordings = _chosen(data, config)
    began = time.monotonic()
    detector = found.detector
    placed = recordings.first()
    costs = measure(detector, (placed[0].clip.frames.shape[3], placed[0].clip.frames.shape[4]))
    blank = silent_frame(recordings)
    remembered = remembers(Probe(detector, "float32"), placed, blank)
    has_memory = any(remembered)
    horizons = _horizons(recordings.windows) if has_memory else []
    halves = has_recordings(found.config)
    others = 2.5 if halves else 1.0  # half and double windows, or every second frame
    passes = 1 + len(horizons) + (len(LOST) - 1) * (2 if has_memory else 1) + others
    with Progress("diagnosing", unit="clip", total=passes * recordings.clips) as shown:
        probe = Probe(detector, found.training["precision"], shown.update)
        measured = _measured(probe, recordings, horizons, has_memory=has_memory)
        lengths = _window_lengths(probe, recordings, measured["all"], split, has_recordings=halves)
    effect = effect_of_a_window(probe, placed, blank)
    facts = {
        "format": FORMAT,
        "dataset": found.dataset,
        "split": split,
        "recordings": len(recordings.chosen),
        "windows": recordings.windows,
        "window_us": recordings.window_us,
        "clip_length": found.config.data.clip_length,
        "classes": list(detector.classes),
        "model": detector.config.name,
        "precision": found.training["precision"],
        "parameters": costs.parameters,
        "flop": costs.flop,
        "state_bytes": costs.state_bytes,
        "has_memory": has_memory,
        "memory_crosses_calls": remembered.across_calls,
        **measured,
        **lengths,
        "lanes": {
            "beside_others": difference_between_lanes(probe, placed[:2]),
            "after_a_reset": difference_after_a_reset(probe, placed[:2]),
            "limit": LANES_APART,
        },
        "effect": effect,
        "effect_windows": _gone(effect),
        "seconds": round(time.monotonic() - began, 1),
        "versions": versions(),
    }
    facts["findings"] = list(findings(facts))
    write_text(out.with_suffix(".json"), json.dumps(facts, indent=2) + "\n")
    write_diagnosis(out, facts)
    return facts


def _chosen(data: HeldOut, config: DiagnosisConfig) -> Recordings:
    """The recordings that are played.

    Raises:
        InputError: if none of what is played has a label.
    """
    length = data.config.data.clip_length
    of_each = [min(count * length, config.windows) for count in data.source.clip_counts]
    fitting = max(2, USUAL_WINDOWS // max(of_each))
    count = min(len(of_each), config.recordings or fitting)
    chosen = np.unique(np.linspace(0, len(of_each) - 1, count).round().astype(int)).tolist()
    recordings = Recordings(data, chosen, config.windows)
    if not any(clip.is_labelled.any() for clip, _ in recordings):
        raise InputError(
            f"{data.split} must hold recordings with labels among what is played, and has none in the first "
            f"{recordings.windows} windows of {count}. Give more --recordings or --windows."
        )
    return recordings


def _horizons(windows: int) -> list[int]:
    """After how many windows the detector forgets: powers of two below the length of the recordings."""
    return [1 << n for n in range(windows.bit_length()) if 1 << n < windows]


def _measured(probe: Probe, recordings: Recordings, horizons: list[int], *, has_memory: bool) -> dict[str, Any]:
    """The scores as they are, by position, forgetting, and with lost windows."""
    tally = Tally(recordings).of(probe.played(recordings))
    whole = tally.marks()
    horizon = [{"windows": n, **_marks(probe, recordings, forget=n)} for n in horizons]
    forgetful = horizon[0] if horizon else None
    lost = [{"share": 0.0, **whole._asdict(), "AP_without_memory": forgetful and forgetful["AP"]}]
    for share in LOST[1:]:
        scores = _marks(probe, recordings, lost=share)
        without = _marks(probe, recordings, lost=share, forget=1)["AP"] if has_memory else None
        lost.append({"share": share, **scores, "AP_without_memory": without})
    return {
        "all": whole._asdict(),
        "horizon": horizon,
        "positions": [
            {"first": first, "last": last, **scores._asdict()} for first, last, scores in tally.by_position()
        ],
        "lost": lost,
    }


def _marks(probe: Probe, recordings: Recordings, **taken: Any) -> dict[str, Any]:
    """The scores with something taken, as ``Probe.played`` names it."""
    return Tally(recordings).of(probe.played(recordings, **taken)).marks()._asdict()


def _window_lengths(
    probe: Probe, recordings: Recordings, usual: dict[str, Any], split: Split, *, has_recordings: bool
) -> dict[str, Any]:
    """The scores with half and with double windows; of frames that stand for themselves with every second alone."""
    rows = [{"factor": 1.0, **usual}]
    if not has_recordings:
        rows.append({"factor": 2.0, **_marks(probe, recordings, every=2)})
        note = (
            "These frames are not made of events, so they cannot be cut into other windows: twice as long means that "
            "every second frame is left out, and half as long does not apply."
        )
        return {"window_lengths": rows, "window_lengths_note": note}
    for factor in (0.5, 2.0):
        with with_windows(recordings, factor, split) as other:
            rows.append({"factor": factor, **_marks(probe, other)})
    rows.sort(key=lambda each: each["factor"])
    note = (
        "The same recordings, cut into other windows than the detector was trained on. Labels that belong to no window "
        "then are not scored, so the numbers of boxes differ."
    )
    return {"window_lengths": rows, "window_lengths_note": note}


def _gone(effect: list[float]) -> int | None:
    """After how many windows an effect stays below ``GONE``; None if it does not within what was played."""
    above = [n for n, each in enumerate(effect) if each >= GONE]
    if not effect or above[-1] == len(effect) - 1:
        return None
    return above[-1] + 1


def findings(facts: dict[str, Any]) -> Iterator[str]:
    """What the figures say, in sentences."""
    whole = facts["all"]
    lanes = facts["lanes"]
    if not facts["has_memory"]:
        yield (
            "The detector has no memory: it sees every window alone. Forgetting changes nothing, an object that sends "
            "no events is not there for it, and what a lost window showed is not found."
        )
    else:
        if not facts["memory_crosses_calls"]:
            yield (
                f"The memory ends with every call of the detector: here after {facts['clip_length']} windows, and "
                "where a recording is played one window at a time there is none."
            )
        yield from _about_memory(facts)
    lost = facts["lost"][-1]
    if lost["AP"] is not None and whole["AP"]:
        yield (
            f"With {lost['share']:.0%} of the windows lost it keeps {lost['AP'] / whole['AP']:.0%} of its AP"
            + (
                f", without memory {lost['AP_without_memory'] / whole['AP']:.0%}."
                if lost["AP_without_memory"] is not None
                else "."
            )
        )
    if max(lanes["beside_others"], lanes["after_a_reset"]) <= lanes["limit"]:
        yield "Lanes keep apart: what is found on one does not hang on the others, and a lane that was reset is as new."
    else:
        yield (
            f"LANES LEAK: what is found on one hangs on others or on what was before; outputs differ by "
            f"{max(lanes['beside_others'], lanes['after_a_reset']):.1e} of the largest, and may by {lanes['limit']:g}."
        )


def _about_memory(facts: dict[str, Any]) -> Iterator[str]:
    """What forgetting does, and how long a window is felt."""
    whole = facts["all"]
    forgetful = facts["horizon"][0] if facts["horizon"] else None
    if forgetful and whole["AP"] is not None and forgetful["AP"] is not None:
        gain = whole["AP"] - forgetful["AP"]
        verdict = "Memory matters" if gain >= MATTERS else "Memory hardly matters"
        if whole["AP"] < MATTERS:
            verdict = "Next to nothing is found, so that nothing is known of the memory"
        yield (
            f"{verdict}: AP {figure(whole['AP'])} with all of it, {figure(forgetful['AP'])} if it forgets after every "
            f"window ({gain:+.3f})."
        )
        enough = next(
            (each["windows"] for each in facts["horizon"] if each["AP"] >= whole["AP"] - MATTERS), facts["windows"]
        )
        if gain >= MATTERS:
            yield (
                f"Forgetting after {enough} windows ({enough * facts['window_us'] / 1e6:g} s) costs less than "
                f"{MATTERS:g} AP; forgetting sooner costs more."
            )
        if whole["still_AP50"] is not None and forgetful["still_AP50"] is not None:
            yield (
                f"What has stood still for 0.3 s or more: AP50 {figure(whole['still_AP50'])}, without memory "
                f"{figure(forgetful['still_AP50'])}."
            )
    if facts["effect"]:
        after = facts["effect_windows"]
        seconds = (after or len(facts["effect"])) * facts["window_us"] / 1e6
        yield (
            f"One window is felt for {after} windows ({seconds:g} s): later its effect is below {GONE:.0%}."
            if after is not None
            else f"One window is still felt, by more than {GONE:.0%}, after the {len(facts['effect'])} windows "
            f"({seconds:g} s) that were played."
        )


def summary(facts: dict[str, Any], out: Path) -> list[str]:
    """The findings, and where the files are."""
    return [*facts["findings"], f"{out}", f"{out.with_suffix('.json')}"]
