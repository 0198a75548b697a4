"""How fast nsh is: side by side with NumPy, PyTorch and itself, in one run.

``python -m experiments.benchmarks`` runs the cases, one module for each family of them; every
contender works in a process of its own (`worker`), and rounds are interleaved (`harness`).
``python -m experiments.benchmarks.lanes`` times the ensemble's default number of lanes.
"""
