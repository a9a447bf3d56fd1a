"""Detectors as files: weights in safetensors, the configuration as JSON in the header. Nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ..checks import InputError
from ..config import ModelConfig
from ..config_files import from_dict, shown_from_dict, to_dict
from ..devices import find_device
from ..files import read_json, write_bytes
from .detector import Detector
from .zoo import build_detector, check_built

FORMAT = "seqdet detector 2"
OLD_FORMAT = "seqdet detector 1"
"""In the old one the checksum covers the weights alone."""


def save_detector(detector: Detector, path: Path | str, *, source: dict[str, str] | None = None) -> None:
    """Write ``path``: weights as float32 or integers, and what is needed to build the detector again.

    Args:
        detector: what is written.
        path: of the file.
        source: files that its weights come from, each with its SHA-256, to be told in the header.

    Raises:
        InputError: if the file cannot be written, or could not be read again, as the detector is not what its
            configuration builds; what stood there before stays.
    """
    check_built(detector)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in detector.state_dict().items()}
    header = {"format": FORMAT, "model": json.dumps(to_dict(detector.config))}
    if detector.input is not None:
        header["input"] = json.dumps(to_dict(detector.input))
    if source is not None:
        header["source"] = json.dumps(source)
    write_bytes(Path(path), save(tensors, {**header, "sha256": _sha256(tensors, header)}))


def load_detector(path: Path | str, *, device: torch.device | str = "cpu") -> Detector:
    """The detector that ``save_detector`` wrote, in evaluation mode.

    Raises:
        InputError: if the file is missing or damaged, is not a seqdet detector, is of an unknown version, or holds
            numbers that are not finite; or if there is no such device.
    """
    path = Path(path)
    place = find_device(device)
    if not path.is_file():
        raise InputError(f"{path} must be a file with a detector, and there is none.")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.offset_keys()}
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} must be a safetensors file; it is damaged or of another kind ({error}).") from error
    if header.get("format") not in (FORMAT, OLD_FORMAT):
        raise InputError(f"{path} must have the format {FORMAT!r} in its header, got {header.get('format')!r}.")
    digest = header.pop("sha256", "")
    try:
        values = read_json(header["model"])
        shown = read_json(header.get("input", "null"))
    except (KeyError, ValueError) as error:
        raise InputError(f"{path} must have the detector's configuration in its header; it is damaged.") from error
    shown = shown_from_dict(shown, name=f"{path}: input")
    config = from_dict(ModelConfig, values, name=f"{path}: model")
    try:
        with torch.device("meta"):  # no memory before the shapes are known to fit
            detector = build_detector(config)
    except InputError as error:
        raise InputError(f"{path} must have the configuration of a detector in its header; {error}") from error
    wanted = {name: _kind(tensor) for name, tensor in detector.state_dict().items()}
    found = {name: _kind(tensor) for name, tensor in tensors.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise InputError(
                f"{path} must have weights that fit its configuration, got {name} of shape {found.get(name)} "
                f"in place of {wanted.get(name)}."
            )
    if digest != _sha256(tensors, header if header["format"] == FORMAT else {}):
        raise InputError(f"{path} must have weights and a header that fit their checksum; it is damaged.")
    for name in wanted:
        if not (is_finite := tensors[name].isfinite()).all():
            number = tensors[name][~is_finite][0].item()
            raise InputError(
                f"{path} must have weights that are finite numbers, got {number} in {name}. Train it anew."
            )
    detector.load_state_dict(tensors, assign=True)
    detector.input = shown
    return detector.eval().to(place)


def _kind(tensor: torch.Tensor) -> str:
    """Shape and type, as an error names them."""
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def _sha256(tensors: dict[str, torch.Tensor], header: dict[str, str]) -> str:
    """Of the names and bytes of all tensors, by name, and of all that the header says."""
    digest = hashlib.sha256()
    for key in sorted(header):
        digest.update(f"{key}={header[key]};".encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
