"""What a prediction should have been, and how far off it is."""
