"""A trained run, scored on held-out recordings and shown.

``evaluate`` is the command; ``held_out`` are the recordings, ``scoring`` runs the detector over them and gathers what
``seqdet.evaluation`` scores, ``report`` makes the page and the lines.
"""
