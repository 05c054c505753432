"""The tables beside this file, in which the problems stand, and the notation of their texts."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any


def read(name: str) -> dict[str, Any]:
    """Read the table of this name."""
    return tomllib.loads(Path(__file__).with_name(f"{name}.toml").read_text("utf-8"))


def bullets(text: str) -> tuple[str, ...]:
    """Split a text into its items, each begun by a dash at the start of a line."""
    items = re.split(r"^- ", text, flags=re.MULTILINE)[1:]
    return tuple(" ".join(item.split()) for item in items)
