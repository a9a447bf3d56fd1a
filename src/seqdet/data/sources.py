"""From what a user has, a folder of recordings or of tensor files, or nothing yet, to tensor files."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from ..checks import InputError
from ..config import DatasetConfig
from ..config_files import to_dict
from .event_digits_folder import write_event_digits
from .jobs import Options
from .precompute import precompute
from .rvt import REPRESENTATIONS, open_rvt
from .store import TensorFile, has_frames


def prepare(config: DatasetConfig) -> None:
    """Simulate what is to be simulated, and make recordings into tensors; what is there stays.

    Raises:
        InputError: if a recording cannot be read, or the folder holds something else.
    """
    assert config.folder is not None
    workers = os.cpu_count() or 1
    if config.simulate:
        write_event_digits(config.folder, config.scene, workers=workers)
    target = tensor_folder(config)
    if target != config.folder:
        outcome = precompute([config.folder], Options(target, config.tensor), workers=workers)
        if outcome.failed:
            raise InputError(outcome.failed[0])


def tensor_folder(config: DatasetConfig) -> Path:
    """Where the tensor files of a dataset are: in its folder, or where those of its recordings go.

    Raises:
        InputError: if there is no such folder.
    """
    assert config.folder is not None
    if not config.folder.is_dir():
        raise InputError(f"data.dataset.folder must be a folder with train, val and test, got {config.folder}.")
    parts = [part for part in sorted(config.folder.iterdir()) if part.is_dir()]
    if any(path.is_dir() or has_frames(path) for part in parts for path in tensor_files(part)[:1]):
        return config.folder
    settings = json.dumps(to_dict(config.tensor), sort_keys=True)
    name = f"{config.folder.name}-{config.tensor.representation}-{hashlib.sha256(settings.encode()).hexdigest()[:8]}"
    return config.tensors or config.folder.with_name(name.replace(":", "-"))


def tensor_files(folder: Path) -> list[Path]:
    """The files of a folder that end as tensor files do, and the folders of RVT in it, by name."""
    return sorted([*folder.glob("*.h5"), *(path.parent for path in folder.glob(f"*/{REPRESENTATIONS}"))])


def open_tensors(path: Path) -> TensorFile:
    """A tensor file, or the tensors in a folder of RVT. Raises ``InputError`` as ``TensorFile`` and ``open_rvt``."""
    return open_rvt(path)[0] if path.is_dir() else TensorFile(path)
