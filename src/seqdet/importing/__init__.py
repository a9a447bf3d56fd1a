"""Labels of other tools become ours: their recordings and boxes, in the layout of a dataset.

``options`` are what a user may wish and the table of the formats; ``files`` reads what tools wrote; ``text_formats``,
``json_formats`` and ``xml_formats`` understand it; ``parsed`` holds what they found, ``owners`` tells of which
recording or picture it is, and ``boxes`` makes boxes of it; ``shapes`` are boxes of what is drawn besides.
``recordings`` are those of event cameras. ``pictures`` are videos and images: ``sequences`` finds which belong
together, ``layouts`` which labels are theirs, ``frames`` which picture a frame is. ``kinds`` tells recordings and
pictures apart, ``splits`` their splits, ``work`` is what both become, and ``dataset`` and ``links`` write the folder.
Only the command imports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .options import READERS, ImportOptions, ImportReport, LabelFormat

if TYPE_CHECKING:
    from .dataset import import_labels

__all__ = ["READERS", "ImportOptions", "ImportReport", "LabelFormat", "import_labels"]


def __getattr__(name: str) -> Any:
    """Import what takes time when it is first asked for: the command's help needs its options alone."""
    if name != "import_labels":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .dataset import import_labels

    return import_labels
