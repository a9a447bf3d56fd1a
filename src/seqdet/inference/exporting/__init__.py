"""Detectors as files that run without seqdet.

``export`` makes the graph, writes it, and checks that it computes what the detector does; ``eight_bits`` quantises it,
and has the frames that it is tried with.
"""
