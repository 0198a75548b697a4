"""Finite networks at random: exact samples, estimates from them, and empirical kernels."""
