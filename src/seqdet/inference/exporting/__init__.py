"""Detectors as files that run without seqdet."""
