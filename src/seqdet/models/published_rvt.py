"""RVT and S5-ViT as their authors publish them: the names of their tensors, and ours."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from ..config import RvtConfig, S5VitConfig
from .published_names import Architecture, Facts, renamed_by, size_of

GATES = ".lstm.conv1x1.weight"
RULES = (
    (r"^backbone\.stages\.(\d+)\.downsample_cf2cl\.(conv|norm)\.", r"backbone.stages.\1.\2."),
    (r"^backbone\.stages\.(\d+)\.att_blocks\.0\.att_(window|grid)\.", r"backbone.stages.\1.\2."),
    (r"\.self_attn\.(qkv|proj)\.", r".attention.\1."),
    (r"\.ls([12])\.gamma$", r".scale\1"),
    (r"\.mlp\.net\.0\.0\.", r".mlp.0."),
    (r"\.mlp\.net\.2\.", r".mlp.2."),
    (r"\.lstm\.conv1x1\.bias$", r".memory.from_input.bias"),
    (r"\.s5_block\.s5\.seq\.Lambda$", r".memory.s5.eigenvalues"),
    (r"\.s5_block\.s5\.seq\.B$", r".memory.s5.from_input"),
    (r"\.s5_block\.s5\.seq\.C$", r".memory.s5.to_output"),
    (r"\.s5_block\.s5\.seq\.D$", r".memory.s5.skip"),
    (r"\.s5_block\.s5\.seq\.log_step$", r".memory.s5.log_step"),
    (r"\.s5_block\.attn_norm\.", r".memory.norm1."),
    (r"\.s5_block\.ff_norm\.", r".memory.norm2."),
    (r"\.s5_block\.ff_enc\.", r".memory.widen."),
    (r"\.s5_block\.ff_dec\.", r".memory.narrow."),
    (r"\.bn\.", r".norm."),
    (r"^fpn\.lateral_conv0\.", r"neck.reduce_coarse."),
    (r"^fpn\.reduce_conv1\.", r"neck.reduce_middle."),
    (r"^fpn\.bu_conv2\.", r"neck.stride_fine."),
    (r"^fpn\.bu_conv1\.", r"neck.stride_middle."),
    (r"^fpn\.C3_p4\.", r"neck.down_middle."),
    (r"^fpn\.C3_p3\.", r"neck.down_fine."),
    (r"^fpn\.C3_n3\.", r"neck.up_middle."),
    (r"^fpn\.C3_n4\.", r"neck.up_coarse."),
    (r"^(neck\.\w+)\.m\.(\d+)\.conv1\.", r"\1.bottlenecks.\2.0."),
    (r"^(neck\.\w+)\.m\.(\d+)\.conv2\.", r"\1.bottlenecks.\2.1."),
    (r"^(neck\.\w+)\.conv1\.", r"\1.deep."),
    (r"^(neck\.\w+)\.conv2\.", r"\1.shallow."),
    (r"^(neck\.\w+)\.conv3\.", r"\1.merge."),
    (r"^yolox_head\.stems\.(\d+)\.", r"head.levels.\1.stem."),
    (r"^yolox_head\.cls_convs\.(\d+)\.", r"head.levels.\1.class_branch."),
    (r"^yolox_head\.reg_convs\.(\d+)\.", r"head.levels.\1.box_branch."),
    (r"^yolox_head\.cls_preds\.(\d+)\.", r"head.levels.\1.classes."),
    (r"^yolox_head\.reg_preds\.(\d+)\.", r"head.levels.\1.box."),
    (r"^yolox_head\.obj_preds\.(\d+)\.", r"head.levels.\1.objectness."),
)
APART = ((r"\.memory\.from_(?:input|hidden)\.weight$", GATES),)


def renamed(name: str, tensor: Tensor) -> Sequence[tuple[str, Tensor]]:
    """Ours for one of theirs. Their gates are one weight of input and hidden state side by side, ours are two."""
    if not name.endswith(GATES):
        return ((renamed_by(RULES, name), tensor),)
    is_pair = tensor.ndim == 4 and tensor.shape[1] % 2 == 0 and tensor.shape[2:] == (1, 1)
    parts = tensor.flatten(1).chunk(2, dim=1) if is_pair else (tensor, tensor)
    memory = f"{name.removesuffix(GATES)}.memory"
    return tuple(
        (f"{memory}.{part}.weight", each) for part, each in zip(("from_input", "from_hidden"), parts, strict=True)
    )


def facts(tensors: Mapping[str, Tensor], path: Path) -> Facts:
    """What the shapes say of a checkpoint of RVT or S5-ViT."""
    stem = "backbone.stages.0.downsample_cf2cl.conv.weight"
    size_of(tensors, "fpn.C3_p4.m.0.conv1.conv.weight", 0, path)
    depth = len({found[1] for name in tensors if (found := re.match(r"fpn\.C3_p4\.m\.(\d+)\.", name))})
    return Facts(
        classes=size_of(tensors, "yolox_head.cls_preds.0.weight", 0, path),
        in_channels=size_of(tensors, stem, 1, path),
        settings={"dim": size_of(tensors, stem, 0, path), "neck_depth": depth},
    )


ATTENTION = r"^backbone\.stages\.\d+\.att_blocks\.0\.att_window\."
RVT = Architecture(
    "RVT",
    RvtConfig,
    signs=(ATTENTION, r"^backbone\.stages\.\d+\.lstm\.conv1x1\."),
    facts=facts,
    renamed=renamed,
    unsaid=("head_width",),
    rules=RULES,
    apart=APART,
)
S5_VIT = Architecture(
    "S5-ViT",
    S5VitConfig,
    signs=(ATTENTION, r"^backbone\.stages\.\d+\.s5_block\.s5\."),
    facts=facts,
    renamed=renamed,
    unsaid=("head_width",),
    rules=RULES,
    apart=APART,
    published={"carry": False},
    remark="As published, its memory begins in silence with every call: played one window at a time it has none. "
    "With --carry it goes on, which is equal within a clip, and was not what its authors scored.",
)
