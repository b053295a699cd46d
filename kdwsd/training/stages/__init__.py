"""What sets the stages apart: their model, their losses, their start."""
