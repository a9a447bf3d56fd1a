"""The limits of settings: beyond is what no machine holds, or what cannot be meant."""

MOST_US = 10**9
"""Longest time, a little more than a quarter of an hour."""
MOST_FRAMES = 10**6
MOST_STEPS = 10**9
LARGEST_SEED = 2**63
