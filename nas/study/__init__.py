"""The search: a run's folder, the loop, the Pareto front, and what is shown of it."""
