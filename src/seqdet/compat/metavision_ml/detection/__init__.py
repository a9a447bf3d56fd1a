"""Counterpart of ``metavision_ml.detection``."""
