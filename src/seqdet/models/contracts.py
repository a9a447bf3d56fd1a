"""What the parts of a detector promise each other: a backbone makes maps, a neck mixes them, a memory goes between, a
head makes boxes of them.

What a part must keep beside its signature:

- A state is a tuple of tensors of real floating point whose first axis is the lane, with whatever other axes; it is
  empty without memory. Zeros mean the same as None, a lane that starts. A lane depends on no other one, and a frame on
  none after it. The state may come in float32 while the layers compute in less.
- A part is built of its configuration alone, also on the device ``meta``, and its settings are plain attributes: so
  ``zoo.check_built`` knows that a file of weights can be read again.
- To be exported, it is traced by ``torch.export`` for any number of lanes, one frame at a time.
- The optimiser ``muon`` moves all weights of four axes but those of ``Head.predictors`` and those that lead from a
  memory to itself, which a module names in ``recurrent_weights``; ``gate_weights`` says of how many matrices a weight
  consists, such as the four gates of an LSTM.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from ..config import DecodingConfig
from ..structures import Boxes, State


class Backbone(Protocol):
    """From frames to maps of features at several strides; an ``nn.Module``, which may remember.

    Attributes:
        channels: of every map.
        strides: pixels from one cell to the next, finest map first; they rise, and each divides the last.
        multiple: sides of the frames that it takes are multiples of this; ``Detector`` pads them.
        scaled: whether ``Detector`` divides frames of whole numbers by their full scale; counts otherwise go in as
            they are.
        exact: so many convolutions at the input stay float32 where a detector is exported in eight bits.
    """

    @property
    def channels(self) -> tuple[int, ...]: ...

    @property
    def strides(self) -> tuple[int, ...]: ...

    @property
    def multiple(self) -> int: ...

    @property
    def scaled(self) -> bool: ...

    @property
    def exact(self) -> int: ...

    def __call__(self, frames: Tensor, state: State | None = None) -> tuple[list[Tensor], State]:
        """Maps (T * B, channels, H / stride, W / stride) of frames (T, B, C, H, W), in (t, b) order, and the state
        after the last frame."""
        ...


class Neck(Protocol):
    """From maps to maps, frame by frame; an ``nn.Module``.

    Attributes:
        channels, strides: of the maps that it gives, as in ``Backbone``.
    """

    @property
    def channels(self) -> tuple[int, ...]: ...

    @property
    def strides(self) -> tuple[int, ...]: ...

    def __call__(self, maps: list[Tensor]) -> list[Tensor]: ...


class Memory(Protocol):
    """From maps to maps of the same shapes, with what was seen before; an ``nn.Module``.

    Attributes:
        state_tensors: length of its state.
    """

    @property
    def state_tensors(self) -> int: ...

    def __call__(self, maps: list[Tensor], lanes: int, state: State | None = None) -> tuple[list[Tensor], State]:
        """Maps (T * B, channels, h, w) of so many lanes, in (t, b) order, and the state after the last frame."""
        ...


class Head(Protocol):
    """From maps to boxes, and how it learns them; an ``nn.Module``.

    A place is where a head may say that there is a box, such as an anchor, a cell or a query. Frames have A places.

    Attributes:
        outputs: names of the tensors (F, ...) float32 in what a call gives: what is exported, and compared.
        suppresses: whether detections that overlap better ones are left out. A head of queries does so itself: it goes
            on with the places that rank best, and is exported in float32 alone, as rounding changes the order. What it
            says may have the field ``margin`` (F,), by how much the worst of them is better than the best other one.
        decoding: the ``iou`` and the ``vote`` that it is made for.
        predictors: its last layers, which say of boxes and classes.
    """

    @property
    def outputs(self) -> tuple[str, ...]: ...

    @property
    def suppresses(self) -> bool: ...

    @property
    def decoding(self) -> DecodingConfig: ...

    @property
    def predictors(self) -> Sequence[nn.Module]: ...

    def __call__(self, maps: list[Tensor], size_hw: tuple[int, int]) -> Any:
        """What it says of F frames: a NamedTuple of its own, with the fields ``outputs`` and ``size_hw``.

        Args:
            maps: each (F, channels, h, w).
            size_hw: of the frames in pixels, before they were padded.
        """
        ...

    def loss(self, outputs: Any, frames: Sequence[Boxes]) -> dict[str, Tensor]:
        """The losses by name: scalars, zero where there is nothing to learn, divided by the positives of all processes
        or by the sum of their weights.

        Args:
            outputs: of F frames.
            frames: the truth, F entries.
        """
        ...

    def scores(self, outputs: Any) -> Tensor:
        """(F, A, K) of every place and class: by which detections are chosen and suppressed; at least 0."""
        ...

    def boxes_at(self, outputs: Any, places: Tensor) -> Tensor:
        """The boxes (F, M, 4) xyxy float32 in pixels at some places (F, M) of every frame."""
        ...

    def final_scores(self, outputs: Any, places: Tensor, labels: Tensor, scores: Tensor) -> Tensor:
        """The scores (F, M) that detections are handed out with: ``scores`` itself, if they are those of above."""
        ...
