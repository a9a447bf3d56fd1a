"""A trained run, scored and shown."""
