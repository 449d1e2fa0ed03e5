"""How a board is reached: runners here, over SSH and faked, and what a board says of itself."""
