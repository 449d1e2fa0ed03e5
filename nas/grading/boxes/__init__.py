"""What became of each box and each object, and what made a box."""
