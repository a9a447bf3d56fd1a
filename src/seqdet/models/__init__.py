"""Recurrent detectors and their parts."""
