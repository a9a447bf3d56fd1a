"""Whether the parts of a detector keep what ``contracts`` ask of them, told by a few small frames."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from ..checks import InputError, one_line
from ..structures import State
from .detector import Detector

LANES = 3
STEPS = 3
LARGEST_SIDE = 1024
"""Frames have this many pixels a side, where the detector asks for larger ones."""
CLOSE = 1e-3
"""Difference of what is equal but for rounding, over the largest number."""


def check_contract(detector: Detector) -> None:
    """Raise unless the parts do what they promise on a few frames of noise; the detector stays as it was.

    Maps have the channels and the sizes that are said; the state is a tuple of tensors of real numbers, a lane each,
    that depend on no other lane; and a clip that is cut gives what the whole gives.

    Args:
        detector: with weights that are numbers, so not on the device ``meta``.

    Raises:
        InputError: with the rule that is broken, and by which part; or with what a part raised.
    """
    _check_names(detector)
    frames = _noise(detector)
    try:
        with _at_rest(detector):
            _check_behaviour(detector, frames)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"detector must take frames of shape {tuple(frames.shape)}, and raised {type(error).__name__}: "
            f"{one_line(error)}."
        ) from error


def _check_behaviour(detector: Detector, frames: Tensor) -> None:
    _check_maps(detector, frames)
    whole, after = detector(frames)
    _check_state(after)
    _check_outputs(detector, whole)
    _check_lanes(detector, frames, after, whole)
    if after:
        _check_silence(detector, frames, after, whole)
    _check_cut(detector, frames, after, whole)


@contextmanager
def _at_rest(detector: Detector) -> Iterator[None]:
    """In evaluation mode, without gradient and without touching the random numbers."""
    modes = {module: module.training for module in detector.modules()}
    detector.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _check_names(detector: Detector) -> None:
    backbone, head = detector.backbone, detector.head
    for name in ("channels", "strides", "multiple", "scaled", "exact"):
        if not hasattr(backbone, name):
            raise InputError(f"backbone must have the attribute {name}, and {type(backbone).__name__} has none.")
    _check_numbers(backbone)
    for name in ("outputs", "suppresses", "decoding", "predictors", "loss", "scores", "boxes_at", "final_scores"):
        if not hasattr(head, name):
            raise InputError(f"head must have the attribute {name}, and {type(head).__name__} has none.")
    if detector.memory is not None and not hasattr(detector.memory, "state_tensors"):
        raise InputError(
            f"memory must have the attribute state_tensors, and {type(detector.memory).__name__} has none."
        )


def _check_numbers(backbone: Any) -> None:
    """What a backbone says of its maps, and of the frames that it takes."""
    for name in ("channels", "strides"):
        values = getattr(backbone, name)
        if not isinstance(values, tuple | list) or not values or not all(_is_count(each) for each in values):
            raise InputError(f"{name} of the backbone must be whole numbers of at least 1, a map each, got {values!r}.")
    strides = tuple(backbone.strides)
    if list(strides) != sorted(set(strides)):
        raise InputError(f"strides of the backbone must be whole numbers that rise, finest map first, got {strides}.")
    if not _is_count(backbone.multiple):
        raise InputError(f"multiple of the backbone must be a whole number of at least 1, got {backbone.multiple!r}.")


def _is_count(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1


def _noise(detector: Detector) -> Tensor:
    """Frames as small as the strides allow."""
    backbone = detector.backbone
    side = min(math.lcm(backbone.multiple, backbone.strides[-1]), LARGEST_SIDE)
    generator = torch.Generator().manual_seed(0)
    like = next(detector.parameters(), torch.empty(0))
    noise = torch.rand(STEPS, LANES, detector.channels, side, side, generator=generator)
    return noise.to(like.device, like.dtype)


def _check_maps(detector: Detector, frames: Tensor) -> None:
    """The maps of the backbone, the neck and the memory."""
    backbone, neck, memory = detector.backbone, detector.neck, detector.memory
    maps, _ = _pair(backbone(frames, None), "backbone")
    _check_shapes(maps, backbone.channels, backbone.strides, frames, "backbone")
    if neck is not None:
        maps = neck(maps)
        _check_shapes(maps, neck.channels, neck.strides, frames, "neck")
    if memory is not None:
        before = [x.shape for x in maps]
        remembering, state = _pair(memory(maps, LANES, None), "memory")
        if [x.shape for x in remembering] != before:
            raise InputError(
                f"memory must give maps of the shapes that it takes, {[tuple(shape) for shape in before]}, "
                f"got {[tuple(x.shape) for x in remembering]}."
            )
        if len(state) != memory.state_tensors:
            raise InputError(
                f"memory must give as many tensors as state_tensors says, {memory.state_tensors}, got {len(state)}."
            )
        for number, x in enumerate(remembering):
            _check_finite(x, f"map {number} of the memory")


def _pair(value: Any, part: str) -> tuple[list[Tensor], State]:
    if not isinstance(value, tuple) or len(value) != 2:
        raise InputError(f"{part} must return maps and a state, got {type(value).__name__}.")
    maps, state = value
    if not isinstance(maps, list) or not all(isinstance(x, Tensor) and x.ndim == 4 for x in maps):
        raise InputError(f"{part} must return a list of maps (T * B, channels, h, w), got {type(maps).__name__}.")
    if not isinstance(state, tuple):
        raise InputError(
            f"{part} must return its state as a tuple of tensors, () without memory, got {type(state).__name__}."
        )
    return maps, state


def _check_shapes(
    maps: Sequence[Tensor], channels: Sequence[int], strides: Sequence[int], frames: Tensor, part: str
) -> None:
    if not len(maps) == len(channels) == len(strides):
        raise InputError(
            f"{part} must have as many channels and strides as it gives maps, got {len(channels)} channels and "
            f"{len(strides)} strides for {len(maps)} maps."
        )
    height, width = frames.shape[-2:]
    for number, (x, count, stride) in enumerate(zip(maps, channels, strides, strict=True)):
        if x.shape[0] != STEPS * LANES:
            raise InputError(
                f"map {number} of the {part} must have one entry for each frame of each lane, {STEPS * LANES} of a "
                f"clip of {STEPS} on {LANES} lanes, got {x.shape[0]}."
            )
        if x.shape[1] != count:
            raise InputError(
                f"map {number} of the {part} must have the {count} channels that it says, got {x.shape[1]}."
            )
        wanted = (-(-height // stride), -(-width // stride))
        if tuple(x.shape[2:]) != wanted:
            raise InputError(
                f"map {number} of the {part} must have {wanted[1]}x{wanted[0]} cells of frames of {width}x{height} "
                f"pixels, as its stride of {stride} says, got {x.shape[3]}x{x.shape[2]}."
            )
        _check_finite(x, f"map {number} of the {part}")


def _check_finite(tensor: Tensor, name: str) -> None:
    broken = int((~tensor.isfinite()).sum())
    if broken:
        raise InputError(f"{name} must be of finite numbers, and {broken} of its {tensor.numel()} are not.")


def _check_state(state: State) -> None:
    for number, tensor in enumerate(state):
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            kind = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
            raise InputError(f"state must be of tensors of real floating point, got {kind} in place {number}.")
        if tensor.ndim < 1 or len(tensor) != LANES:
            raise InputError(
                f"state must have a lane as the first axis of every tensor, {LANES} of them for as many recordings, "
                f"got shape {tuple(tensor.shape)} in place {number}."
            )
        _check_finite(tensor, f"state in place {number}")


def _check_outputs(detector: Detector, outputs: Any) -> None:
    head = detector.head
    for name in (*head.outputs, "size_hw"):
        if not hasattr(outputs, name):
            raise InputError(
                f"head must return a NamedTuple with the field {name}, got {type(outputs).__name__} without."
            )
    for name in head.outputs:
        found = getattr(outputs, name)
        if found.dtype != torch.float32 or len(found) != STEPS * LANES:
            raise InputError(
                f"{name} of the head must be float32 with one entry for each of {STEPS * LANES} frames, got "
                f"{found.dtype} of shape {tuple(found.shape)}."
            )
        _check_finite(found, f"{name} of the head")
    scores = head.scores(outputs)
    if scores.ndim != 3 or scores.shape[2] != len(detector.classes) or not (scores >= 0).all():
        raise InputError(
            f"scores of the head must be (frames, places, classes) of at least 0, for {len(detector.classes)} classes, "
            f"got shape {tuple(scores.shape)}."
        )
    places = torch.zeros(len(scores), 1, dtype=torch.int64, device=scores.device)
    boxes = head.boxes_at(outputs, places)
    if tuple(boxes.shape) != (len(scores), 1, 4):
        raise InputError(
            f"boxes_at of the head must be (frames, places, 4), here {(len(scores), 1, 4)}, got {tuple(boxes.shape)}."
        )


def _check_lanes(detector: Detector, frames: Tensor, after: State, whole: Any) -> None:
    """The first lane, beside others that show something else."""
    changed = frames.clone()
    changed[:, 1:] = 1 - changed[:, 1:]
    outputs, state = detector(changed)
    _check_same_shapes(state, after)
    for number, (mine, theirs) in enumerate(zip(state, after, strict=True)):
        if _differ(mine[:1], theirs[:1]):
            raise InputError(
                f"state of a lane must depend on that lane alone, and tensor {number} changes with what other lanes "
                "show."
            )
    for name in detector.head.outputs:
        mine, theirs = (getattr(each, name).unflatten(0, (STEPS, LANES))[:, :1] for each in (outputs, whole))
        if _differ(mine, theirs):
            raise InputError(
                f"outputs of a lane must depend on that lane alone, and {name} changes with what other lanes show."
            )


def _check_cut(detector: Detector, frames: Tensor, after: State, whole: Any) -> None:
    first, state = detector(frames[:1])
    second, end = detector(frames[1:], state)
    _check_same_shapes(end, after)
    for number, (mine, theirs) in enumerate(zip(end, after, strict=True)):
        if _differ(mine, theirs):
            raise InputError(
                f"state after a clip that is cut must be that after the whole, and tensor {number} is another one."
            )
    for name in detector.head.outputs:
        of_parts = torch.cat([getattr(first, name), getattr(second, name)])
        if _differ(of_parts, getattr(whole, name)):
            raise InputError(
                f"outputs of a clip that is cut must be those of the whole, and {name} differs: is something "
                "remembered that is not in the state, or does a frame depend on a later one?"
            )


def _check_same_shapes(state: State, before: State) -> None:
    """The same number of tensors, of the same shapes."""
    found, wanted = ([tuple(tensor.shape) for tensor in each] for each in (state, before))
    if found != wanted:
        raise InputError(f"state must be of tensors of the same shapes after every call, got {wanted}, then {found}.")


def _check_silence(detector: Detector, frames: Tensor, after: State, whole: Any) -> None:
    outputs, _ = detector(frames, tuple(torch.zeros_like(tensor) for tensor in after))
    for name in detector.head.outputs:
        if _differ(getattr(outputs, name), getattr(whole, name)):
            raise InputError(f"state of zeros must mean the same as none, a lane that starts, and {name} differs.")


def _differ(mine: Tensor, theirs: Tensor) -> bool:
    """By more than rounding."""
    if mine.shape != theirs.shape:
        return True
    if not mine.numel():
        return False
    return not bool((mine - theirs).abs().max() <= CLOSE * theirs.abs().max())
