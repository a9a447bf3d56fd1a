"""Where to compute, and in which precision."""

from __future__ import annotations

import torch

from .checks import InputError


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


def choose_precision(wanted: str, device: str) -> str:
    """ "float32" or "bfloat16": the one wanted, or for "auto" bfloat16 where the hardware computes with it."""
    if wanted != "auto":
        return wanted
    if device == "cuda":
        has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_bfloat16 = any(torch.cpu.get_capabilities().get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return "bfloat16" if has_bfloat16 else "float32"
