"""How fast nsh is: side by side with NumPy, PyTorch and itself, in one run.

``python -m experiments.benchmarks`` runs the cases, one module for each family of them; every
contender works in a process of its own (`worker`), and rounds are interleaved (`harness`).
``python -m experiments.benchmarks.vmap_size`` times the ensemble's default `vmap_size`.
"""
