"""A study as it lies on the disk: the run's folder, the trials, who may write."""
