"""Where the names of the reference live here, and how imports of its modules find them.

``import seqdet.compat.metavision_ml...`` always works; ``import metavision_ml...`` does after ``install``.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

log = logging.getLogger(__name__)

MODULES: dict[str, tuple[str, tuple[str, ...]]] = {
    "metavision_ml.data.box_processing": (
        "boxes",
        ("EventBbox", "bboxes_to_box_vectors", "box_vectors_to_bboxes"),
    ),
    "metavision_ml.data.moving_mnist": (
        "moving_mnist",
        ("FileMetadata", "MovingMNISTDataset", "MovingMNISTLoader", "make_moving_mnist"),
    ),
    "metavision_ml.detection.anchors": ("boxes", ("Anchors",)),
    "metavision_ml.detection.box": (
        "boxes",
        ("bbox_to_deltas", "box_iou", "deltas_to_bbox", "xywh2xyxy", "xyxy2xywh"),
    ),
    "metavision_ml.detection.feature_extractors": ("networks", ("Vanilla",)),
    "metavision_ml.detection.lightning_model": ("lightning_model", ("LightningDetectionModel",)),
    "metavision_ml.detection.losses": ("networks", ("DetectionLoss",)),
    "metavision_ml.detection.rpn": ("networks", ("BoxHead", "ConvLayer")),
    "metavision_ml.detection_tracking.display_frame": ("tools", ("draw_box_events",)),
    "metavision_ml.utils.main_tools": ("tools", ("search_latest_checkpoint",)),
    "metavision_sdk_core": ("boxes", ("EventBbox",)),
}
"""The reference's modules: the module of this package that a name is in, and the names. Their packages have none."""
PACKAGES = {name.rpartition(".")[0] for name in MODULES} - {""} | {"metavision_ml"}
ROOTS = {
    "metavision_ml": f"{__package__}.metavision_ml",
    "metavision_sdk_core": f"{__package__}.metavision_sdk_core",
    "pytorch_lightning": "lightning.pytorch",
}
"""Names in scripts, and the packages that they stand for."""
OWN = {"pytorch_lightning": f"{__package__}.pytorch_lightning"}
"""Of those, the modules that seqdet has something to add to."""


class Counterparts(MetaPathFinder, Loader):
    """Makes the modules of the reference, below this package, of the table."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        name = fullname.removeprefix(f"{__package__}.")
        if name == fullname or name not in {*MODULES, *PACKAGES}:
            return None
        return ModuleSpec(fullname, self, is_package=name in PACKAGES)

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        theirs = module.__name__.removeprefix(f"{__package__}.")
        home, names = MODULES.get(theirs, ("", ()))
        module.__doc__ = f"Counterpart of ``{theirs}``."
        module.__dict__["__all__"] = list(names)
        for name in names:
            setattr(module, name, getattr(import_module(f"{__package__}.{home}"), name))


class Aliases(MetaPathFinder, Loader):
    """Answers imports of ``names`` and of what lies below them with the module of the other name.

    Args:
        names: keys of ``ROOTS``.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        root, _, below = fullname.partition(".")
        if root not in self.names:
            return None
        ours = f"{ROOTS[root]}.{below}" if below else OWN.get(root, ROOTS[root])
        try:
            found = find_spec(ours)
        except ModuleNotFoundError:
            found = None
        if found is None:
            raise ModuleNotFoundError(f"seqdet has no counterpart of {fullname}", name=fullname)
        return ModuleSpec(fullname, self, origin=ours)

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        assert spec is not None
        assert spec.origin is not None
        sys.modules[spec.name] = import_module(spec.origin)


def make_importable() -> None:
    """Let imports find the modules of the table below this package."""
    if not any(isinstance(finder, Counterparts) for finder in sys.meta_path):
        sys.meta_path.append(Counterparts())


def install() -> bool:
    """Redirect imports of the reference from now on; whether it is done: not if ``metavision_ml`` is installed.

    A package that is installed stays what it is, with one exception: Lightning goes by two names, and the model of
    seqdet's is of the one that is answered here. What was imported before is left alone.
    """
    if any(isinstance(finder, Aliases) for finder in sys.meta_path):
        return True
    if find_spec("metavision_ml") is not None:
        log.warning("seqdet: metavision_ml is installed here and is used, unchanged.")
        return False
    if "pytorch_lightning" in sys.modules:
        log.warning("seqdet: pytorch_lightning was imported before; its Trainer takes no arguments of Lightning 1.")
    absent = [name for name in ROOTS if name not in sys.modules and (name in OWN or find_spec(name) is None)]
    sys.meta_path.insert(0, Aliases(absent))
    return True


def import_line(name: str | None) -> str | None:
    """The import that a script lacks, in the reference's terms; None if no module of the table has the ``name``."""
    return next((f"from {theirs} import {name}" for theirs, (_, names) in MODULES.items() if name in names), None)


def name_missing_import(cell: Any) -> None:
    """Log the import that a cell of a notebook lacks; ``cell`` is IPython's result of running it."""
    error = cell.error_in_exec
    line = import_line(error.name) if isinstance(error, NameError) else None
    if line is not None:
        log.warning("seqdet: %s. Import it first: %s", error, line)
