"""``python -m smalltolarge``."""

from smalltolarge.cli import main

main()
