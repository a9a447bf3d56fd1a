"""Detectors: one configuration for each architecture, and the names that have one."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from ..checks import InputError, check_at_least, check_choice, check_range, fit_fields

Cell = Literal["lstm", "separable", "gru", "mingru"]
"""Keys of ``models.cells.CELLS``."""


@dataclass(frozen=True)
class ModelConfig:
    """What every detector has. An architecture is a subclass with settings of its own, and ``MODELS`` names them."""

    name: str
    """The architecture: a key of ``seqdet.config.MODELS``, or a function of yours, package.module:function."""
    classes: tuple[str, ...] = ()
    """Names of the classes, in the order of their labels; those of the data if none."""
    in_channels: int | None = None
    """Channels of a frame; those of the data if not given."""

    def __post_init__(self) -> None:
        fit_fields(self)
        if self.in_channels is not None:
            check_range(self, 1, 1024, "in_channels")
        if len(set(self.classes)) != len(self.classes):
            raise InputError(f"classes must be different names, got {self.classes}.")


@dataclass(frozen=True)
class SingleShotConfig(ModelConfig):
    """A detector whose head codes boxes against anchors."""

    anchors: Literal["psee", "coco", "digits", "fitted"] = "digits"
    """Shapes of the anchors; fitted ones are those of the boxes of the training data."""
    anchors_per_cell: int = 4
    """How many shapes are fitted."""
    anchor_shapes: tuple[tuple[float, float], ...] = ()
    """Fitted ones, width and height in cells: stated, or found when a training begins."""
    head_layers: int = 1
    """Hidden convolutions in each branch of the head."""
    activation: Literal["softmax", "sigmoid"] = "softmax"
    """Whether the classes exclude each other."""
    box_loss: Literal["smooth_l1", "giou"] = "giou"
    """Regression loss."""
    box_weight: float = 2.0
    """Factor of the regression loss."""
    foreground: float = 0.5
    """An anchor that overlaps a box by this IoU learns to find it."""
    background: float = 0.4
    """An anchor that overlaps no box by this IoU learns to be silent."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, 1, 64, "anchors_per_cell")
        if self.anchors_per_cell != 4 and self.anchors != "fitted":
            raise InputError(
                f"anchors_per_cell must be given with anchors fitted alone, got {self.anchors_per_cell} and "
                f"{self.anchors}."
            )
        if self.anchor_shapes and self.anchors != "fitted":
            raise InputError(f"anchor_shapes must be given with anchors fitted alone, got {self.anchors}.")
        if any(not 0 < side < 10_000 for shape in self.anchor_shapes for side in shape):
            raise InputError(f"anchor_shapes must be widths and heights above 0 in cells, got {self.anchor_shapes}.")
        check_range(self, 0, 64, "head_layers")
        check_at_least(self.box_weight, 0, "box_weight")
        if not 0 < self.background <= self.foreground < 1:
            raise InputError(
                f"background and foreground must be rising IoU thresholds between 0 and 1, "
                f"got {self.background} and {self.foreground}."
            )


def anchors_in_words(model: ModelConfig) -> str:
    """The shapes of fitted anchors; nothing where a detector has none."""
    shapes = model.anchor_shapes if isinstance(model, SingleShotConfig) else ()
    listed = ", ".join(f"{width:.2g} x {height:.2g}" for width, height in shapes)
    return f"anchors of {listed} cells, width x height, on every map" if shapes else ""


@dataclass(frozen=True)
class VanillaConfig(SingleShotConfig):
    """Squeeze-excite stem, recurrent levels at strides 8 and up, anchors: the pyramid of RED (arXiv 2009.13436)."""

    name: str = "vanilla"
    """An architecture that ``seqdet models`` lists, or a function of yours, package.module:function."""
    base: int = 8
    """Width of the stem."""
    channels: int = 128
    """Width of the recurrent levels."""
    levels: int = 5
    """Recurrent levels, at strides 8, 16, 32, 64 and 128: fewer where no object is large."""
    cell: Cell = "lstm"
    """The memory; separable is an lstm that sees its neighbours at little cost, mingru computes all frames at once."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, 1, 1024, "base")
        check_range(self, 1, 4096, "channels")
        check_range(self, 1, 5, "levels")


@dataclass(frozen=True)
class LowrecConfig(ModelConfig):
    """Memory in every stage from the stride 4 on, where features are fine, and a task-aligned head: seqdet's own."""

    name: str = "lowrec"
    """An architecture that ``seqdet models`` lists, or a function of yours, package.module:function."""
    base: int = 12
    """Width of the stem; the stages are 4, 8, 8 and 8 times as wide."""
    blocks: tuple[int, int, int, int] = (2, 4, 3, 2)
    """Residual blocks at the strides 4, 8, 16 and 32."""
    cell: Cell = "separable"
    """The memory; separable is an lstm that sees its neighbours at little cost, mingru computes all frames at once."""
    kernel_size: int = 1
    """Side of the convolutions of the memory, of separable cells that of the input: 1, 3, ..."""
    aligned: bool = False
    """Whether the memory moves with what it is about; not for mingru."""
    head_layers: int = 1
    """Hidden convolutions in each branch of the head."""
    box_weight: float = 10.0
    """Factor of the losses of boxes and sides: less of it teaches classes sooner, more of it places boxes better."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, 1, 512, "base")
        check_at_least(self.box_weight, 0, "box_weight")
        check_range(self, 1, 15, "kernel_size")
        check_range(self, 0, 64, "head_layers")
        if not all(1 <= count <= 64 for count in self.blocks):
            raise InputError(f"blocks must be 1 to 64 each, got {self.blocks}.")
        if self.kernel_size % 2 == 0:
            raise InputError(f"kernel_size must be odd, got {self.kernel_size}.")
        if self.aligned and self.cell == "mingru":
            raise InputError("aligned must be false for the cell mingru, whose memory nothing looks at before a step.")


@dataclass(frozen=True)
class WithMemoryConfig(SingleShotConfig):
    """A detector of frames, of timm's backbones or torchvision's, with memory between its neck and its head."""

    name: str = "with_memory"
    """An architecture that ``seqdet models`` lists, or a function of yours, package.module:function."""
    frames: str = "torchvision:ssdlite320_mobilenet_v3_large"
    """What sees single frames: torchvision:NAME, a detector whose head, anchors and losses are its own, one of
    ssdlite320_mobilenet_v3_large, ssd300_vgg16, retinanet_resnet50_fpn and fcos_resnet50_fpn; or timm:NAME, a backbone
    such as timm:resnet18, to which the settings of anchors, neck and head apply."""
    levels: tuple[int, ...] = ()
    """Maps that get a memory, 0 is the finest; all if none."""
    cell: Cell = "lstm"
    """The memory; separable is an lstm that sees its neighbours at little cost, mingru computes all frames at once."""
    memory_channels: int = 64
    """Width of the memory."""
    channels: int = 96
    """Width of the neck and of the head of a backbone of timm."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, 1, 4096, "memory_channels", "channels")
        source, _, model = self.frames.partition(":")
        if source not in ("timm", "torchvision") or not model:
            raise InputError(
                f"frames must be timm:NAME or torchvision:NAME, such as timm:resnet18, got {self.frames!r}."
            )
        usual = {each.name: each.default for each in fields(self)}
        of_timm = [each.name for each in fields(SingleShotConfig) if each.name not in vars(ModelConfig(self.name))]
        stated = [name for name in (*of_timm, "channels") if getattr(self, name) != usual[name]]
        if source == "torchvision" and stated:
            raise InputError(
                f"{stated[0]} must be left out with {self.frames}, whose neck, head and losses are torchvision's own, "
                f"got {getattr(self, stated[0])}; it is for backbones of timm."
            )


@dataclass(frozen=True)
class YoloxConfig(ModelConfig):
    """A detector whose head finds one box a cell, without anchors (YOLOX, arXiv 2107.08430)."""

    neck_depth: int = 1
    """Bottlenecks in each block of the neck."""
    score_rule: Literal["product", "class"] = "class"
    """``product``: the score is objectness times class, of every class of a cell. ``class``: a cell has one label; the
    product chooses and suppresses, and the class alone is handed out, as the authors of RVT evaluate."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, 0, 64, "neck_depth")


@dataclass(frozen=True)
class RvtConfig(YoloxConfig):
    """Attention within frames and an LSTM in every cell, at four strides: RVT (arXiv 2212.05598)."""

    name: str = "rvt_tiny"
    """An architecture that ``seqdet models`` lists, or a function of yours, package.module:function."""
    dim: int = 32
    """Channels of the first of four stages; they double from stage to stage."""
    head_width: int = 32
    """Channels of one head of attention; it divides ``dim``."""
    split: int = 1
    """Windows of attention on the coarsest map, in each direction: frames are padded to multiples of 32 times this."""
    partition: tuple[int, int] | None = None
    """Rows and columns of cells in a window; what ``split`` makes of the size of the frames if not given."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, 1, 512, "dim", "head_width")
        check_range(self, 1, 64, "split")
        if self.dim % self.head_width:
            raise InputError(f"head_width must divide dim, got {self.head_width} and {self.dim}.")
        if self.partition is not None and self.split != 1:
            raise InputError(
                f"partition and split must not both be given, got {self.partition} and {self.split}: either says how "
                "large windows of attention are."
            )
        if self.partition is not None and not 1 <= min(self.partition) <= max(self.partition) <= 4096:
            raise InputError(f"partition must be two numbers of cells from 1 to 4096, got {self.partition}.")


@dataclass(frozen=True)
class S5VitConfig(RvtConfig):
    """RVT with a linear state space in every cell in place of the LSTM: S5-ViT (arXiv 2402.15584)."""

    name: str = "s5vit_small"
    """An architecture that ``seqdet models`` lists, or a function of yours, package.module:function."""
    carry: bool = True
    """Whether memory goes from one call to the next. Without it, as published, every clip begins in silence, and a
    recording played one window at a time has no memory at all."""
    dim: int = 48
    """Channels of the first of four stages; they double from stage to stage."""
    head_width: int = 24
    """Channels of one head of attention; it divides ``dim``."""


@dataclass(frozen=True)
class EvrtDetrConfig(ModelConfig):
    """RT-DETR, a detector of single frames, with LSTMs between its neck and its head: EvRT-DETR (arXiv 2412.02890)."""

    name: str = "evrt_detr_r18"
    """An architecture that ``seqdet models`` lists, or a function of yours, package.module:function."""
    depth: int = 18
    """Layers of the backbone, 18 or 50."""
    base: int = 64
    """Channels of the first of its four stages; they double from stage to stage."""
    width: int = 256
    """Channels of the maps behind the neck, and of the queries; a multiple of 4 and of ``heads``."""
    heads: int = 8
    """Of every attention."""
    feed_forward: int = 1024
    """Width of the perceptrons behind attention."""
    expansion: float = 0.5
    """Width of the branches in the blocks of the neck, as a share of ``width``."""
    memory: int = 256
    """Channels of the memory of every map; 0: a detector of single frames, which is what is trained first."""
    queries: int = 300
    """Places where a frame may have a box."""
    decoder_layers: int = 3
    """Layers of the decoder."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.depth not in (18, 50):
            raise InputError(f"depth must be 18 or 50, got {self.depth}.")
        check_range(self, 2, 1024, "base")
        if self.base % 2:
            raise InputError(f"base must be even, got {self.base}.")
        check_range(self, 4, 4096, "width")
        check_range(self, 1, 64, "heads", "decoder_layers")
        if self.width % 4 or self.width % self.heads:
            raise InputError(f"width must be a multiple of 4 and of heads, got {self.width} and {self.heads} heads.")
        check_range(self, 1, 16384, "feed_forward", "queries")
        check_range(self, 0.01, 4, "expansion")
        check_range(self, 0, 4096, "memory")


@dataclass(frozen=True)
class OwnConfig(ModelConfig):
    """A detector that a function of yours puts together: see ``seqdet.models.zoo.build_detector``."""

    name: str = ""
    """The function, package.module:function; none for a detector that was put together by hand."""
    parameters: dict[str, int | float | bool | str] = field(default_factory=dict)
    """Its own arguments, beside the classes and the channels."""


MODELS: dict[str, ModelConfig] = {
    "vanilla": VanillaConfig(),
    "lowrec": LowrecConfig(),
    "with_memory": WithMemoryConfig(),
    "rvt_tiny": RvtConfig("rvt_tiny"),
    "rvt_small": RvtConfig("rvt_small", dim=48, head_width=24),
    "rvt_base": RvtConfig("rvt_base", dim=64, neck_depth=2),
    "s5vit_small": S5VitConfig("s5vit_small"),
    "s5vit_base": S5VitConfig("s5vit_base", dim=64, head_width=32, neck_depth=2),
    "evrt_detr_r18": EvrtDetrConfig("evrt_detr_r18"),
    "evrt_detr_r50": EvrtDetrConfig("evrt_detr_r50", depth=50, expansion=1.0, decoder_layers=6),
}
"""The architectures by name, with the settings that the name stands for."""


def model_config(name: str, **settings: Any) -> ModelConfig:
    """The configuration that a name stands for, with some settings of it changed.

    Args:
        name: a key of ``MODELS``, or package.module:function.
        settings: fields of the architecture's configuration.

    Raises:
        InputError: if there is no such name or setting, or a value does not fit.
    """
    usual = usual_config(name)
    if unknown := sorted(settings.keys() - vars(usual).keys()):
        raise InputError(f"{name} has no setting {unknown[0]}; it has {', '.join(sorted(vars(usual)))}.")
    return replace(usual, **settings)


def usual_config(name: str) -> ModelConfig:
    """What a name stands for.

    Raises:
        InputError: if there is no such name.
    """
    if ":" in name:
        return OwnConfig(name)
    check_choice(name, MODELS, "model.name")
    return MODELS[name]
