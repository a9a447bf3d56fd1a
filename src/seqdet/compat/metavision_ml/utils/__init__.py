"""Counterpart of ``metavision_ml.utils``."""
