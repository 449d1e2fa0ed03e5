"""A detector's files in int8: which layers compute so, what that loses and what it wins.

Pictures that ranges are found on (`pictures`), a choice of layers as a file that runs (`files`),
the milliseconds of each layer on a board (`won`), the search over layers (`choice`), both files
timed here or estimated (`speed`), and all of it, or a refusal (`gate`).
"""
