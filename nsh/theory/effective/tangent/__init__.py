"""Kernels of finite networks: tangent kernels, their products, spectra, and kernels of features."""
