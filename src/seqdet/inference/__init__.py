"""The trained detector at work."""
