"""Counterpart of ``metavision_ml.detection_tracking``."""
