"""Programs that run on a board, beside an exported detector. They import nothing of the house."""
