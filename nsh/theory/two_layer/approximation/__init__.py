"""How well m units approximate a network, and how well a trained one generalises: bounds."""
