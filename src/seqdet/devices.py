"""Where to compute, and in which precision."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch

from .checks import InputError

KINDS = (torch.bfloat16, torch.float32)
TURNS = 3
MARGIN = 1.2
"""How much faster bfloat16 has to be for its coarser numbers."""


def choose_device(wanted: str) -> str:
    """ "cpu" or "cuda": the one wanted, or for "auto" a GPU if there is one."""
    has_gpu = torch.cuda.is_available()
    if wanted == "cuda" and not has_gpu:
        raise InputError("train.device must be a device that is there, got 'cuda' and no GPU is visible.")
    return ("cuda" if has_gpu else "cpu") if wanted == "auto" else wanted


def find_device(wanted: torch.device | str) -> torch.device:
    """The device of that name, once it is sure that this machine has it.

    Raises:
        InputError: if torch knows no such device, or it is not there.
    """
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise InputError(
            f"device must be one that torch finds here, 'cpu' or with a GPU 'cuda', got {str(wanted)!r}."
        ) from error
    return device


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch computes on one thread within the block: for many small operations, which would wait for each other.

    The gradient of what the block computes is not concerned.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def choose_precision(wanted: str, device: str, *, before: str | None = None) -> str:
    """ "float32" or "bfloat16": the one wanted, or for "auto" bfloat16 where it is the faster one.

    Args:
        wanted: "float32", "bfloat16" or "auto".
        device: "cpu" or "cuda".
        before: what was chosen when the work began; "auto" stays with it where the hardware has it.
    """
    if wanted != "auto":
        return wanted
    if device == "cuda":
        has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        claims = torch.cpu.get_capabilities()
        has_bfloat16 = any(claims.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    if not has_bfloat16:
        return "float32"
    if before is not None:
        return before
    return "bfloat16" if device == "cuda" or _is_bfloat16_faster() else "float32"


@lru_cache(maxsize=1)
def _is_bfloat16_faster() -> bool:
    """Whether a convolution is: libraries may be kept from what the processor has, and some processors are slow at it.

    It is measured once in a process, which takes a few hundredths of a second; the best of some turns counts.
    """
    frames = torch.zeros(4, 64, 32, 32)
    weight = torch.zeros(64, 64, 3, 3)
    operands = [tuple(x.to(kind, memory_format=torch.channels_last) for x in (frames, weight)) for kind in KINDS]
    seconds = [math.inf, math.inf]
    for _ in range(TURNS):
        for number, (x, kernel) in enumerate(operands):
            start = time.perf_counter()
            torch.conv2d(x, kernel, padding=1)
            seconds[number] = min(seconds[number], time.perf_counter() - start)
    return MARGIN * seconds[0] < seconds[1]
