"""Criticality: universality classes, how far signals reach, learning rates over depth."""
