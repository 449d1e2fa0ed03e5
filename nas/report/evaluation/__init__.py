"""What is shown of an evaluation: one page, its plots as PNGs, one JSON document, in one folder."""
