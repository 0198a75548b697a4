"""Finite width to first order: fluctuations, outputs, depth over width, residual networks."""
