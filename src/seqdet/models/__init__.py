"""Recurrent detectors and their parts.

``backbones`` make maps of features of frames, of ``layers`` that may remember; ``heads`` make coded boxes and scores of
maps, and know the loss. ``detector`` puts one of each together, by name; ``weights`` keeps it as a file.
"""
