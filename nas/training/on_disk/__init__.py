"""A training as it lies on the disk: its folder, its checkpoints, room for both."""
