"""Infinite width: kernels of many inputs, and how activations act on them."""
