"""Counterpart of ``metavision_ml``."""
