"""The board: what is timed on it, the table of its times, and the predictions made from them."""
