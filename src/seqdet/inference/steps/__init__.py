"""One window through a detector, whatever computes it."""
