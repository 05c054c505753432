"""What ``s2l inspect`` wrote into a run folder, in the words that it prints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from smalltolarge.errors import IntegrityError, harmless
from smalltolarge.report.inspection import tell_inspection
from smalltolarge.runs.results import Run
from smalltolarge.selection.diagnostics import Inspection


class _Parts:
    """Collects headings with the tables and sentences under them."""

    def __init__(self) -> None:
        self.parts: list[dict[str, Any]] = []

    def heading(self, text: str) -> None:
        self.parts.append({"heading": harmless(text), "pieces": []})

    def line(self, text: str, *, wrap: bool = True) -> None:
        if self.parts and text:
            self.parts[-1]["pieces"].append({"words": harmless(text), "rows": None})

    def table(self, rows: Sequence[Sequence[str]], headings: Sequence[str] = ()) -> None:
        told = [[harmless(cell) for cell in row] for row in rows]
        self.parts[-1]["pieces"].append({"rows": told, "headings": list(headings)})

    def gap(self) -> None:
        """Leave nothing out: parts have their distance from the style."""


def read(run: Run) -> list[dict[str, Any]]:
    """Give the parts of an inspection; none where the run was not inspected."""
    file = run.path / "inspection.json"
    if not file.is_file():
        return []
    try:
        found = Inspection.from_plain(json.loads(file.read_bytes()))
        told = _Parts()
        tell_inspection(found, told)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise IntegrityError(
            f"{file} is not what s2l inspect writes ({error}): give s2l inspect {run.path} again"
        ) from error
    return told.parts
