"""Programs that run on a board. They import nothing of the rest of the house."""
