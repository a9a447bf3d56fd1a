"""TensorBoard's curves, and what becomes of a training when they cannot be written."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from lightning.pytorch.loggers import TensorBoardLogger

log = logging.getLogger(__name__)


class Curves(TensorBoardLogger):
    """Curves that raise ``OSError`` if they cannot be written; of the last points one line tells."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        try:
            super().log_metrics(metrics, step)
        except ValueError as error:  # in which Lightning wraps whatever there was
            if isinstance(error.__cause__, OSError):
                raise error.__cause__ from None
            raise

    def save(self) -> None:
        """Without a file of settings: ``config.yaml`` has them, and a run of others could have a link there."""
        self.experiment.flush()

    def finalize(self, status: str) -> None:
        try:
            super().finalize(status)
        except OSError as error:
            if status == "success":  # otherwise the training ends in this or another error, which is told
                log.warning("%s cannot be written to the end: %s.", self.log_dir, error.strerror)


@contextmanager
def quiet_writer() -> Iterator[None]:
    """Within the block the thread that writes curves ends without a traceback: the next point raises its error."""

    def hear(end: threading.ExceptHookArgs) -> None:
        if not (isinstance(end.exc_value, OSError) and type(end.thread).__module__.startswith("tensorboard.")):
            before(end)

    before = threading.excepthook
    threading.excepthook = hear
    try:
        yield
    finally:
        threading.excepthook = before
