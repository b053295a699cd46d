"""Faults to plant in the package, and a program that does it."""
