"""The only room that imports torch: train the proxy, record losses, train and question a target."""

import os

# Read when torch loads OpenMP: threads that wait for each other sleep. As it comes they spin, and
# beside another busy process two of them then are slower than one.
os.environ.setdefault("GOMP_SPINCOUNT", "0")

from smalltolarge.lm.features import embed, score_alone
from smalltolarge.lm.generation import Answerer, Completion
from smalltolarge.lm.models import SCRATCH
from smalltolarge.lm.plan import Plan
from smalltolarge.lm.recording import Recording, record
from smalltolarge.lm.saved import record_saved
from smalltolarge.lm.shelf import read_weights, write_weights
from smalltolarge.lm.showing import show, show_first
from smalltolarge.lm.targets import Target, train, untrained
from smalltolarge.lm.tokens import Prepared, prepare
from smalltolarge.lm.world import World, joined

__all__ = [
    "SCRATCH",
    "Answerer",
    "Completion",
    "Plan",
    "Prepared",
    "Recording",
    "Target",
    "World",
    "embed",
    "joined",
    "prepare",
    "read_weights",
    "record",
    "record_saved",
    "score_alone",
    "show",
    "show_first",
    "train",
    "untrained",
    "write_weights",
]
