"""Anybody's fine-tuning data in, one table of examples out; the subset written back."""

from smalltolarge.examples.loading import describe, load
from smalltolarge.examples.sources import would_read
from smalltolarge.examples.table import EXCLUDED_SCHEMA, SCHEMA, Examples, InputFile, Message
from smalltolarge.examples.writing import (
    check_output,
    read_weights,
    refuse_taken,
    rows_as_dataset,
    usual_suffix,
    write_subset,
)

__all__ = [
    "EXCLUDED_SCHEMA",
    "SCHEMA",
    "Examples",
    "InputFile",
    "Message",
    "check_output",
    "describe",
    "load",
    "read_weights",
    "refuse_taken",
    "rows_as_dataset",
    "usual_suffix",
    "would_read",
    "write_subset",
]
