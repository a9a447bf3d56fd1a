"""Scores of detections against the truth.

``files`` reads both, ``frames`` joins them by the rules that ``protocols`` names, ``coco`` matches and scores them.
``errors`` and ``breakdown`` say what lies behind a score, ``tracks`` scores identities, ``report`` is the command.
"""
