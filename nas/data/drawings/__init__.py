"""Drawn pictures of many kinds of object, without files and without end: `--data drawings`."""
