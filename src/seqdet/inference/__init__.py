"""The trained detector at work.

``runners`` takes one window through a detector, whatever computes it, and ``loading`` finds that of a run or file.
``streaming``, ``tracking`` and ``exporting`` are built of runners; ``prediction`` on recordings, ``latency`` and
``evaluating`` of all. Without torch, but for ``torch_runner``, ``exporting`` and ``evaluating``.
"""
