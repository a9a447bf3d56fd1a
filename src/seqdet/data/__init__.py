"""From recordings and labels to batches."""
