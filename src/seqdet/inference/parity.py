"""Whether an exported file computes what its detector does: the same numbers, and the same detections of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ..checks import InputError
from ..config import DECODING
from ..models.detector import Detector
from ..models.layers import reset_lanes
from ..ops.assignment import in_order
from ..structures import Boxes
from .runners import FOUND, OnnxRunner, RunnerState
from .sample_frames import made_up_frames

WINDOWS = 6
"""Length of a sequence that files are compared over."""
RESET = 3
"""The window before which its first lane starts anew."""
PIXELS = 1e-2
SCORE = 1e-4
"""Differences up to which two detections are one."""
TIE = 1e-6
"""Difference up to which two scores are equal to rounding."""
MARGIN = 1e-5
"""Difference up to which it hangs on rounding which place a head of queries goes on with."""
ARITHMETIC = 0.01
"""Of eight bits, the largest difference of an output to exact arithmetic with them: root mean square, as a share of the
standard deviation of the output. Sums that are cut off at sixteen bits differ by 0.015 and more."""
LOSS = 0.25
"""The same to float32."""
Run = Callable[[np.ndarray, RunnerState], list[np.ndarray]]
"""Frames and memory to xyxy, labels, scores, counts, the memory after, and what a head says (``DecodingDetector``)."""


@torch.no_grad()
def check_parity(
    run: Run, detector: Detector, size_hw: tuple[int, int], *, score: float, tolerance: float, name: str
) -> None:
    """Compare a file with its detector over sequences of one lane and of three, of which one is reset on the way.

    Args:
        run: the file.
        detector: in float32, on the CPU.
        size_hw: of the frames.
        score: least score of a detection.
        tolerance: largest difference of an output, as a share of the largest number in it.
        name: of the file, for the message.

    Raises:
        InputError: if an output differs by more, or the detections are not those that the detector makes of it, in any
            frame in which they do not hang on rounding.
    """
    shown = detector.input
    channels = detector.channels
    head = detector.head
    for lanes in (1, 3):
        ways = [made_up_frames(shown, channels, size_hw, windows=WINDOWS, seed=seed) for seed in range(lanes)]
        state, memory = None, None
        for window, frames in enumerate(np.stack(ways, axis=1)):
            is_first = torch.arange(lanes) == (0 if window == RESET else -1)
            state = reset_lanes(state, is_first)
            outputs, after = detector(torch.from_numpy(frames)[None], state)
            memory = _reset(memory, after, is_first)
            xyxy, labels, scores, counts, *rest = run(frames, memory)
            memory = tuple(rest[: len(after)])
            wanted = {f"state_{n}": each for n, each in enumerate(after)}
            is_chosen = getattr(outputs, "margin", torch.full((lanes,), torch.inf)) > MARGIN
            said = {each: getattr(outputs, each) for each in head.outputs}
            found = rest
            if not head.suppresses:
                outputs_found = [torch.from_numpy(each) for each in rest[len(after) :]]
                found = [*memory, *(each.numpy() for each in in_order(outputs_found, list(said.values())))]
            for (output, mine), theirs in zip((wanted | said).items(), found, strict=True):
                difference = np.abs(mine.numpy() - theirs).reshape(lanes, -1).max(axis=1)
                is_clear = is_chosen.numpy() if output in said else np.ones(lanes, bool)
                if not (difference <= tolerance * mine.abs().max().item())[is_clear].all():
                    raise InputError(
                        f"{name} must compute what the detector does, and differs in {output}. Nothing was written; "
                        "try other releases of torch, onnxscript and onnxruntime."
                    )
            mine = map(torch.from_numpy, rest[len(after) :])
            raw = outputs._replace(**dict(zip(head.outputs, mine, strict=True)))
            every = head.scores(raw)
            for lane, boxes in enumerate(detector.decode(raw, score=score)):
                count = int(counts[lane])
                is_same = _is_same(boxes, xyxy[lane, :count], labels[lane, :count], scores[lane, :count])
                if _is_clear(every[lane], score) and not is_same:
                    raise InputError(f"{name} must make the same detections of the same outputs, and does not.")
            state = after


def check_eight_bits(small: OnnxRunner, exact: OnnxRunner, full: OnnxRunner, frames: np.ndarray, *, name: str) -> None:
    """Compare a file of eight bits, as it is computed here, with exact arithmetic and with float32, from silence on.

    The first because processors and runtimes take short cuts in eight bits, the second because eight bits may be too
    coarse for a detector. Exact arithmetic goes on from the memory of the file at every window: a memory that carries
    on what was rounded otherwise would make more and more of it.

    Args:
        small: the file.
        exact: the same, not optimised.
        full: the same detector in float32.
        frames: (T, C, H, W), such as the file is calibrated on.
        name: of the file, for the message.

    Raises:
        InputError: if an output differs by more than ``ARITHMETIC`` or ``LOSS``.
    """
    found, memories = _played(small, frames)
    for other, start, most, what, advice in (
        (exact, memories, ARITHMETIC, "what its numbers give exactly", "try another release of onnxruntime"),
        (
            full,
            None,
            LOSS,
            "nearly what float32 gives",
            "calibrate it on frames like those it will see, or train it for longer",
        ),
    ):
        exactly, _ = _played(other, frames, start)
        for output, wanted in exactly.items():
            mine = found[output]
            difference = np.sqrt(np.mean((mine - wanted) ** 2))
            spread = wanted.std()
            if not difference <= most * spread:
                raise InputError(
                    f"{name} must compute in eight bits {what}, and differs in {output} by {difference / spread:.1%}. "
                    f"Nothing was written; {advice}."
                )


def _played(
    runner: OnnxRunner, frames: np.ndarray, memories: Sequence[RunnerState | None] | None = None
) -> tuple[dict[str, np.ndarray], list[RunnerState | None]]:
    """What a head says, by the name of the output, and the memory before each window, of all frames of one lane.

    Args:
        runner: the detector.
        frames: (T, C, H, W).
        memories: where each window starts from; where the one before it ended if not given.
    """
    state: RunnerState | None = None
    said: list[list[np.ndarray]] = []
    begun: list[RunnerState | None] = []
    for n, window in enumerate(frames):
        state = state if memories is None else memories[n]
        begun.append(state)
        rest = runner.raw(window[None], state)[len(FOUND) :]
        state = tuple(rest[: -len(runner.outputs)])
        said.append(rest[-len(runner.outputs) :])
    return {name: np.stack(each) for name, each in zip(runner.outputs, zip(*said, strict=True), strict=True)}, begun


def _reset(memory: RunnerState | None, like: RunnerState, is_first: Tensor) -> RunnerState:
    """Silence to start with, of the shapes of ``like``; later the memory as ``reset_lanes`` leaves it."""
    if memory is None:
        return tuple(np.zeros(tuple(each.shape), np.float32) for each in like)
    after = reset_lanes(tuple(torch.from_numpy(each) for each in memory), is_first)
    return tuple(each.numpy() for each in after or ())


def _is_clear(scores: Tensor, score: float) -> bool:
    """Whether no two candidates are as good as equal, nor one and the least score: else rounding decides."""
    best = scores.flatten().topk(min(DECODING.candidates + 1, scores.numel())).values
    ranked = torch.cat([best[best > score - TIE], torch.tensor([score])]).sort().values
    return bool((ranked.diff() > TIE).all())


def _is_same(boxes: Boxes, xyxy: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> bool:
    """Whether every detection has its like, in whatever order: equal scores have none."""
    assert boxes.scores is not None
    near = np.abs(boxes.xyxy.numpy()[:, None] - xyxy).max(axis=-1, initial=0) <= PIXELS
    near &= boxes.labels.numpy()[:, None] == labels
    near &= np.abs(boxes.scores.numpy()[:, None] - scores) <= SCORE
    return len(boxes) == len(xyxy) and bool(near.any(axis=0).all() and near.any(axis=1).all())
