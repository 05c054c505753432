"""Record the losses of a training that you run yourself.

from smalltolarge.recorder import LossRecorder

trainer = SFTTrainer(..., callbacks=[LossRecorder("data.jsonl")])
trainer.train()
"""

from __future__ import annotations

from smalltolarge.lm.recorder import LossRecorder

__all__ = ["LossRecorder"]
