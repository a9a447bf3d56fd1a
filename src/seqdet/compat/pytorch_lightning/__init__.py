"""Counterpart of ``pytorch_lightning``: the Lightning that is installed, whose ``Trainer`` knows old arguments too."""

from __future__ import annotations

from functools import wraps
from importlib import import_module
from typing import Any

from .old_arguments import take_checkpoint_path, translate

lightning: Any = import_module("lightning.pytorch")


def __getattr__(name: str) -> Any:
    """Everything else is Lightning's own."""
    return getattr(lightning, name)


class Trainer(lightning.Trainer):
    """Lightning's own; arguments of Lightning 1 that are gone become those of today, each with a line in the log.

    ``old_arguments.TRANSLATIONS`` and ``resume_from_checkpoint`` are meant. What else Lightning does not know is its
    error.
    """

    @wraps(lightning.Trainer.__init__)
    def __init__(self, **arguments: Any) -> None:
        self.fit_from = take_checkpoint_path(arguments)
        super().__init__(**translate(arguments))

    @wraps(lightning.Trainer.fit)
    def fit(self, *arguments: Any, **options: Any) -> None:
        super().fit(*arguments, **({"ckpt_path": self.fit_from} if self.fit_from else {}) | options)
