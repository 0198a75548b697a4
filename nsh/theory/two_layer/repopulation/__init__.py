"""Neural feature repopulation: which hidden units to sample, and training that does so."""
