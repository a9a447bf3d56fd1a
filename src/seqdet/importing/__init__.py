"""Labels of other tools become ours: their recordings and boxes, in the layout of a dataset.

``options`` are what a user may wish and the table of the formats; ``files`` reads what tools wrote; ``text_formats``,
``json_formats`` and ``xml_formats`` understand it; ``parsed`` holds what they found and turns it into boxes of
recordings; ``shapes`` are boxes of what is drawn besides; ``dataset`` writes the folder. Only the command imports it.
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
