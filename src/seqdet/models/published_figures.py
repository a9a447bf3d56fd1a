"""What is published of the architectures: the figures that they reproduce or aim at, and whose weights there are."""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """Of an architecture, in words.

    figure: AP at IoU 0.50 to 0.95 on Gen1 and 1 Mpx, in per cent, and where it stands; what is aimed at where nothing
        can be reproduced. weights: under which licence weights can be had, and in which form.
    """

    figure: str
    weights: str


NO_LICENCE = "checkpoints by the authors, without a licence of their own"
ZENODO = "weights by the authors at Zenodo, record 14548751; see there for their licence"
UNPUBLISHED = Published("none", "none")
"""Of an architecture of which nothing is published."""

PUBLISHED: dict[str, Published] = {
    "vanilla": Published("aims at RED: Gen1 40.0, 1 Mpx 43.0 (arXiv 2009.13436)", "none"),
    "lowrec": Published("seqdet's own; aims at SATE: Gen1 52.7, 1 Mpx 49.1 (NeurIPS 2025)", "none"),
    "rvt_tiny": Published("RVT-T: Gen1 44.1, 1 Mpx 41.5 (arXiv 2212.05598)", NO_LICENCE),
    "rvt_small": Published("RVT-S: Gen1 46.5, 1 Mpx 44.1 (arXiv 2212.05598)", NO_LICENCE),
    "rvt_base": Published("RVT-B: Gen1 47.2, 1 Mpx 47.4 (arXiv 2212.05598)", NO_LICENCE),
    "s5vit_small": Published("S5-ViT-S: Gen1 46.6, 1 Mpx 46.5 (arXiv 2402.15584)", NO_LICENCE),
    "s5vit_base": Published("S5-ViT-B: Gen1 47.7, 1 Mpx 47.8 (arXiv 2402.15584)", NO_LICENCE),
    "evrt_detr_r18": Published("EvRT-DETR-T: Gen1 52.3, 1 Mpx 49.9 (arXiv 2412.02890)", ZENODO),
    "evrt_detr_r50": Published("EvRT-DETR-B: Gen1 52.7, 1 Mpx 50.1 (arXiv 2412.02890)", ZENODO),
}
"""By the names of ``seqdet.config.MODELS``; of another there is nothing."""
