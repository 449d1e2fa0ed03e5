"""Predictions held against the board: whole networks timed, and what their residuals teach."""
