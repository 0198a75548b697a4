"""What infinitely wide networks predict, and how they come to it in training."""
