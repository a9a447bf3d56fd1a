"""Networks as the reference has them: they keep their memory between calls, around ours that take and return it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..checks import InputError, check_choice, check_shape
from ..config import NO_VOTE
from ..models import single_shot, vanilla
from ..models.detector import Detector
from ..models.layers import detach, pad_to_multiple, reset_lanes
from ..ops.losses import sigmoid_focal, smooth_l1, softmax_focal
from ..structures import Boxes, Clip, State
from .boxes import nested

CLASS_LOSSES = {"softmax_focal_loss": softmax_focal, "sigmoid_focal_loss": sigmoid_focal}


class Stateful(nn.Module):
    """Remembers the state of the last call, cut off from its gradient, and gives it to the next.

    A call with another number of lanes, or frames of other sides, starts from silence, as the reference does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.state: State | None = None
        self.size: tuple[int, ...] = ()
        self.announced: int | None = None
        """Lanes of the next call, if the last mask was for another number than the state has."""

    def reset(self, mask: Tensor) -> None:
        """Forget the lanes whose entry is 0, keep those whose entry is 1: (B,) or (B, 1, 1, 1).

        Nothing happens before the first call. A mask for another number of lanes than the last call had announces a
        call of that number, which starts from silence.
        """
        if self.state is None:
            return
        forget = torch.as_tensor(mask, device=self.state[0].device).reshape(-1) == 0
        if forget.all():
            self.reset_all()
        elif len(forget) == self.size[0]:
            self.state = reset_lanes(self.state, forget)
            self.announced = None
        else:
            self.announced = len(forget)

    def reset_all(self) -> None:
        """Forget everything."""
        self.state = None
        self.announced = None

    def recall(self, x: Tensor) -> State | None:
        """The state for the next call on ``x`` (T, B, C, H, W); None where it starts from silence.

        Raises:
            InputError: if the last mask was for another number of lanes; the state is left as it was.
        """
        size = (x.shape[1], *x.shape[3:])
        if self.announced not in (None, size[0]):
            raise InputError(
                f"mask must have one entry for each of the {size[0]} lanes of x, got {self.announced}. "
                "Call reset() with such a mask, or reset_all() to start from silence."
            )
        if size != self.size:
            self.reset_all()
        self.size = size
        return None if self.state is None else tuple(tensor.to(x.device) for tensor in self.state)

    def remember(self, state: State) -> None:
        """Keep what a call returned."""
        self.state = detach(state)


class Vanilla(Stateful):
    """Recurrent pyramid of five levels at strides 8 to 128: (T, B, cin, H, W) -> five maps (T * B, cout, h, w).

    Frames are padded on the right and at the bottom to multiples of 128: 360x640 gives maps of 48x80 to 3x5.

    Args:
        cin: channels of a frame.
        base: width of the first layers.
        cout: channels of every map.
        cell: "lstm" or "gru".
    """

    def __init__(self, cin: int, base: int = 16, cout: int = 256, cell: str = "lstm") -> None:
        super().__init__()
        self.core = vanilla.Vanilla(cin, base=base, channels=cout, cell=cell)
        self.cin = cin
        self.base = base
        self.cout = cout

    @property
    def levels(self) -> int:
        """How many maps there are."""
        return len(self.core.strides)

    def forward(self, x: Tensor) -> list[Tensor]:
        check_shape(x, "T B C H W", "x", C=self.cin)
        if not x.is_floating_point():
            raise InputError(f"x must be floating point, got {x.dtype}.")
        maps, state = self.core(pad_to_multiple(x, self.core.strides[-1]), self.recall(x))
        self.remember(state)
        return maps


class ConvLayer(nn.Sequential):
    """A convolution between a normalisation, which heads do without, and its ReLU."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__(nn.Identity(), convolution, nn.ReLU())


class BoxHead(nn.Module):
    """Two branches shared over all maps: features -> boxes (F, N, 4) and class logits (F, N, num_logits).

    It starts as the branches of ``models.single_shot`` do; the layers have the names and the order of the reference.

    Args:
        in_channels: of the maps.
        num_anchors: of a cell.
        num_logits: classes, and with the softmax the background in front of them.
        n_layers: hidden layers of each branch beside the one that is always there.
        act: "softmax", or "sigmoid" for classes that do not exclude each other, without a logit for the background.
    """

    def __init__(
        self, in_channels: int, num_anchors: int, num_logits: int, n_layers: int = 0, act: str = "softmax"
    ) -> None:
        super().__init__()
        classes = num_logits - (act == "softmax")
        of_boxes, of_classes = single_shot.box_and_class_branches(
            in_channels, num_anchors, classes, hidden=n_layers + 1, activation=act
        )
        self.num_logits = num_logits
        self.act = act
        self.box_head = _branch(of_boxes)
        self.cls_head = _branch(of_classes)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        boxes = single_shot.per_anchor(self.box_head, features, 4)
        return boxes, single_shot.per_anchor(self.cls_head, features, self.num_logits)

    def get_scores(self, cls_preds: Tensor) -> Tensor:
        """Probability of every class, without the background: (F, N, num_logits) -> (F, N, classes)."""
        return single_shot.class_scores(cls_preds, self.act)


def _branch(plain: nn.Sequential) -> nn.Sequential:
    """The convolutions of a branch, each but the last in a layer of its own."""
    *hidden, last = (layer for layer in plain if isinstance(layer, nn.Conv2d))
    return nn.Sequential(*(ConvLayer(convolution) for convolution in hidden), last)


class DetectionLoss(nn.Module):
    """Smooth L1 loss of the boxes and focal loss of the classes, each over the number of positive anchors.

    Args:
        cls_loss_func: a key of ``CLASS_LOSSES``.
    """

    def __init__(self, cls_loss_func: str = "softmax_focal_loss") -> None:
        super().__init__()
        check_choice(cls_loss_func, CLASS_LOSSES, "cls_loss_func")
        self.class_loss = CLASS_LOSSES[cls_loss_func]

    def forward(
        self, loc_preds: Tensor, loc_targets: Tensor, cls_preds: Tensor, cls_targets: Tensor
    ) -> dict[str, Tensor]:
        """The scalars ``loc_loss`` and ``cls_loss``, 0 where there is nothing to learn.

        Args:
            loc_preds, loc_targets: (F, N, 4) coded boxes.
            cls_preds: (F, N, 1 + K) logits with the background in front; (F, N, K) for the sigmoid.
            cls_targets: (F, N) classes from 1 on, 0 background, -1 ignored.
        """
        classes = cls_preds.shape[-1] - (self.class_loss is softmax_focal)
        if cls_targets.numel() and cls_targets.max() > classes:
            raise InputError(f"cls_targets must be at most {classes}, the last class, got {cls_targets.max()}.")
        counted = cls_targets >= 0
        positive = cls_targets > 0
        positives = positive.sum().clamp(min=1)
        return {
            "loc_loss": smooth_l1(loc_preds[positive], loc_targets[positive]).sum() / positives,
            "cls_loss": self.class_loss(cls_preds[counted], cls_targets[counted] - 1).sum() / positives,
        }


class StatefulDetector(Stateful):
    """A detector that keeps its memory between calls, and finds boxes in nested lists.

    Args:
        core: the detector itself.
    """

    def __init__(self, core: Detector) -> None:
        super().__init__()
        self.core = core

    def compute_loss(self, clip: Clip) -> dict[str, Tensor]:
        """``cls_loss`` and ``loc_loss`` over the labelled frames. Call ``reset`` before."""
        outputs, state = self.core(clip.frames, self.recall(clip.frames), keep=clip.is_labelled)
        self.remember(state)
        losses = self.core.head.loss(outputs, clip.labelled(clip.boxes))
        return {"cls_loss": losses["classes"], "loc_loss": losses["boxes"]}

    @torch.no_grad()
    def detect(self, inputs: Tensor, *, score: float, iou: float = 0.5, candidates: int = 500) -> list[Boxes]:
        """Detections of T * B frames in (t, b) order, for inputs (T, B, C, H, W); always in evaluation mode."""
        was_training = self.core.training
        self.core.eval()
        outputs, state = self.core(inputs, self.recall(inputs))
        self.core.train(was_training)
        self.remember(state)
        return self.core.decode(outputs, score=score, iou=iou, vote=NO_VOTE, candidates=candidates, most=candidates)

    def get_boxes(
        self, inputs: Tensor, score_thresh: float = 0.4, nms_thresh: float = 0.5, max_boxes_per_input: int = 500
    ) -> list[list[dict[str, Any]]]:
        """Detections ``[t][b]`` for inputs (T, B, C, H, W), as ``Anchors.decode`` gives them."""
        found = self.detect(inputs, score=score_thresh, iou=nms_thresh, candidates=max_boxes_per_input)
        return nested(found, inputs.shape[1])
