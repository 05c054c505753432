"""The only room that imports torch: train the proxy and record the loss of every example."""

from smalltolarge.lm.plan import Plan
from smalltolarge.lm.proxies import SCRATCH
from smalltolarge.lm.recording import Recording, record
from smalltolarge.lm.tokens import Prepared, prepare

__all__ = ["SCRATCH", "Plan", "Prepared", "Recording", "prepare", "record"]
