"""What decides the numbers of a run, as JSON: for studies and checkpoints to be resumed."""
