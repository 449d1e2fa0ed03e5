"""Tables of times measured on a board, and what is predicted from them."""
