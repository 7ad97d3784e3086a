"""Readers of foreign files: a file or its lines in, typed rows out; nothing is written and nothing run."""
