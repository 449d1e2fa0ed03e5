"""What is shown of a search: while it runs, and what it leaves."""
