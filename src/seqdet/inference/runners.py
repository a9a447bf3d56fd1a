"""One window through a detector, whatever computes it: what streaming, prediction and benchmarks run on. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..checks import InputError, check_shape
from ..config import InputConfig, Shown
from ..config_files import shown_from_dict
from ..data.detections import Detections
from ..events.tensors import blank_frame
from ..files import read_json

RunnerState = tuple[Any, ...]
"""What a runner remembers: float32 arrays or tensors whose first axis is the lane. ``np.asarray`` makes arrays of them
where it computes on the CPU, and every runner goes on from arrays. Zeros are the memory of a lane that starts."""
FORMAT = "seqdet model 1"
SEAL = b"\x72\x4a\x0a\x06sha256\x12\x40"
"""How the end of a file begins: the last entry of its metadata as ONNX writes it, then 64 digits, the SHA-256 of all
that stands before."""
FOUND = ("xyxy", "labels", "scores", "counts")
"""The outputs with the detections."""
WHOLE = ("labels", "counts")
"""Those of them that are whole numbers; in a file that has float32 alone they are in that too."""


class Runner(Protocol):
    """Takes one window of every lane through a detector, whatever computes it.

    Attributes:
        classes: names of the classes, in the order of their labels.
        input: what the frames show; None: pictures of three channels, of which nothing else is known.
        channels: of a frame.
        dtype: of the frames.
        size_hw: height and width of the only frames that it takes; None for any.
    """

    classes: tuple[str, ...]
    input: Shown | None
    channels: int
    dtype: np.dtype

    @property
    def size_hw(self) -> tuple[int, int] | None: ...

    def __call__(self, frames: np.ndarray, state: RunnerState | None = None) -> tuple[list[Detections], RunnerState]:
        """The detections of every lane, B entries, and the memory after this window.

        Args:
            frames: (B, C, H, W), one of each lane.
            state: what the last call returned, or None at the start.

        Raises:
            InputError: if the frames or the memory do not fit the detector.
        """
        ...


def events_of(runner: Runner) -> InputConfig:
    """What the frames of a detector for events show. Raises ``InputError`` if it is one for pictures."""
    if not isinstance(runner.input, InputConfig):
        raise InputError(f"detector must be one for events, got one for pictures of {runner.channels} channels.")
    return runner.input


def frame_type(shown: Shown | None) -> np.dtype:
    """The dtype of the frames that ``shown`` describes; uint8, that of pictures, where they show no events."""
    if not isinstance(shown, InputConfig):
        return np.dtype(np.uint8)
    return blank_frame(replace(shown, sensor_hw=(1, 1), frame_hw=(1, 1))).dtype


def check_frames(frames: np.ndarray, runner: Runner) -> None:
    """Raise unless frames are (B, C, H, W) of the channels and the dtype that a runner takes."""
    check_shape(frames, "B C H W", "frames", C=runner.channels)
    if frames.dtype != runner.dtype:
        raise InputError(f"frames must be {runner.dtype}, as those that the detector was made for, got {frames.dtype}.")
    if not frames.size:
        raise InputError(f"frames must not be empty, got shape {frames.shape}.")


def sealed(content: bytes) -> bytes:
    """An ONNX file with its checksum behind; every reader of ONNX takes it for metadata."""
    return content + SEAL + hashlib.sha256(content).hexdigest().encode()


class OnnxRunner:
    """Takes windows through a detector that ``seqdet export`` wrote: see ``Runner``.

    Args:
        path: of the file.
        threads: of ONNX Runtime; as many as there are cores if None.
        providers: ONNX Runtime's names of where to compute, the preferred one first; the CPU if None.
        optimised: let ONNX Runtime rewrite the graph. As it is written, eight bits are whole numbers in float32, which
            is exact and slow.

    Attributes:
        size_hw: height and width of the frames.
        score: least score of a detection.
        precision: "float32", "float16" or "int8".
        outputs: names of what the head of the detector says, before it is decoded.

    Raises:
        InputError: if the file is missing, damaged, of another kind or version, or ONNX Runtime is not installed or
            cannot run it.
    """

    def __init__(
        self,
        path: Path | str,
        threads: int | None = None,
        providers: Sequence[str] | None = None,
        *,
        optimised: bool = True,
    ) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise InputError("onnxruntime must be installed to run ONNX files: pip install onnxruntime") from error
        names = list(providers or ("CPUExecutionProvider",))
        if missing := set(names) - set(onnxruntime.get_available_providers()):
            there = ", ".join(onnxruntime.get_available_providers())
            raise InputError(f"providers must be some of {there}, which ONNX Runtime has here; got {missing.pop()}.")
        content = _checked(Path(path))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3
        if not optimised:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=names)
        except Exception as error:  # of many classes without a common one
            reason = f"ONNX Runtime {onnxruntime.__version__} cannot run it ({error})"
            raise InputError(f"{path} must be a model for the ONNX Runtime that is installed; {reason}.") from error
        facts = self._session.get_modelmeta().custom_metadata_map
        if facts.get("format") != FORMAT:
            raise InputError(f"{path} must have the format {FORMAT!r} in its metadata, got {facts.get('format')!r}.")
        try:
            shown = read_json(facts["input"])
            self.classes = tuple(read_json(facts["classes"]))
            self.dtype = np.dtype(facts["dtype"])
            self.score = float(facts["score"])
            self.precision = facts["precision"]
        except (KeyError, ValueError, TypeError, SyntaxError) as error:  # the last of numpy's types
            raise InputError(
                f"{path} must say in its metadata what it was made for, and does not: {error!r}."
            ) from error
        self.input = shown_from_dict(shown, name=f"{path}: input")
        first, *memory = self._session.get_inputs()
        self._taken = np.float32 if first.type == "tensor(float)" else self.dtype  # by the file, whatever it is given
        self.channels, height, width = first.shape[1:]
        self.size_hw = int(height), int(width)
        self._memory = {each.name: each.shape[1:] for each in memory}
        self._results = (*FOUND, *(f"{name}_after" for name in self._memory))
        self.outputs = tuple(each.name for each in self._session.get_outputs())[len(self._results) :]

    def __call__(self, frames: np.ndarray, state: RunnerState | None = None) -> tuple[list[Detections], RunnerState]:
        xyxy, labels, scores, counts, *after = self._run(frames, state, self._results)
        found = [Detections(xyxy[n, :count], labels[n, :count], scores[n, :count]) for n, count in enumerate(counts)]
        return found, tuple(after)

    def raw(self, frames: np.ndarray, state: RunnerState | None = None) -> list[np.ndarray]:
        """All outputs of the file: xyxy, labels, scores, counts, the memory after, and ``outputs``."""
        return self._run(frames, state, (*self._results, *self.outputs))

    def inputs(self, frames: np.ndarray, state: RunnerState | None = None) -> dict[str, np.ndarray]:
        """What goes into the graph, by name."""
        check_frames(frames, self)
        if frames.shape[2:] != self.size_hw:
            wanted, got = ("x".join(map(str, size[::-1])) for size in (self.size_hw, frames.shape[2:]))
            raise InputError(
                f"frames must be {wanted} pixels, got {got}. Export the detector for that size: --size-hw."
            )
        shapes = [(len(frames), *shape) for shape in self._memory.values()]
        if state is None:
            state = tuple(np.zeros(shape, np.float32) for shape in shapes)
        memory = [np.asarray(each, np.float32) for each in state]
        if [each.shape for each in memory] != shapes:
            raise InputError(f"state must be what the last call returned for {len(frames)} lanes, and is not.")
        return {"frames": frames.astype(self._taken, copy=False)} | dict(zip(self._memory, memory, strict=True))

    def _run(self, frames: np.ndarray, state: RunnerState | None, names: Sequence[str]) -> list[np.ndarray]:
        said = zip(names, self._session.run(list(names), self.inputs(frames, state)), strict=True)
        return [np.asarray(each, np.int64 if name in WHOLE else np.float32) for name, each in said]


def _checked(path: Path) -> bytes:
    """The content of a file that ``sealed`` made."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} must be a file that can be read: {error.strerror}.") from error
    body, seal = content[: -len(SEAL) - 64], content[-len(SEAL) - 64 :]
    if not seal.startswith(SEAL):
        raise InputError(f"{path} must be a model that seqdet export wrote; it was cut short or is of another kind.")
    if sealed(body) != content:
        raise InputError(f"{path} must have the content that its checksum tells of; it is damaged. Export it again.")
    return content
