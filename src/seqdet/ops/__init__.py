"""Pure functions on tensors.

``boxes``: overlaps, the coding against anchors, and from outputs to detections, for detectors and exported files.
``losses``: which anchor is responsible for which box, and what it costs to be wrong.
"""
