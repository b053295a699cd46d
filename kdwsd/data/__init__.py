"""From people's images and labels to batches."""
