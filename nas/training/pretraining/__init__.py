"""One detector taught on several sets at once, for others to be cut from: a starter."""
