"""The mean-field view: laws of particles, their free energy, and where noisy descent takes them."""
