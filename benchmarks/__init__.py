"""Benchmarks of kdwsd: `make bench` or python -m benchmarks."""
