"""Counterpart of ``metavision_sdk_core``: the array type of boxes."""

from ..data.labels import EVENT_BBOX as EventBbox

__all__ = ["EventBbox"]
