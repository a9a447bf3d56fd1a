"""Pure functions on tensors.

``boxes``: overlaps, and the coding against anchors. ``matching``: which anchor is responsible for which box, and
``losses`` of it. ``decoding``: from outputs to detections, for the detector and for exported files.
"""
