"""A recurrent detector: its parts at work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from ..checks import InputError
from ..config import DECODING, ModelConfig, OwnConfig, Shown
from ..devices import one_thread
from ..ops.boxes import detections
from ..structures import Boxes, Clip, State, check_tensor
from .contracts import Backbone, Head, Memory, Neck
from .layers import pad_to_multiple, reset_lanes

LossFunction: TypeAlias = Callable[[Any, Sequence[Boxes]], dict[str, Tensor]]
"""As ``Head.loss``: of the outputs of F frames and their truth, scalars by name."""
FULL_SCALE = {torch.uint8: 255, torch.int8: 127}
"""The number that stands for 1 in frames of whole numbers."""


class Detector(nn.Module):
    """Finds boxes in frames with the help of what it saw before.

    State is an argument and a result: ``outputs, state = detector(frames, state)``. A clip cut anywhere gives the same
    outputs as the whole. The parts are those of ``contracts``, of which a neck and a memory may be left out.

    Args:
        backbone: frames to maps; it may remember.
        head: maps to boxes.
        neck: maps to maps, behind the backbone.
        memory: maps to maps, behind the neck, with what was seen before.
        classes: names of the classes, in the order of their labels.
        in_channels: of the frames.

    Attributes:
        config: what it was built from; an ``OwnConfig`` without a name if it was put together by hand.
        input: what the frames of events show that it is trained on; None for frames of another kind, or an untrained
            detector. It is kept with the weights.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: Head,
        *,
        neck: Neck | None = None,
        memory: Memory | None = None,
        classes: Sequence[str],
        in_channels: int,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.neck = neck
        self.memory = memory
        self.head = head
        self.config: ModelConfig = OwnConfig(classes=tuple(classes), in_channels=in_channels)
        self.input: Shown | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their labels."""
        return self.config.classes

    @property
    def channels(self) -> int:
        """Of the frames."""
        assert self.config.in_channels is not None  # nothing is built without
        return self.config.in_channels

    @property
    def parts(self) -> dict[str, nn.Module]:
        """Those that it has, by name, in the order in which frames pass them."""
        parts = {name: getattr(self, name) for name in ("backbone", "neck", "memory", "head")}
        return {name: part for name, part in parts.items() if part is not None}

    def forward(self, frames: Tensor, state: State | None = None, *, keep: Tensor | None = None) -> tuple[Any, State]:
        """What the head says of F = T * B frames in (t, b) order, and the state after the last of them.

        Args:
            frames: (T, B, C, H, W), uint8, int8 or floating point. A backbone that is ``scaled`` sees uint8 divided by
                255, so from 0 to 1, and int8 by 127, so from -1 to 1 (-128, which a saturated sensor may count, is a
                little below); all other values are taken as they are. Sides that are not multiples of what the
                backbone takes are padded with zeros on the right and at the bottom.
            state: what the last call returned, or None at the start.
            keep: (T, B) bool, the frames whose outputs are wanted; all if None. The memory sees every frame.
        """
        check_tensor(frames, "T B C H W", "frames", C=self.channels)
        time, lanes, _, height, width = frames.shape
        if not frames.numel():
            raise InputError(f"frames must not be empty, got shape {tuple(frames.shape)}.")
        if not (frames.is_floating_point() or frames.dtype in FULL_SCALE):
            raise InputError(f"frames must be uint8, int8 or floating point, got {frames.dtype}.")
        if keep is not None:
            check_tensor(keep, "T B", "keep", kind="boolean", T=time, B=lanes)
        _check_state(state)
        x = frames.to(next(self.parameters()).dtype)
        if frames.dtype in FULL_SCALE and self.backbone.scaled:
            x = x / FULL_SCALE[frames.dtype]
        of_backbone, of_memory = self._halves(state)
        maps, after = self.backbone(pad_to_multiple(x, self.backbone.multiple), of_backbone)
        chosen = None if keep is None or keep.all() else keep.flatten()
        if self.memory is not None:
            maps = maps if self.neck is None else self.neck(maps)
            maps, remembered = self.memory(maps, lanes, of_memory)
            after = (*after, *remembered)
        if chosen is not None:
            maps = [x[chosen] for x in maps]
        if self.memory is None and self.neck is not None:
            maps = self.neck(maps)
        return self.head(maps, (height, width)), after

    def _halves(self, state: State | None) -> tuple[State | None, State | None]:
        """The state of the backbone, and that of the memory behind it."""
        if state is None or self.memory is None:
            return state, None
        end = len(state) - self.memory.state_tensors
        return state[:end], state[end:]

    def loss(
        self, clip: Clip, state: State | None = None, *, criterion: LossFunction | None = None
    ) -> tuple[dict[str, Tensor], State]:
        """The losses by name over the labelled frames of ``clip``, and the state after it.

        Lanes on which a recording starts are reset first.

        Args:
            clip: frames with their truth.
            state: what the last call returned, or None at the start.
            criterion: a loss in place of that of the head.
        """
        _check_state(state)
        outputs, after = self(clip.frames, reset_lanes(state, clip.is_first), keep=clip.is_labelled)
        learn = self.head.loss if criterion is None else criterion
        return learn(outputs, clip.labelled(clip.boxes)), after

    @torch.no_grad()
    @one_thread()
    def decode(
        self,
        outputs: Any,
        *,
        score: float = DECODING.score,
        iou: float | None = None,
        vote: float | None = None,
        candidates: int = DECODING.candidates,
        most: int = DECODING.most,
    ) -> list[Boxes]:
        """The detections of every frame, best score first.

        Args:
            outputs: of F frames.
            score: least score of a detection.
            iou: of two detections of one class that overlap by more than this, the better stays; 1: both. What
                the head is made for if None.
            vote: a detection that stays takes the mean of the boxes of its class that overlap it by this or more,
                weighted by their squared scores (box voting, Gidaris and Komodakis, arXiv 1505.01749); above 1: none.
                What the head is made for if None.
            candidates: the best pairs of place and class per frame that suppression looks at.
            most: detections kept per frame.

        Returns:
            F entries; boxes are clipped to the frame, and those wholly outside are left out.
        """
        if not hasattr(outputs, "size_hw"):
            raise InputError(
                f"outputs must be the first of the detector's two results, got {type(outputs).__name__}. "
                "Write outputs, state = detector(frames, state)."
            )
        usual = self.head.decoding
        return detections(
            self.head.scores(outputs),
            partial(self.head.boxes_at, outputs),
            size_hw=outputs.size_hw,
            score=score,
            iou=usual.iou if iou is None else iou,
            vote=usual.vote if vote is None else vote,
            candidates=candidates,
            most=most,
            final_scores=partial(self.head.final_scores, outputs),
        )


def _check_state(state: Any) -> None:
    if state is None or (isinstance(state, tuple) and all(isinstance(tensor, Tensor) for tensor in state)):
        return
    raise InputError(
        f"state must be the tuple of tensors that the last call returned, got {type(state).__name__}. "
        "Write outputs, state = detector(frames, state)."
    )
