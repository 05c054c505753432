"""Record the losses of a training by Axolotl.

``plugins: [smalltolarge.recorder.axolotl.Recorder]`` in its configuration, and the keys below.
"""

from __future__ import annotations

from typing import Any, Literal

from axolotl.integrations.base import BasePlugin
from pydantic import BaseModel

from smalltolarge.recorder import LossRecorder, of_keys


class RecorderArgs(BaseModel):
    """The keys of an Axolotl configuration that are for the recorder: its parameters."""

    s2l_data: str | list[str] | None = None
    s2l_out: str | None = None
    s2l_checkpoints: int | None = None
    s2l_schedule: Literal["even", "early"] | None = None
    s2l_sample: int | None = None
    s2l_seed: int | None = None
    s2l_template: str | None = None
    s2l_max_length: int | None = None
    s2l_unit_tokens: int | None = None
    s2l_folder: str | None = None
    s2l_check: bool | None = None


class Recorder(BasePlugin):  # type: ignore[misc]
    """A plugin that adds a ``LossRecorder`` to the trainer."""

    def get_input_args(self) -> str:
        """Name the keys."""
        return f"{RecorderArgs.__module__}.{RecorderArgs.__name__}"

    def add_callbacks_post_trainer(self, cfg: Any, trainer: Any) -> list[LossRecorder]:
        """Give the recorder that the configuration asks for."""
        own = {name: cfg.get(name) for name in RecorderArgs.model_fields}
        return [of_keys(own, cfg.get("sequence_len"))]
