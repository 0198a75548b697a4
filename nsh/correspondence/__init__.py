"""Neurashed held against real data and real networks: graphs from both, and null models."""
