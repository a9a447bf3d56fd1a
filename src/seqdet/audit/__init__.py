"""What a dataset holds, and what in it would ruin a training.

``findings`` are what can be found and what was; ``checks`` look at every recording and every label; ``page`` shows the
worst of it in pictures. Only the command imports it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .findings import AuditResult, Limits

if TYPE_CHECKING:
    from .checks import audit
    from .page import is_audit_page, write_audit_page

__all__ = ["AuditResult", "Limits", "audit", "is_audit_page", "write_audit_page"]


def __getattr__(name: str) -> Any:
    """Import what takes time when it is first asked for: the command's help needs ``Limits`` alone."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".checks" if name == "audit" else ".page", __name__), name)
