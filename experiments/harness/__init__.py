"""What runs experiments, keeps their results and shows them."""
