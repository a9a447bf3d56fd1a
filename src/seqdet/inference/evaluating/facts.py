"""What a finished training says of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...checks import InputError
from ...runs import TRAINING_FORMAT


def training_facts(path: Path) -> dict[str, Any]:
    """What ``fit`` wrote about the training.

    Raises:
        InputError: if the file is damaged or of another version.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} must be the JSON that a finished training writes; it is damaged ({error})."
        ) from error
    if isinstance(facts, dict) and facts.get("format", TRAINING_FORMAT) != TRAINING_FORMAT:
        raise InputError(f"{path} must have the format {TRAINING_FORMAT!r}, got {facts['format']!r}.")
    needed = {"format", "precision", "frames", "seconds", "frames_per_second", "parameters"}
    if not isinstance(facts, dict) or not needed <= facts.keys():
        raise InputError(f"{path} must hold {', '.join(sorted(needed))}; it is damaged or of another kind.")
    return facts
