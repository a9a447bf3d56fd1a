"""An exported detector as a step: ONNX Runtime and numpy, no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...checks import InputError
from ...config import InputConfig
from ...config_files import from_dict
from ...files import read_json
from .step import Found, State, check_frames

FORMAT = "seqdet model 1"
SEAL = b"\x72\x4a\x0a\x06sha256\x12\x40"
"""How the end of a file begins: the last entry of its metadata as ONNX writes it, then 64 digits, the SHA-256 of all
that stands before."""
FOUND = ("xyxy", "labels", "scores", "counts")
"""The outputs with the detections."""


def sealed(content: bytes) -> bytes:
    """An ONNX file with its checksum behind; every reader of ONNX takes it for metadata."""
    return content + SEAL + hashlib.sha256(content).hexdigest().encode()


class OnnxStep:
    """Takes windows through a detector that ``seqdet export`` wrote: see ``Step``.

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
        content, options = _checked(Path(path)), onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads or 0, 3
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
            shown, self.classes = read_json(facts["input"]), tuple(read_json(facts["classes"]))
            self.dtype, self.score, self.precision = np.dtype(facts["dtype"]), float(facts["score"]), facts["precision"]
        except (KeyError, ValueError, TypeError, SyntaxError) as error:  # the last of numpy's types
            raise InputError(
                f"{path} must say in its metadata what it was made for, and does not: {error!r}."
            ) from error
        self.input = None if shown is None else from_dict(InputConfig, shown, name=f"{path}: input")
        first, *memory = self._session.get_inputs()
        self.channels, height, width = first.shape[1:]
        self.size_hw = int(height), int(width)
        self._memory = {each.name: each.shape[1:] for each in memory}
        self._results = (*FOUND, *(f"{name}_after" for name in self._memory))

    def __call__(self, frames: np.ndarray, state: State | None = None) -> tuple[list[Found], State]:
        xyxy, labels, scores, counts, *after = self._run(frames, state, self._results)
        found = [Found(xyxy[n, :count], labels[n, :count], scores[n, :count]) for n, count in enumerate(counts)]
        return found, tuple(after)

    def raw(self, frames: np.ndarray, state: State | None = None) -> list[np.ndarray]:
        """All outputs of the file: xyxy, labels, scores, counts, the memory after, and deltas and logits."""
        return self._run(frames, state, (*self._results, "deltas", "logits"))

    def inputs(self, frames: np.ndarray, state: State | None = None) -> dict[str, np.ndarray]:
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
        return {"frames": frames} | dict(zip(self._memory, memory, strict=True))

    def _run(self, frames: np.ndarray, state: State | None, names: Sequence[str]) -> list[np.ndarray]:
        return [np.asarray(each) for each in self._session.run(list(names), self.inputs(frames, state))]


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
