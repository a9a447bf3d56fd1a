"""The folder of a run: which file holds what, and on which machine it came about."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .checks import InputError, proposed
from .files import is_free, read_json
from .locks import LOCK

TRAINING_FORMAT = "seqdet training 1"
METRICS_FORMAT = "seqdet metrics 1"
"""Format and version of the two JSON files, under their key ``format``."""


@dataclass(frozen=True)
class RunFolder:
    """Where the parts of a run lie below ``root``."""

    root: Path

    @property
    def config(self) -> Path:
        """Everything that decides how the run goes; there from the start."""
        return self.root / "config.yaml"

    @property
    def start(self) -> Path:
        """The weights that the run was given; there until the first checkpoint is."""
        return self.root / "start.safetensors"

    @property
    def detector(self) -> Path:
        """The trained detector; there at the end."""
        return self.root / "detector.safetensors"

    @property
    def training(self) -> Path:
        """Steps, frames, seconds and versions of the training as JSON; there at the end."""
        return self.root / "training.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of the weights on the way, and of the checkpoint to resume from."""
        return self.root / "checkpoints"

    @property
    def last_checkpoint(self) -> Path:
        """What training goes on from; there from before the first step."""
        return self.checkpoints / "last.ckpt"

    @property
    def best_weights(self) -> Path:
        """The detector with the best validation AP so far; there after the first validation."""
        return self.checkpoints / "best.safetensors"

    @property
    def logs(self) -> Path:
        """Folder of the TensorBoard curves."""
        return self.root / "logs"

    @property
    def metrics(self) -> Path:
        """The scores as JSON; there after an evaluation."""
        return self.root / "metrics.json"

    @property
    def video(self) -> Path:
        """Held-out clips with truth and predictions; there after an evaluation."""
        return self.root / "demo.mp4"

    @property
    def report(self) -> Path:
        """The page about it all; there after an evaluation."""
        return self.root / "report.html"

    @property
    def diagnosis(self) -> Path:
        """The page about its memory; there after a diagnosis, with its figures beside it as JSON."""
        return self.root / "diagnosis.html"

    def check_holds_run(self) -> None:
        """Raise unless a run was started here."""
        if not self.config.is_file():
            raise InputError(f"{self.root} must be the folder of a run, and holds no {self.config.name}.")

    def check_own(self) -> None:
        """Raise unless what is trained here is written here."""
        for folder in (self.checkpoints, self.logs):
            if folder.is_symlink():
                raise InputError(
                    f"{folder} must be a folder, and is a link, by which a run of others could write anywhere. Put the "
                    "folder there, or link the whole run."
                )

    def check_free(self) -> None:
        """Raise unless a new run may be written here."""
        if self.config.exists():
            raise InputError(
                f"{self.root} holds a run already. Name another folder, or go on with: "
                f"{proposed('train', '--resume', self.root)}"
            )
        if not is_free(self.root, besides=(LOCK, self.start.name)):
            raise InputError(f"{self.root} must be a new or an empty folder, and there is something else.")

    def is_finished(self) -> bool:
        """Whether the training says that it came to its end."""
        try:
            training_facts(self.training)
        except InputError:
            return False
        return True


def training_facts(path: Path) -> dict[str, Any]:
    """What ``fit`` wrote about the training.

    Raises:
        InputError: if the file is damaged or of another version.
    """
    try:
        facts = read_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} must be the JSON that a finished training writes; it is damaged ({error})."
        ) from error
    if isinstance(facts, dict) and facts.get("format", TRAINING_FORMAT) != TRAINING_FORMAT:
        raise InputError(f"{path} must have the format {TRAINING_FORMAT!r}, got {facts['format']!r}.")
    needed = {"format", "precision", "frames", "seconds", "frames_per_second", "parameters"}
    if not isinstance(facts, dict) or not needed <= facts.keys():
        raise InputError(f"{path} must hold {', '.join(sorted(needed))}; it is damaged or of another kind.")
    return facts


def versions() -> dict[str, str]:
    """What the figures of a run depend on: releases of the libraries, and the machine."""
    libraries = ("seqdet", "torch", "torchvision", "lightning", "numba", "numpy")
    return {
        **{name: version(name) for name in libraries},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }
