"""A recurrent single-shot detector, put together from its parts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..checks import InputError
from ..config import DECODING, InputConfig, ModelConfig
from ..devices import one_thread
from ..ops.decoding import detections
from ..structures import Boxes, Clip, State, check_tensor
from .anchors import Anchors
from .backbones import FeatureExtractor
from .criterion import Criterion
from .heads import BoxHead, Outputs
from .layers import pad_to_multiple
from .recurrent import reset_lanes

FULL_SCALE = {torch.uint8: 255, torch.int8: 127}
"""The number that stands for 1 in frames of whole numbers."""


class Detector(nn.Module):
    """Finds boxes in frames with the help of what it saw before.

    State is an argument and a result: ``outputs, state = detector(frames, state)``. A clip cut anywhere gives the same
    outputs as the whole.

    Args:
        backbone: frames to maps.
        head: maps to coded boxes and class logits.
        anchors: what the boxes are coded against.
        criterion: the loss.
        config: what the parts were built from: the channels of the frames, the names of the classes.

    Attributes:
        input: what the frames of events show that it is trained on; None for frames of another kind, or an untrained
            detector. It is kept with the weights.
    """

    def __init__(
        self,
        backbone: FeatureExtractor,
        head: BoxHead,
        *,
        anchors: Anchors,
        criterion: Criterion,
        config: ModelConfig,
    ) -> None:
        super().__init__()
        self.backbone, self.head, self.anchors, self.criterion = backbone, head, anchors, criterion
        self.config = config
        self.input: InputConfig | None = None

    def forward(
        self, frames: Tensor, state: State | None = None, *, keep: Tensor | None = None
    ) -> tuple[Outputs, State]:
        """The outputs for F = T * B frames in (t, b) order, and the state after the last of them.

        Args:
            frames: (T, B, C, H, W), uint8 (divided by 255 here, so from 0 to 1), int8 (divided by 127, so from -1 to 1;
                -128, which a saturated sensor may count, is a little below) or floating point, whose values are taken
                as they are. Sides that are not multiples of the largest stride are padded with zeros on the right and
                at the bottom.
            state: what the last call returned, or None at the start.
            keep: (T, B) bool, the frames whose outputs are wanted; all if None. The memory sees every frame.
        """
        check_tensor(frames, "T B C H W", "frames", C=self.config.in_channels)
        time, lanes, _, height, width = frames.shape
        if not frames.numel():
            raise InputError(f"frames must not be empty, got shape {tuple(frames.shape)}.")
        if not (frames.is_floating_point() or frames.dtype in FULL_SCALE):
            raise InputError(f"frames must be uint8, int8 or floating point, got {frames.dtype}.")
        if keep is not None:
            check_tensor(keep, "T B", "keep", kind="boolean", T=time, B=lanes)
        _check_state(state)
        x = frames.to(next(self.parameters()).dtype)
        if frames.dtype in FULL_SCALE:
            x = x / FULL_SCALE[frames.dtype]
        maps, after = self.backbone(pad_to_multiple(x, self.backbone.strides[-1]), state)
        if keep is not None and not keep.all():
            maps = [x[keep.flatten()] for x in maps]
        deltas, logits = self.head(maps)
        anchors = self.anchors([(x.shape[2], x.shape[3]) for x in maps], deltas.device)
        return Outputs(deltas, logits, anchors, (height, width)), after

    def loss(self, clip: Clip, state: State | None = None) -> tuple[dict[str, Tensor], State]:
        """The losses by name over the labelled frames of ``clip``, and the state after it.

        Lanes on which a recording starts are reset first.
        """
        _check_state(state)
        outputs, after = self(clip.frames, reset_lanes(state, clip.is_first), keep=clip.is_labelled)
        return self.criterion(outputs, clip.labelled(clip.boxes)), after

    @torch.no_grad()
    @one_thread()
    def decode(
        self,
        outputs: Outputs,
        *,
        score: float = DECODING.score,
        iou: float = DECODING.iou,
        vote: float = DECODING.vote,
        candidates: int = DECODING.candidates,
        most: int = DECODING.most,
    ) -> list[Boxes]:
        """The detections of every frame, best score first; by what ``DecodingConfig`` says if nothing else is given.

        Args:
            outputs: of F frames.
            score: least score of a detection.
            iou: of two detections of one class that overlap by more than this, the better stays.
            vote: a detection that stays takes the mean of the boxes of its class that overlap it by this or more,
                weighted by their squared scores (box voting, Gidaris and Komodakis, arXiv 1505.01749); above 1: none.
            candidates: the best pairs of anchor and class per frame that suppression looks at.
            most: detections kept per frame.

        Returns:
            F entries; boxes are clipped to the frame, and those wholly outside are left out.
        """
        if not isinstance(outputs, Outputs):
            raise InputError(
                f"outputs must be the first of the detector's two results, got {type(outputs).__name__}. "
                "Write outputs, state = detector(frames, state)."
            )
        return detections(
            outputs.deltas,
            self.head.scores(outputs.logits),
            outputs.anchors,
            size_hw=outputs.size_hw,
            variances=self.criterion.variances,
            score=score,
            iou=iou,
            vote=vote,
            candidates=candidates,
            most=most,
        )


def _check_state(state: Any) -> None:
    if state is None or (isinstance(state, tuple) and all(isinstance(tensor, Tensor) for tensor in state)):
        return
    raise InputError(
        f"state must be the tuple of tensors that the last call returned, got {type(state).__name__}. "
        "Write outputs, state = detector(frames, state)."
    )
