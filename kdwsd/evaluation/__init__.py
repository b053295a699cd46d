"""Inference over a data set, metrics, plots and pictures."""
