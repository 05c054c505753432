"""The only room that imports torch: train the proxy, record losses, train and question a target."""

from smalltolarge.lm.features import embed, score_alone
from smalltolarge.lm.generation import Answerer, Completion
from smalltolarge.lm.models import SCRATCH
from smalltolarge.lm.plan import Plan
from smalltolarge.lm.recording import Recording, record
from smalltolarge.lm.shelf import read_weights
from smalltolarge.lm.targets import Target, train
from smalltolarge.lm.tokens import Prepared, prepare

__all__ = [
    "SCRATCH",
    "Answerer",
    "Completion",
    "Plan",
    "Prepared",
    "Recording",
    "Target",
    "embed",
    "prepare",
    "read_weights",
    "record",
    "score_alone",
    "train",
]
