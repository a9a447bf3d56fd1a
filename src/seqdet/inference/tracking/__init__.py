"""Identities for detections.

``library`` has the trackers by name: ``association``, which is ours and moves with the events, and those of the library
``trackers``. A tracker takes the boxes of a window and gives ``TRACKED_BOX``.
"""
