"""One file a verb: the same functions for the command line and for Python."""
