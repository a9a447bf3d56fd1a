"""What a dataset holds, and what in it would ruin a training.

``findings`` are what can be found and what was; ``checks`` look at every recording and every label; ``page`` shows the
worst of it in pictures. Nothing but the command imports it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checks import audit
    from .findings import AuditResult, Finding, Limits
    from .page import is_audit_page, write_audit_page

__all__ = ["AuditResult", "Finding", "Limits", "audit", "is_audit_page", "write_audit_page"]
_HOMES = {
    "AuditResult": "findings",
    "Finding": "findings",
    "Limits": "findings",
    "audit": "checks",
    "is_audit_page": "page",
    "write_audit_page": "page",
}


def __getattr__(name: str) -> Any:
    """Import what takes time when it is first asked for: the command's help needs ``Limits`` alone."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
