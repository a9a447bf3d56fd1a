"""Counterpart of ``metavision_ml.data``."""
