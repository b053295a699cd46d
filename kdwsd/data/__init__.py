"""Data: from images and labels in common formats to batches."""
