"""Predictions of infinitely wide networks, and their evolution in training."""
