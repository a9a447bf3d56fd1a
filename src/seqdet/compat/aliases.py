"""Make ``import metavision_ml`` mean ``seqdet.compat.metavision_ml`` in this process."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

log = logging.getLogger(__name__)

ROOTS = {
    "metavision_ml": f"{__package__}.metavision_ml",
    "metavision_sdk_core": f"{__package__}.metavision_sdk_core",
    "pytorch_lightning": "lightning.pytorch",
}
"""Names in scripts, and the packages that they stand for."""
OWN = {"pytorch_lightning": f"{__package__}.pytorch_lightning"}
"""Of those, the modules that seqdet has something to add to."""


class AliasFinder(MetaPathFinder, Loader):
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


def install() -> bool:
    """Redirect imports of the reference from now on; whether it is done: not if ``metavision_ml`` is installed.

    A package that is installed stays what it is, with one exception: Lightning goes by two names, and the model of
    seqdet's is of the one that is answered here. What was imported before is left alone.
    """
    if any(isinstance(finder, AliasFinder) for finder in sys.meta_path):
        return True
    if find_spec("metavision_ml") is not None:
        log.warning("seqdet: metavision_ml is installed here and is used, unchanged.")
        return False
    if "pytorch_lightning" in sys.modules:
        log.warning("seqdet: pytorch_lightning was imported before; its Trainer takes no arguments of Lightning 1.")
    absent = [name for name in ROOTS if name not in sys.modules and _is_answered(name)]
    sys.meta_path.insert(0, AliasFinder(absent))
    return True


def _is_answered(name: str) -> bool:
    return name in OWN or find_spec(name) is None
