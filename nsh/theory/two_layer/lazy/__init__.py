"""The lazy regime of two-layer networks: tangent kernels, linearised training, random features."""
