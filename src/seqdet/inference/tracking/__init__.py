"""Identities for detections."""
