"""What each of two processes does that know each other: ``two_processes.py FOLDER FUNCTION RANK``."""

import itertools
import sys
from pathlib import Path

import torch
from torch import distributed

from seqdet.models.single_shot import Criterion, Outputs
from seqdet.models.task_aligned import TaskAlignedHead
from seqdet.structures import Boxes
from seqdet.training.processes import gathered


def gradient(frames):
    """Of the losses of frames out of four, with 3, 0, 1 and 0 boxes."""
    torch.manual_seed(0)
    anchors = torch.tensor([[10.0, 10, 10, 10], [30, 10, 10, 10], [10, 30, 10, 10], [30, 30, 10, 10]])
    deltas, logits = torch.randn(4, 4, 4)[frames].requires_grad_(), torch.randn(4, 4, 3)[frames].requires_grad_()
    corners = torch.tensor([[5.0, 5, 15, 15], [25, 5, 35, 15], [5, 25, 15, 35]])
    truth = [Boxes(corners[:count], torch.arange(count) % 2) for count in (3, 0, 1, 0)]
    criterion = Criterion(
        activation="softmax", box_loss="giou", box_weight=2, foreground=0.5, background=0.4, variances=(0.1, 0.2)
    )
    losses = criterion(Outputs(deltas, logits, anchors, (40, 40)), [truth[n] for n in frames])
    sum(losses.values()).backward()
    return torch.cat([deltas.grad, logits.grad], dim=2)


def half_of_the_gradient(rank):
    return gradient([0, 1] if rank == "0" else [2, 3])


def gradient_of_a_task_aligned_head(frames):
    """Of the losses of frames out of four with a small box each, of which all together weigh less than one."""
    torch.manual_seed(0)
    head = TaskAlignedHead(8, (8, 16), 2, hidden=0, box_weight=10.0)
    outputs = head([torch.randn(4, 8, 4, 4)[frames], torch.randn(4, 8, 2, 2)[frames]], (32, 32))
    corners = torch.tensor([[5.0, 5, 9, 9], [20, 5, 24, 10], [5, 20, 10, 24], [20, 20, 25, 24]])
    sum(head.loss(outputs, [Boxes(corners[n : n + 1], torch.tensor([n % 2])) for n in frames]).values()).backward()
    return torch.cat([each.grad.flatten() for each in head.parameters()])


def half_of_the_gradient_of_a_task_aligned_head(rank):
    return gradient_of_a_task_aligned_head([0, 1] if rank == "0" else [2, 3])


def memories(rank):
    """States of two tensors of two lanes, gathered: both layouts, and the two numbers that are trained in."""
    lanes = torch.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5) + 1000 * int(rank)
    kinds = itertools.product([torch.float32, torch.bfloat16], [torch.contiguous_format, torch.channels_last])
    states = [lanes.to(dtype).contiguous(memory_format=layout) for dtype, layout in kinds]
    return [gathered((state, state + 1)) for state in states]


if __name__ == "__main__":
    folder, function, rank = sys.argv[1:]
    store = distributed.FileStore(str(Path(folder) / "store"), 2)
    distributed.init_process_group("gloo", store=store, rank=int(rank), world_size=2)
    torch.save(globals()[function](rank), Path(folder) / f"{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()
