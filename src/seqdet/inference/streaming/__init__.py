"""A detector on streams of events that have not ended."""
