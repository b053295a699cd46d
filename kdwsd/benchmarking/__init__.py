"""What `kdwsd.benchmark` measures, each in a process of its own."""
