"""A folder that runs elsewhere: the exported files, what each is worth, and what runs them."""
