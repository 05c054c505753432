"""A run as one HTML file: its numbers, its figures, and some of its rows to read."""
