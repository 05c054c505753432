"""Results in, something to look at out; needs no torch."""
