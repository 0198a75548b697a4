"""nsh against what else could be done, timed side by side in one run."""
