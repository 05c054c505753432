"""Some rows of a run to read: which ones, their text, their losses, and why they were taken."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np

from smalltolarge import examples as reading
from smalltolarge.errors import S2LError, harmless, printable
from smalltolarge.examples.layout import Shapes
from smalltolarge.examples.originals import changed
from smalltolarge.examples.sources import resolve
from smalltolarge.examples.table import Message
from smalltolarge.progress import Watch
from smalltolarge.report.page.facts import Chosen, spent
from smalltolarge.runs.recipe import DataRecipe
from smalltolarge.settings import ReadingSettings

log = logging.getLogger("smalltolarge")

MOST = 5000
"""Rows that a page holds."""
_CHARACTERS = 3_000_000
"""Of all texts of a page together; longer ones are cut alike."""
_LONGEST = 6000
"""Characters of one row."""


def sample(chosen: Chosen, besides: list[int], most: int = MOST) -> np.ndarray:
    """Draw rows to show, int64 (m,), increasing: of every cluster some chosen and some left.

    They are those with the smallest random keys; where there are no clusters, of every source.
    ``besides`` are rows that are shown in any case.
    """
    groups = chosen.sources[0] if chosen.labels is None else chosen.labels.astype(np.int64)
    groups = 2 * groups + chosen.selected
    keys = chosen.table["key"].to_numpy()
    order = np.lexsort((keys, groups))
    sorted_groups = groups[order]
    starts = np.flatnonzero(np.diff(sorted_groups, prepend=-1))
    place = np.empty(len(groups), dtype=np.int64)
    sizes = np.diff(starts, append=len(groups))
    place[order] = np.arange(len(groups)) - np.repeat(starts, sizes)
    kept = np.lexsort((keys, place))[: max(most - len(besides), 0)]
    return np.unique(np.concatenate([kept, np.array(besides, dtype=np.int64)]))


def told(chosen: Chosen, rows: np.ndarray, texts: dict[tuple[str, int], Any]) -> list[list[Any]]:
    """Tell rows as JSON-like data, a list each, in the order of ``COLUMNS``."""
    table = chosen.table.take(rows)
    columns: dict[str, list[Any]] = {
        name: table[name].to_pylist() for name in ("id", "file", "row", "source", "rank")
    }
    labels, trajectories = chosen.labels, chosen.trajectories
    place = _places(chosen)
    most = max(_LONGEST if not texts else _limit(texts), 1)
    found = []
    for number, row in enumerate(rows.tolist()):
        where = (columns["file"][number], columns["row"][number])
        turns = texts.get(where)
        found.append(
            [
                columns["id"][number][:12],
                f"{harmless(where[0])}, row {where[1]:,}",
                None if columns["source"][number] is None else harmless(columns["source"][number]),
                None if labels is None else int(labels[row]),
                int(chosen.selected[row]),
                int(place[row]),
                columns["rank"][number],
                None if trajectories is None else _losses(trajectories.losses[row]),
                None if turns is None else _cut(turns, most),
            ]
        )
    return found


COLUMNS = ("id", "place", "source", "cluster", "taken", "turn", "rank", "losses", "turns")


def _losses(losses: np.ndarray) -> list[float]:
    return [round(float(value), 3) for value in losses]


def _places(chosen: Chosen) -> np.ndarray:
    """Give the place of every row in its cluster, from 1, as the method orders: int64 (n,)."""
    ranks = chosen.table["rank"].to_numpy()
    labels: Any = np.zeros(len(chosen), np.int64) if chosen.labels is None else chosen.labels
    order = np.lexsort((ranks, labels))
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    place = np.empty(len(order), dtype=np.int64)
    sizes = np.diff(starts, append=len(order))
    place[order] = np.arange(len(order)) - np.repeat(starts, sizes) + 1
    return place


def _limit(texts: dict[tuple[str, int], Any]) -> int:
    """Find how many characters of a row may be shown so that all together stay within bounds."""
    lengths = np.array([sum(len(turn[1]) for turn in turns) for turns in texts.values()])
    limits = np.arange(100, _LONGEST + 1, 100)
    totals = np.array([np.minimum(lengths, limit).sum() for limit in limits])
    fitting = int(np.searchsorted(totals, _CHARACTERS, side="right"))
    return int(limits[max(fitting - 1, 0)])


def _cut(turns: list[tuple[str, str, bool]], most: int) -> list[list[Any]]:
    """Give turns of at most ``most`` characters together; how many are missing ends the last."""
    kept: list[list[Any]] = []
    for role, text, learned in turns:
        if most <= 0:
            break
        missing = len(text) - most
        kept.append([role, harmless(text[:most]), int(learned), max(missing, 0)])
        most -= len(text)
    return kept


def texts(chosen: Chosen, rows: np.ndarray, watch: Watch) -> tuple[dict[tuple[str, int], Any], str]:
    """Read the texts of rows again, by file and row; and, where they cannot be had, why.

    The data are gone through once and only these rows are looked at, so that many rows cost little.
    """
    recipe = chosen.run.recipe
    assert isinstance(recipe, DataRecipe)
    table = chosen.table.select(["file", "row"]).take(rows)
    pairs: Any = zip(table["file"].to_pylist(), table["row"].to_pylist(), strict=True)
    wanted: dict[str, set[int]] = {}
    for file, row in pairs:
        wanted.setdefault(file, set()).add(row)
    try:
        return _read(recipe, spent(chosen.run, "load"), wanted, watch), ""
    except S2LError as error:
        why = str(error).partition("\n")[0]
        log.warning("the page holds no texts of rows: %s", why)
        return {}, printable(why, 300)


def _read(
    recipe: DataRecipe, loaded: Any, wanted: dict[str, set[int]], watch: Watch
) -> dict[tuple[str, int], Any]:
    known = {entry["path"]: entry["sha256"] for entry in loaded["inputs"]}
    settings = recipe.reading
    source = recipe.data[0] if len(recipe.data) == 1 else list(recipe.data)
    found: list[Any] = []
    places: list[tuple[str, int]] = []
    for one in resolve(source, settings.split):
        rows = wanted.get(one.name, set())
        with watch.progress.step("reading rows to show", one.size(), "bytes") as step:

            def advance(amount: int, step: Any = step) -> None:
                watch.check()
                step.advance(amount)

            mended: list[int] | None = [] if settings.repair_text else None
            for row, _, _, value in one.rows(settings, Shapes(settings), advance, mended):
                if row in rows and isinstance(value, dict):
                    found.append(value)
                    places.append((one.name, row))
        if one.record is not None and known.get(one.name) not in (None, one.record.sha256):
            raise changed(one.record)
    as_read = replace(
        ReadingSettings(), format=loaded["format"], columns=dict(loaded["columns"]) or None,
        learn=settings.learn, ignore=settings.ignore, on_bad_row="exclude",
    )  # fmt: skip
    examples = reading.load(found, settings=as_read)
    numbers: list[Any] = examples.table["row"].to_pylist()
    return {
        places[row - 1]: [(turn.role, _said(turn), turn.learned and turn.role == "assistant")
                          for turn in turns]
        for row, turns in zip(numbers, examples.conversations(), strict=True)
    }  # fmt: skip


def _said(turn: Message) -> str:
    thought = f"<think>\n{turn.reasoning}\n</think>\n\n" if turn.reasoning else ""
    return thought + turn.content
