"""Grading on the workers of a Dask cluster: the way there, what is sent, what happens there."""
