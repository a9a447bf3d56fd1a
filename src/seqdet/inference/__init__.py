"""The trained detector at work.

``runners`` takes one window through a detector, whatever computes it, and ``loading`` finds that of a run or file.
``streaming``, ``tracking`` and ``export`` are built of runners; ``prediction`` goes through ``inputs``, ``latency``
measures ``backends``, and ``evaluate`` shows what ``scoring`` found, and what ``faulty`` leaves of it. Without torch,
but for ``torch_runner``, ``backends``, ``export``, ``eight_bits``, ``scoring``, ``faulty`` and ``evaluate``.
"""
