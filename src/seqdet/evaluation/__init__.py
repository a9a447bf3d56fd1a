"""Scores of detections against the truth.

``files`` reads both, ``protocols`` joins them into frames by rules that have a name, ``coco`` matches and scores these.
``breakdown`` says what lies behind a score, ``tracks`` scores identities, ``report`` is the command.
"""
