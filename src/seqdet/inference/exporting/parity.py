"""Does a file compute what the detector does?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ...checks import InputError
from ...models.detector import Detector
from ...models.recurrent import reset_lanes
from ...structures import Boxes
from ..steps.onnx_step import FOUND, OnnxStep
from ..steps.step import State
from .one_step import CANDIDATES
from .sample_frames import made_up_frames

WINDOWS, RESET = 6, 3
"""Length of a sequence, and the window before which its first lane starts anew."""
PIXELS, SCORE, TIE = 1e-2, 1e-4, 1e-6
"""Differences up to which two detections are one, and two scores equal to rounding."""
ARITHMETIC, LOSS = 0.01, 0.25
"""Of eight bits, the largest difference of an output to exact arithmetic with them, and to float32: root mean square,
as a share of the standard deviation of the output. Sums that are cut off at sixteen bits differ by 0.015 and more."""
Run = Callable[[np.ndarray, State], list[np.ndarray]]
"""Frames and memory to xyxy, labels, scores, counts, the memory after, deltas and logits: ``OneStep``, as arrays."""


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
    shown, channels = detector.input, detector.config.in_channels
    for lanes in (1, 3):
        ways = [made_up_frames(shown, channels, size_hw, windows=WINDOWS, seed=seed) for seed in range(lanes)]
        state, memory = None, None
        for window, frames in enumerate(np.stack(ways, axis=1)):
            state = reset_lanes(state, torch.arange(lanes) == (0 if window == RESET else -1))
            outputs, after = detector(torch.from_numpy(frames)[None], state)
            memory = _reset(memory, after, is_first=window == RESET)
            xyxy, labels, scores, counts, *rest, deltas, logits = run(frames, memory)
            memory = tuple(rest)
            wanted = {f"state_{n}": each for n, each in enumerate(after)}
            wanted |= {"deltas": outputs.deltas, "logits": outputs.logits}
            for (output, mine), theirs in zip(wanted.items(), [*memory, deltas, logits], strict=True):
                scale = mine.abs().max().item()
                if not np.abs(mine.numpy() - theirs).max() <= tolerance * scale:
                    raise InputError(
                        f"{name} must compute what the detector does, and differs in {output}. Nothing was written; "
                        "try other releases of torch, onnxscript and onnxruntime."
                    )
            raw = outputs._replace(deltas=torch.from_numpy(deltas), logits=torch.from_numpy(logits))
            every = detector.head.scores(raw.logits)
            for lane, boxes in enumerate(detector.decode(raw, score=score)):
                count = counts[lane]
                is_same = _is_same(boxes, xyxy[lane, :count], labels[lane, :count], scores[lane, :count])
                if _is_clear(every[lane], score) and not is_same:
                    raise InputError(f"{name} must make the same detections of the same outputs, and does not.")
            state = after


def check_eight_bits(small: OnnxStep, exact: OnnxStep, full: OnnxStep, frames: np.ndarray, *, name: str) -> None:
    """Compare a file of eight bits, as it is computed here, with exact arithmetic and with float32, from silence on.

    The first because processors and runtimes take short cuts in eight bits, the second because eight bits may be too
    coarse for a detector.

    Args:
        small: the file.
        exact: the same, not optimised.
        full: the same detector in float32.
        frames: (T, C, H, W), such as the file is calibrated on.
        name: of the file, for the message.

    Raises:
        InputError: if the deltas or the logits differ by more than ``ARITHMETIC`` or ``LOSS``.
    """
    found = _played(small, frames)
    for other, most, what, advice in (
        (exact, ARITHMETIC, "what its numbers give exactly", "try another release of onnxruntime"),
        (full, LOSS, "nearly what float32 gives", "calibrate it on frames that are more like those it will see"),
    ):
        for output, mine, wanted in zip(("deltas", "logits"), found, _played(other, frames), strict=True):
            difference, spread = np.sqrt(np.mean((mine - wanted) ** 2)), wanted.std()
            if not difference <= most * spread:
                raise InputError(
                    f"{name} must compute in eight bits {what}, and differs in {output} by {difference / spread:.1%}. "
                    f"Nothing was written; {advice}."
                )


def _played(step: OnnxStep, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Deltas and logits of all frames of one lane."""
    state, decoded = None, []
    for window in frames:
        *_, deltas, logits = results = step.raw(window[None], state)
        state = tuple(results[len(FOUND) : -2])
        decoded.append((deltas, logits))
    every_deltas, every_logits = zip(*decoded, strict=True)
    return np.stack(every_deltas), np.stack(every_logits)


def _reset(memory: State | None, like: State, *, is_first: bool) -> State:
    """Silence to start with, or the memory, without that of the first lane where that starts anew."""
    if memory is None:
        return tuple(np.zeros(tuple(each.shape), np.float32) for each in like)
    forget = np.arange(len(memory[0])) == (0 if is_first else -1)
    return tuple(np.where(forget[:, None, None, None], np.float32(0), each) for each in memory)


def _is_clear(scores: Tensor, score: float) -> bool:
    """Whether no two candidates are as good as equal, nor one and the least score: else rounding decides."""
    best = scores.flatten().topk(CANDIDATES + 1).values
    ranked = torch.cat([best[best > score - TIE], torch.tensor([score])]).sort().values
    return bool((ranked.diff() > TIE).all())


def _is_same(boxes: Boxes, xyxy: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> bool:
    """Whether every detection has its like, in whatever order: equal scores have none."""
    assert boxes.scores is not None
    near = np.abs(boxes.xyxy.numpy()[:, None] - xyxy).max(axis=-1, initial=0) <= PIXELS
    near &= boxes.labels.numpy()[:, None] == labels
    near &= np.abs(boxes.scores.numpy()[:, None] - scores) <= SCORE
    return len(boxes) == len(xyxy) and bool(near.any(axis=0).all() and near.any(axis=1).all())
