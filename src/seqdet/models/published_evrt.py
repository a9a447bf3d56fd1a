"""EvRT-DETR as its authors publish it, a file for each part: the names of their tensors, and ours."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..checks import InputError
from ..config import EvrtDetrConfig
from .published_names import Architecture, Facts, renamed_by, size_of
from .resnet_vd import BLOCKS
from .rtdetr import POINTS

GATES = ("forget_gate", "input_gate", "output_gate", "cell_state_gate")
"""In the order in which ours lie in one weight; the last one has no peephole."""
RULES = (
    (r"^net_(ema_)?backbone:_net\.conv1\.conv1_1\.", r"backbone.stem.0."),
    (r"^net_(ema_)?backbone:_net\.conv1\.conv1_2\.", r"backbone.stem.1."),
    (r"^net_(ema_)?backbone:_net\.conv1\.conv1_3\.", r"backbone.stem.2."),
    (r"^net_(ema_)?backbone:_net\.res_layers\.(\d+)\.blocks\.", r"backbone.stages.\2."),
    (r"^net_(ema_)?encoder:", r"neck."),
    (r"^net_(ema_)?temp_enc:", r"memory."),
    (r"^net_(ema_)?decoder:", r"head."),
    (r"^(backbone\..*\.)short\.(conv\.)?(conv|norm)\.", r"\1shortcut.\3."),
    (r"\.branch2a\.", r".residual.0."),
    (r"\.branch2b\.", r".residual.1."),
    (r"\.branch2c\.", r".residual.2."),
    (r"^(backbone\..*\.)conv\.", r"\g<1>0."),
    (r"^(backbone\..*\.)norm\.", r"\g<1>1."),
    (r"^(neck|head)\.input_proj\.", r"\1.inputs."),
    (r"^(head\.inputs\.\d+)\.conv\.", r"\1.0."),
    (r"^(head\.inputs\.\d+)\.norm\.", r"\1.1."),
    (r"^neck\.encoder\.0\.layers\.0\.", r"neck.transformer."),
    (r"^head\.decoder\.layers\.", r"head.layers."),
    (r"\.linear1\.", r".mlp.0."),
    (r"\.linear2\.", r".mlp.2."),
    (r"\.self_attn\.out_proj\.", r".attention.out."),
    (r"\.cross_attn\.sampling_offsets\.", r".cross.offsets."),
    (r"\.cross_attn\.attention_weights\.", r".cross.weights."),
    (r"\.cross_attn\.value_proj\.", r".cross.value."),
    (r"\.cross_attn\.output_proj\.", r".cross.out."),
    (r"^neck\.lateral_convs\.", r"neck.laterals."),
    (r"^neck\.downsample_convs\.", r"neck.downs."),
    (r"^neck\.fpn_blocks\.", r"neck.finer."),
    (r"^neck\.pan_blocks\.", r"neck.coarser."),
    (r"\.bottlenecks\.(\d+)\.conv1\.conv\.", r".blocks.\1.wide.0."),
    (r"\.bottlenecks\.(\d+)\.conv1\.norm\.", r".blocks.\1.wide.1."),
    (r"\.bottlenecks\.(\d+)\.conv2\.conv\.", r".blocks.\1.narrow.0."),
    (r"\.bottlenecks\.(\d+)\.conv2\.norm\.", r".blocks.\1.narrow.1."),
    (r"^(neck\.(?:finer|coarser)\.\d+)\.conv1\.", r"\1.deep."),
    (r"^(neck\.(?:finer|coarser)\.\d+)\.conv2\.", r"\1.shallow."),
    (r"^(neck\.(?:finer|coarser)\.\d+)\.conv3\.", r"\1.out."),
    (r"^memory\.layers\.(\d+)\.layers\.0\.", r"memory.cells.\1."),
    (r"^memory\.proj_layers\.", r"memory.outs."),
    (r"^head\.denoising_class_embed\.", r"head.noisy_labels."),
    (r"^head\.query_pos_head\.layers\.0\.", r"head.position.0."),
    (r"^head\.query_pos_head\.layers\.1\.", r"head.position.2."),
    (r"^head\.enc_output\.", r"head.cells."),
    (r"^head\.enc_score_head\.", r"head.cell_classes."),
    (r"^head\.enc_bbox_head\.", r"head.cell_boxes."),
    (r"^head\.dec_score_head\.", r"head.classes."),
    (r"^head\.dec_bbox_head\.", r"head.boxes."),
    (r"^(head\.(?:cell_boxes|boxes\.\d+))\.layers\.0\.", r"\1.0."),
    (r"^(head\.(?:cell_boxes|boxes\.\d+))\.layers\.1\.", r"\1.2."),
    (r"^(head\.(?:cell_boxes|boxes\.\d+))\.layers\.2\.", r"\1.4."),
)
PARTS = {
    "gate_to_input.weight": "from_input.weight",
    "gate_to_input.bias": "from_input.bias",
    "gate_to_hidden.weight": "from_hidden.weight",
    "gate_to_cell": "peepholes",
}
APART = (
    (r"\.attention\.(?:query|key|value)\.(weight|bias)$", r".self_attn.in_proj_\1"),
    (r"^(memory\.cells\.\d+)\.from_(input|hidden)\.(weight|bias)$", r"\1.*_gate.gate_to_\2.\3"),
    (r"^(memory\.cells\.\d+)\.peepholes$", r"\1.*_gate.gate_to_cell"),
)


def combined(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a checkpoint, of which those of the gates are put together: theirs are apart, ours are one.

    Gates of which one is missing, or of other shapes than the rest, stay as they are.
    """
    found = dict(tensors)
    cells = {name.partition(".input_gate.")[0] for name in tensors if ".input_gate.gate_to_input.weight" in name}
    for cell in cells:
        for theirs, ours in PARTS.items():
            names = [f"{cell}.{gate}.{theirs}" for gate in GATES[: 3 if ours == "peepholes" else 4]]
            gates = [tensors[name] for name in names if name in tensors]
            if len(gates) < len(names) or len({gate.shape for gate in gates}) > 1:
                continue
            for name in names:
                del found[name]
            whole = torch.stack([gate.flatten() for gate in gates]) if ours == "peepholes" else torch.cat(gates)
            found[f"{cell}.{ours}"] = whole
    return found


def renamed(name: str, tensor: Tensor) -> Sequence[tuple[str, Tensor]]:
    """Ours for one of theirs. Query, key and value are one weight of theirs, and three of ours.

    The table of positions is none of ours: it is computed for the size of the frames.
    """
    if re.search(r"^net_(ema_)?encoder:pos_embed\d+$", name):
        return ()
    ours = renamed_by(RULES, name)
    if found := re.fullmatch(r"(.*)\.self_attn\.in_proj_(weight|bias)", ours):
        parts = tensor.chunk(3) if tensor.ndim and len(tensor) % 3 == 0 else (tensor,) * 3
        return tuple(
            (f"{found[1]}.attention.{part}.{found[2]}", each)
            for part, each in zip(("query", "key", "value"), parts, strict=True)
        )
    return ((ours, tensor),)


def facts(tensors: Mapping[str, Tensor], path: Path) -> Facts:
    """What the shapes say of a checkpoint of EvRT-DETR, with or without memory."""
    kinds = {found[1] for name in tensors if (found := re.match(r"(net_(?:ema_)?)[a-z]", name))}
    if len(kinds) > 1:
        raise InputError(
            f"{path} must hold either net_*.pth or net_ema_*.pth, the averages of the weights, got both. Put those "
            "that are wanted into a folder of their own."
        )
    net = kinds.pop()
    stages = (rf"_net\.res_layers\.{stage}\.blocks\.(\d+)\." for stage in range(4))
    blocks = tuple(_count(tensors, f"{net}backbone:{stage}") for stage in stages)
    is_deep = any(".branch2c." in name for name in tensors)
    depths = [depth for depth, each in BLOCKS.items() if each == blocks and is_deep == (depth == 50)]
    if not depths:
        raise InputError(
            f"{path} must hold a backbone of {' or '.join(map(str, BLOCKS))} layers, got {blocks} blocks in its stages."
        )
    encoder = f"{net}encoder:"
    decoder = f"{net}decoder:"
    memory = f"{net}temp_enc:layers.0.layers.0.input_gate.gate_to_input.weight"
    has_memory = any(name.startswith(f"{net}temp_enc:") for name in tensors)
    levels = _count(tensors, rf"{decoder}input_proj\.(\d+)\.")
    width = size_of(tensors, f"{encoder}input_proj.0.0.weight", 0, path)
    offsets = size_of(tensors, f"{decoder}decoder.layers.0.cross_attn.sampling_offsets.weight", 0, path)
    return Facts(
        classes=size_of(tensors, f"{decoder}enc_score_head.weight", 0, path),
        in_channels=size_of(tensors, f"{net}backbone:_net.conv1.conv1_1.conv.weight", 1, path),
        settings={
            "depth": depths[0],
            "base": size_of(tensors, f"{net}backbone:_net.conv1.conv1_3.conv.weight", 0, path),
            "width": width,
            "heads": max(1, offsets // (2 * POINTS * max(1, levels))),
            "feed_forward": size_of(tensors, f"{encoder}encoder.0.layers.0.linear1.weight", 0, path),
            "expansion": size_of(tensors, f"{encoder}fpn_blocks.0.conv1.conv.weight", 0, path) / max(1, width),
            "memory": size_of(tensors, memory, 0, path) if has_memory else 0,
            "decoder_layers": _count(tensors, rf"{decoder}decoder\.layers\.(\d+)\."),
        },
    )


def _count(tensors: Mapping[str, Tensor], pattern: str) -> int:
    """How many numbers stand at one place of the names."""
    return len({found[1] for name in tensors if (found := re.match(pattern, name))})


EVRT_DETR = Architecture(
    "EvRT-DETR",
    EvrtDetrConfig,
    signs=(r"^net_(ema_)?encoder:encoder\.0\.layers\.0\.", r"^net_(ema_)?decoder:decoder\.layers\.0\."),
    facts=facts,
    renamed=renamed,
    combined=combined,
    rules=RULES,
    apart=APART,
)
