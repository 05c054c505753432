"""Data sets of the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SECONDS = 10


def load_dataset(name: str, configuration: str | None, split: str | None) -> Any:
    """Load a data set of the hub, or the copy that was fetched before where it cannot be reached.

    Raises what ``datasets.load_dataset`` raises, but at once where there is no network: it would
    try for 25 seconds.
    """
    from datasets import load_dataset as load

    if _answers(name):
        return load(name, configuration, split=split)
    with _offline():
        return load(name, configuration, split=split)


def _answers(name: str) -> bool:
    """Ask the hub once; one that is slow is one that answers."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        HfApi().dataset_info(name, timeout=_SECONDS)
    except HfHubHTTPError:
        return True  # that there is no such data set, for example
    except Exception as error:  # of whichever library it reaches the network by
        return "Timeout" in type(error).__name__
    return True


@contextmanager
def _offline() -> Iterator[None]:
    from datasets import config

    before = config.HF_HUB_OFFLINE
    config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE = before
