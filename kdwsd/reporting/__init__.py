"""What is shown of a chain of runs: its table, and a page."""
