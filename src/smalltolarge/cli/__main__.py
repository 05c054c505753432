"""``python -m smalltolarge.cli``."""

from smalltolarge.cli import main

main()
