"""Memory for any detector of frames: recurrence between its neck and its head."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ..checks import InputError, check_at_least, check_choice
from ..structures import State
from .cells import CELLS
from .contracts import Backbone, Head, Neck
from .detector import Detector
from .torchvision_parts import torchvision_parts


class CellMemory(nn.Module):
    """A recurrent cell on some maps, whose hidden state is added to them: see ``contracts.Memory``.

    ``features + conv1x1(h)``, as in EvRT-DETR's second stage. The 1x1 convolution starts at zero, so that a detector of
    frames stays what it was until the memory has learnt something.

    Args:
        channels: of every map.
        levels: numbers of the maps that get a memory; 0 is the finest.
        cell: a key of ``cells.CELLS``.
        hidden: channels of every memory.
        kernel_size: of the cells.

    Shapes:
        the state is 2 (lstm) or 1 (gru, mingru) tensors (B, hidden, h, w) a level.
    """

    def __init__(
        self, channels: Sequence[int], *, levels: Sequence[int], cell: str, hidden: int, kernel_size: int = 3
    ) -> None:
        super().__init__()
        check_choice(cell, CELLS, "cell")
        check_at_least(hidden, 1, "channels")
        wanted = sorted(set(levels))
        if not wanted or not 0 <= wanted[0] <= wanted[-1] < len(channels) or len(wanted) != len(levels):
            raise InputError(
                f"levels must be different numbers of maps, 0 to {len(channels) - 1}, finest first; got "
                f"{tuple(levels)}."
            )
        self.levels = tuple(wanted)
        self.per_level = CELLS[cell].state_tensors
        self.state_tensors = self.per_level * len(self.levels)
        widths = [channels[level] for level in self.levels]
        self.cells = nn.ModuleList(CELLS[cell](width, hidden, kernel_size) for width in widths)
        self.projections = nn.ModuleList(nn.Conv2d(hidden, width, 1) for width in widths)
        for projection in self.projections:
            for parameter in projection.parameters():
                nn.init.zeros_(parameter)

    def forward(self, maps: list[Tensor], lanes: int, state: State | None = None) -> tuple[list[Tensor], State]:
        if state is not None and len(state) != self.state_tensors:
            raise InputError(
                f"state must be what the last call returned, {self.state_tensors} tensors, got {len(state)}."
            )
        remembering = list(maps)
        after: list[Tensor] = []
        for number, level in enumerate(self.levels):
            own = slice(number * self.per_level, (number + 1) * self.per_level)
            clip = maps[level].unflatten(0, (-1, lanes))
            hidden, remembered = self.cells[number](clip, None if state is None else state[own])
            remembering[level] = maps[level] + self.projections[number](hidden.flatten(0, 1))
            after.extend(remembered)
        return remembering, tuple(after)


def with_memory(
    frame_detector: nn.Module,
    *,
    levels: Sequence[int] | None = None,
    cell: str = "lstm",
    channels: int = 64,
    classes: Sequence[str] = (),
    in_channels: int | None = None,
    freeze: bool = False,
) -> Detector:
    """A detector of frames with memory between its neck and its head.

    It finds at first what the detector of frames finds, whose weights it shares. A function of yours that calls this is
    a ``model.name`` (``package.module:function``), and its detectors can be kept in files.

    Args:
        frame_detector: a ``Detector`` without a memory of its own, or torchvision's SSD, SSDLite, RetinaNet or FCOS.
            Frames are not resized, as torchvision would; they are normalised as it does.
        levels: numbers of the maps that get a memory; all if None, 0 is the finest.
        cell: a key of ``cells.CELLS``.
        channels: of every memory.
        classes: names, in the order of the labels; those of ``frame_detector`` if it has them.
        in_channels: of the frames; those of ``frame_detector`` if not given.
        freeze: everything but the memory stays as it is, in evaluation mode and without a gradient. ``fit`` leaves it
            so; in a loop of your own call ``detector.memory.train()``, not ``detector.train()``.

    Raises:
        InputError: if the detector is of another kind or has a memory already, or the settings do not fit it.
    """
    neck: Neck | None = None
    backbone: Backbone
    head: Head
    if isinstance(frame_detector, Detector):
        if frame_detector.memory is not None:
            raise InputError("frame_detector must have no memory between its neck and its head, and it has one.")
        backbone, neck, head = frame_detector.backbone, frame_detector.neck, frame_detector.head
        for name, given, own in (
            ("classes", tuple(classes), frame_detector.classes),
            ("in_channels", in_channels, frame_detector.channels),
        ):
            if given and given != own:
                raise InputError(f"{name} must be those of frame_detector, {own}, or left out, got {given}.")
        classes, in_channels = frame_detector.classes, frame_detector.channels
    else:
        if not classes:
            raise InputError("classes must be given, as a detector of torchvision knows no names of its own.")
        backbone, head = torchvision_parts(frame_detector, len(classes), in_channels)
        in_channels = backbone.in_channels
    maps = backbone if neck is None else neck
    chosen = range(len(maps.channels)) if levels is None else levels
    memory = CellMemory(maps.channels, levels=tuple(chosen), cell=cell, hidden=channels)
    like = next(frame_detector.parameters())
    detector = Detector(
        backbone,
        head,
        neck=neck,
        memory=memory.to(like.device, like.dtype),
        classes=classes,
        in_channels=in_channels,
    )
    detector.train(frame_detector.training)
    if freeze:
        for name, part in detector.parts.items():
            part.requires_grad_(name == "memory").train(name == "memory")
    return detector
