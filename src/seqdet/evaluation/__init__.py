"""Scores of detections against the truth."""
