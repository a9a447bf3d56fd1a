"""Read many damaged copies of a file in this process; tests start it, since a native library may end it.

``python damaging.py CASES KIND FILE [KIND FILE ...]``: a kind is one of ``READERS``. Writes a JSON line for each
finding, and one for each file, with the outcomes, at its end. The number of the case in work lies in the file "case" in
the current folder.
"""

import faulthandler
import gzip
import io
import json
import os
import re
import resource
import shutil
import sys
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from seqdet.allowing import recall
from seqdet.audit import audit
from seqdet.checks import InputError
from seqdet.config import TensorConfig
from seqdet.config_files import read_config
from seqdet.data.cached import CachedRecording
from seqdet.data.classes import read_classes
from seqdet.data.dataset import find_recordings
from seqdet.data.disk_cache import DiskCache
from seqdet.data.labels import read_labelled_us, read_labels
from seqdet.data.rvt import open_rvt
from seqdet.data.store import TensorFile
from seqdet.data.surveys import account_beside, kept_survey, look_through
from seqdet.digits.videos import read_originals
from seqdet.evaluation.files import read_detections
from seqdet.events import words
from seqdet.events.dataset_facts import facts_about
from seqdet.events.evt import EvtPipe
from seqdet.events.files import open_recording
from seqdet.events.sieve import JITTER_US
from seqdet.importing import READERS as IMPORTERS
from seqdet.importing import ImportOptions, import_labels
from seqdet.pictures.sequence import read_frames
from seqdet.runs import training_facts

MOST_BYTES = 1 << 30  # that reading may add
LONGEST_S = 60
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, (1 << 63) - 1, (1 << 64) - 1, 1 << 40)

NUMBERS = (
    b"",
    b"-1",
    b"0",
    b"1.5",
    b"1e308",
    b"nan",
    b"9999999",
    b"9000000000000000",
    b"9" * 40,
    b"[1]",
    b"true",
    b"x",
)
WORDS = (*NUMBERS, b"null", b"[]", b"{}", b"[[1, 2], 3]", b'""', b'"x"', b"\xff", b"-")
WORD = re.compile(rb'"[^"]*"|[-\w.]+|<[^>]*>|[^\s\w]')


def damaged(content: bytes, random: np.random.Generator) -> bytes:
    """A copy with faults: anywhere, or in the words of a text, or in what a gzip or a zip has in it, packed again."""
    if content.startswith((b"PK", b"\x1f\x8b")) and random.random() < 0.5:
        return damaged_inside(content, random)
    if b"\0" not in content and random.random() < 0.5:
        return misworded(content, random)
    return battered(content, random)


def damaged_inside(content: bytes, random: np.random.Generator) -> bytes:
    """A packed copy whose checksums are right, and in which one file is damaged."""
    if not content.startswith(b"PK"):
        return gzip.compress(damaged(gzip.decompress(content), random), 1)
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(packed, "w") as new:
        chosen = int(random.integers(len(old.infolist())))
        for number, entry in enumerate(old.infolist()):
            inner = old.read(entry)
            new.writestr(entry, damaged(inner, random) if number == chosen else inner)
    return packed.getvalue()


def misworded(content: bytes, random: np.random.Generator) -> bytes:
    """A text of which one to three words, or runs of a few, are replaced, repeated, exchanged or left out."""
    copy = content
    for _ in range(random.integers(1, 4)):
        if not (words := list(WORD.finditer(copy))):
            break
        first, second = (int(random.integers(len(words))) for _ in range(2))
        start, end = (
            words[first].start(),
            words[min(first + int(random.choice([0, 0, 0, 3, 12])), len(words) - 1)].end(),
        )
        other = words[second].group()
        new = (WORDS[random.integers(len(WORDS))], other, b"", copy[start:end] + b" " + copy[start:end])
        copy = copy[:start] + new[random.choice([0, 0, 0, 1, 2, 3])] + copy[end:]
    return copy


def battered(content: bytes, random: np.random.Generator) -> bytes:
    """A copy with one to eight faults: half of them near the begin or the end, where the structure is."""
    copy = bytearray(content)
    for _ in range(random.integers(1, 9)):
        if not copy:
            break
        reach = len(copy) if random.random() < 0.5 else min(len(copy), int(random.choice([80, 1000, 5000])))
        at = int(random.integers(reach))
        at = len(copy) - 1 - at if random.random() < 0.2 else at
        length = int(random.choice([1, 2, 3, 4, 8, 16, 40, 200, 4096]))
        other = int(random.integers(len(copy)))
        match random.integers(12):
            case 0 | 1:
                copy[at] ^= 1 << int(random.integers(8))
            case 2:
                copy[at : at + length] = random.bytes(len(copy[at : at + length]))
            case 3:
                copy[at : at + length] = bytes(len(copy[at : at + length]))
            case 4:
                del copy[at : at + length]
            case 5:
                copy[at:at] = random.bytes(length)
            case 6:
                copy[at:at] = copy[at : at + length]
            case 7:
                copy[at : at + length] = copy[other : other + length]
            case 8:
                width = int(random.choice([1, 2, 4, 8]))
                value = int(EXTREMES[random.integers(len(EXTREMES))]) & ((1 << 8 * width) - 1)
                copy[at : at + width] = value.to_bytes(width, "little")
            case 9 if random.random() < 0.3:
                del copy[at:]
            case 10 | 11:  # a number in a text
                if number := re.compile(rb"[-\d.]+").search(copy, at, at + 200):
                    copy[number.start() : number.end()] = NUMBERS[random.integers(len(NUMBERS))]
    return bytes(copy)


def read_recording(path: Path, *, strict: bool) -> str:
    """How reading ended. Raises what should not be raised."""
    latest = None
    try:
        with open_recording(path, strict=strict) as opened:
            span = None if path.suffix == ".aedat4" else opened.span_us()
            total = 0
            for events in opened.chunks():
                if not len(events):
                    continue
                total += len(events)
                times = events.t if latest is None else np.append(latest, events.t)
                newest = np.maximum.accumulate(times)
                assert (newest - times).max() <= JITTER_US + 64, "time runs back"
                latest = newest[-1]
                assert events.p.max() <= 1, "polarity"
                if opened.stated_size_hw:
                    assert events.y.max() < opened.size_hw[0], "row"
                    assert events.x.max() < opened.size_hw[1], "column"
            assert span is None or total, "a span without events"
            if path.suffix != ".aedat4":
                opened.triggers()
                if total:
                    assert span is not None, "events without a span"
                    list(opened.chunks(sum(span) // 2))
            return "dropped some" if opened.dropped else "whole"
    except InputError as error:
        if "\n" in str(error):
            raise AssertionError("a refusal of many lines") from error
        return "strictly refused" if strict else "refused"


def read_tensors(path: Path) -> None:
    """All frames, as training and an audit read them."""
    with TensorFile(path) as tensors:
        for start in range(0, len(tensors), 8):
            tensors.read(start, min(start + 8, len(tensors)))


def read_rvt(path: Path) -> None:
    """The file is one of those in the folder of a recording."""
    folder = next(each for each in path.parents if (each / "labels_v2").is_dir())
    tensors, _ = open_rvt(folder)
    with tensors:
        tensors.read(0, len(tensors))


def read_label_file(path: Path) -> None:
    """Boxes, or the times beside them."""
    boxes = path.with_name(path.name.replace("_labelled", "_bbox"))
    read_labelled_us(boxes, read_labels(boxes))


def read_weights(path: Path) -> None:
    from seqdet.models.weights import load_detector

    load_detector(path)


def read_exported(path: Path) -> None:
    from seqdet.inference.loading import load_runner

    load_runner(path)


def read_checkpoint(path: Path) -> None:
    """As resuming does, up to the first step."""
    from seqdet.models.zoo import build_detector
    from seqdet.training.checkpoints import read_checkpoint
    from seqdet.training.module import TrainingModule

    config = read_config(path.parents[1] / "config.yaml")
    module = TrainingModule(build_detector(config.model), config.train, steps_per_epoch=1)
    read_checkpoint(path, config, names=set(module.state_dict()))


def import_as(source: str) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        """The file lies in a folder of labels, beside one of recordings."""
        root = next(each for each in path.parents if (each / "recordings").is_dir())
        try:
            import_labels(source, root / "labels", root / "recordings", root / "out", ImportOptions(label_rate=10))
        finally:
            shutil.rmtree(root / "out", ignore_errors=True)

    return read


def read_survey(path: Path) -> None:
    """What became of the events of the recording that it lies beside, as trainings and audits tell it."""
    kept = kept_survey(path, "drive", lambda: look_through(path.with_name("drive.npz")))
    for found in (kept.account, account_beside(path.with_name("drive.h5"))):
        if found is not None:
            assert not found.reasons() or found.share >= 0


def read_cached(path: Path) -> None:
    """The file lies in the folder of a recording in the cache."""
    root, tensor = path.parents[2], TensorConfig("histogram", window_us=50_000)
    with CachedRecording(root / "drive.npz", tensor, DiskCache(root / "cache", MOST_BYTES), clip_length=4) as frames:
        frames.read(0, min(len(frames), 4))


def read_index(path: Path) -> None:
    """It lies in a folder beside the recording that it is of."""
    os.environ["SEQDET_CACHE"] = str(path.parents[1])
    words.SAVED_BYTES, words.MARK_BYTES = 1, 100
    with open_recording(path.parents[1] / "drive.raw") as opened:
        opened.span_us()
        assert sum(map(len, opened.chunks(400_000)))


def read_allowed(path: Path) -> None:
    """Of a run beside the folder of what is allowed."""
    os.environ["XDG_STATE_HOME"] = str(path.parents[2])
    recall(path.parents[2] / "config.yaml")


def read_pipe(path: Path) -> None:
    with path.open("rb") as file:
        for events in EvtPipe(file).chunks():
            assert not len(events) or events.p.max() <= 1, "polarity"


READERS: dict[str, Callable[[Path], Any]] = {
    "recording": lambda path: [read_recording(path, strict=is_strict) for is_strict in (False, True)],
    "tensors": read_tensors,
    "rvt": read_rvt,
    "labels": read_label_file,
    "classes": lambda path: read_classes(path.parent),
    "dataset": lambda path: audit(path.parent),
    "detections": lambda path: read_detections(path),
    "configuration": read_config,
    "weights": read_weights,
    "exported": read_exported,
    "checkpoint": read_checkpoint,
    "training": training_facts,
    "facts": lambda path: facts_about(path.with_name("drive.npz")),
    "survey": read_survey,
    "cached": read_cached,
    "index": read_index,
    "allowed": read_allowed,
    "pipe": read_pipe,
    "listing": lambda path: find_recordings([path.parent]),
    "results": lambda path: [read_detections(path.parent, kind=kind) for kind in ("detections", "tracks")],
    "digits": lambda path: read_originals(path.parent, "t10k"),
    "frames": lambda path: [None for _ in read_frames(path, fps=10)],
    **{source: import_as(source) for source in IMPORTERS},
}


def outcome(read: Callable[[Path], Any], path: Path) -> str:
    """How reading ended. Raises what should not be raised."""
    try:
        result = read(path)
    except InputError as error:
        if "\n" in str(error).strip():
            raise AssertionError("a refusal of many lines") from error
        return "refused"
    return ", ".join(result) if isinstance(result, list) and result and isinstance(result[0], str) else "read"


def main(cases: int, files: list[tuple[str, Path]]) -> None:
    contents = [path.read_bytes() for _, path in files]
    for kind, path in files:  # compiles and loads what takes memory
        assert outcome(READERS[kind], path) != "refused", f"the whole {path}"
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    warnings.simplefilter("error", RuntimeWarning)  # of numbers that overflow, which nobody understands
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_BYTES, used + MOST_BYTES))
    for (kind, path), content in zip(files, contents, strict=True):
        outcomes = Counter()
        for case in range(cases):
            Path("case").write_text(f"{case} of {path}")
            path.write_bytes(damaged(content, np.random.default_rng(case)))
            faulthandler.dump_traceback_later(LONGEST_S, exit=True)
            try:
                outcomes[outcome(READERS[kind], path)] += 1
            except Exception:
                say({"file": str(path), "case": case, "finding": traceback.format_exc()})
            faulthandler.cancel_dump_traceback_later()
        path.write_bytes(content)  # its neighbours need it
        say({"file": str(path), "outcomes": outcomes})


def say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")


if __name__ == "__main__":
    names = sys.argv[2:]
    main(int(sys.argv[1]), [(kind, Path(name)) for kind, name in zip(names[::2], names[1::2], strict=True)])
