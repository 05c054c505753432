"""Clinical notes in, pairs of findings and impression out; no model is loaded here."""

from smalltolarge.clinical.prepare import Prepared, prepare_mimic

__all__ = ["Prepared", "prepare_mimic"]
