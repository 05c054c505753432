"""Anybody's files in, one table of examples out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from smalltolarge.errors import DataError, RecipeError, printable
from smalltolarge.examples.conversation import ConversationReader, encode, example_id, repaired
from smalltolarge.examples.json_rows import Row, without_surrogates
from smalltolarge.examples.layout import (
    SOURCES,
    Layout,
    Shapes,
    check_columns,
    recognise,
    twins_differ,
)
from smalltolarge.examples.occurrences import number_occurrences
from smalltolarge.examples.overlap import without_overlaps
from smalltolarge.examples.problems import BadRows, Flaw, Refused, place, shown
from smalltolarge.examples.sources import Input, input_names, resolve
from smalltolarge.examples.table import SCHEMA, Examples, Message
from smalltolarge.progress import Progress
from smalltolarge.settings import ReadingSettings

if TYPE_CHECKING:
    from datasets import Dataset

log = logging.getLogger("smalltolarge")

_TRIAL = 256
_SOURCES = frozenset(SOURCES)
_MOST_SOURCES = 100
_BATCH = 20_000
_BATCH_CHARACTERS = 100_000_000


def load(
    source: str | Path | Sequence[str | Path] | Dataset,
    *,
    settings: ReadingSettings = ReadingSettings(),  # noqa: B008  (frozen)
    progress: Progress | None = None,
    check: Callable[[], None] = lambda: None,
) -> Examples:
    """Read fine-tuning data of any accepted kind and layout into one table of examples.

    ``source`` is a path, a folder, a glob pattern, a list of paths, the name of a Hugging Face
    dataset ("owner/name" or "owner/name:config"; an existing path wins), or a dataset in memory.
    ``check`` is called now and then; it may raise to stop the reading.

    Raises
    ------
    DataError
        Something is not there, not readable, not fine-tuning data, ambiguous, or has bad rows.
    RecipeError
        The settings name parts or columns that do not exist.
    """
    check_columns(settings)
    progress = progress or Progress()
    inputs = resolve(source, settings)
    shapes = Shapes(settings)
    layout, rows = _read(inputs, settings, progress, check, shapes, None)
    if rows is None:  # the rows told more than the first of them did: read again, knowing it
        before = [one.record for one in inputs]
        _, rows = _read(inputs, settings, progress, check, Shapes(settings), layout)
        for one, record in zip(inputs, before, strict=True):
            if one.record != record:
                raise DataError(f"{printable(one.name, 200)} changed while it was read. Try again.")
    assert rows is not None
    examples = rows.finish(inputs, layout)
    return _keep_out(examples, settings, progress, check) if settings.exclude_overlap else examples


def _keep_out(
    examples: Examples, settings: ReadingSettings, progress: Progress, check: Callable[[], None]
) -> Examples:
    """Leave out what overlaps with evaluation files, and say how much that is."""
    with progress.step("looking for test questions", len(examples)) as step:
        kept, counts = without_overlaps(examples, settings, check, step.advance)
    for name, count in zip(settings.exclude_overlap, counts, strict=True):
        log.info(
            "%s: %s rows overlap with its questions and are left out",
            printable(name, 200), f"{count:,}",
        )  # fmt: skip
    return kept


def _read(
    inputs: list[Input],
    settings: ReadingSettings,
    progress: Progress,
    check: Callable[[], None],
    shapes: Shapes,
    layout: Layout | None,
) -> tuple[Layout, _Rows | None]:
    """Read all inputs with ``layout``, or with what the first rows suggest.

    The layout given back is that of all rows; the rows are None where they need it read again.
    """
    rows = _Rows(settings, layout) if layout else None
    suggested = layout
    trial: list[tuple[int, Input, Row]] = []
    of_dataset = inputs[0].dataset is not None
    fixed, observe = layout is not None, shapes.observe
    total = sum(one.size() for one in inputs)
    n_read = 0
    flawed = BadRows(exclude=False)
    fixed_texts: list[str] = []
    with progress.step("reading", total, "rows" if of_dataset else "bytes") as step:

        def advance(amount: int) -> None:
            check()
            step.advance(amount)

        for number, one in enumerate(inputs):
            mended: list[int] | None = [] if settings.repair_text else None
            for row in one.rows(settings, shapes, advance, mended):
                n_read += 1
                value = row[3]
                if isinstance(value, Flaw):
                    flawed.add(number, one.name, one.kind, row[0], row[1], value)
                elif not fixed:
                    observe(value, one.name, row[0])
                if rows is not None:
                    rows.add(number, one, row)
                elif suggested is None:
                    trial.append((number, one, row))
                    if len(trial) == _TRIAL:
                        suggested = _suggest(shapes)
                        if suggested is not _NONE:
                            rows = _replayed(settings, suggested, trial)
                        trial.clear()
            fixed_texts += [place(one.name, one.kind, line, -1) for line in mended or []]
            _check_alike(inputs[0], one)
    if not n_read:
        names = list(shapes.names)
        header = f" beyond the header ({', '.join(map(printable, names))})" if names else ""
        raise DataError(f"{input_names(inputs)} holds no rows{header}. Give data with rows.")
    if fixed_texts and layout is None:
        log.warning(
            "%d rows were not valid UTF-8 and were repaired, the first %s",
            len(fixed_texts), ", ".join(fixed_texts[:5]),
        )  # fmt: skip
    if layout is not None:
        return layout, rows
    if flawed.total == n_read:
        flawed.check(n_read)
    final = recognise(shapes, input_names(inputs))
    if rows is None and suggested is None:
        rows = _replayed(settings, final, trial)
        suggested = final
    return final, rows if suggested == final else None


_NONE = Layout("", {})


def _suggest(shapes: Shapes) -> Layout:
    try:
        return recognise(shapes, "")
    except (DataError, RecipeError):  # all rows may still tell
        return _NONE


def _replayed(
    settings: ReadingSettings, layout: Layout, trial: list[tuple[int, Input, Row]]
) -> _Rows:
    rows = _Rows(settings, layout)
    for number, one, row in trial:
        rows.add(number, one, row)
    return rows


def _check_alike(first: Input, other: Input) -> None:
    if other.header != first.header:
        raise DataError(
            f"{printable(first.name, 200)} and {printable(other.name, 200)} have different headers "
            f"or separators: {printable(', '.join((first.header or ('', []))[1]))} and "
            f"{printable(', '.join((other.header or ('', []))[1]))}. Give CSV files of one header."
        )
    if first.schema is not None and not first.schema.equals(other.schema):
        differing = [
            name
            for name in dict.fromkeys([*first.schema.names, *other.schema.names])
            if name not in first.schema.names
            or name not in other.schema.names
            or not first.schema.field(name).equals(other.schema.field(name))
        ]
        raise DataError(
            f"{printable(first.name, 200)} and {printable(other.name, 200)} have different "
            f"columns or types: {', '.join(map(printable, differing)) or 'their order'}. Give "
            "Parquet files of one schema."
        )


class _Rows:
    """The table under way."""

    def __init__(self, settings: ReadingSettings, layout: Layout) -> None:
        self.settings = settings
        self.layout = layout
        self.reader = ConversationReader(layout, settings)
        self.twin = ConversationReader(layout.twin, settings) if layout.twin else None
        self.bad = BadRows(exclude=settings.on_bad_row == "exclude")
        self.n_read = self.n_used = 0
        self.mended = 0
        self.batches: list[pa.RecordBatch] = []
        self.seen: dict[str, int] = {}
        """The first row with these turns, by its id."""
        self.later: dict[int, list[int]] = {}
        """The other rows with the turns of a first row."""
        self.source = layout.columns.get("source")
        self.source_given = "source" in (settings.columns or {})
        self.source_odd: tuple[int, str] = (0, "")
        self.sources_known: dict[str, None] = {}
        self.proposed: dict[str, set[str]] = {}
        """The values of columns that may be the source of examples; none where they are not."""
        self.pending: list[tuple[str, list[Message], str | None, int, int, int, int]] = []
        self.characters = 0

    def add(self, number: int, one: Input, row: Row) -> None:
        """Take one row in, or note why not."""
        self.n_read += 1
        line, start, end, value = row
        try:
            if isinstance(value, Flaw):
                raise Refused(value.reason, value.field, value.found, value.wanted)
            messages = self.reader.read(value)
            if self.twin is not None:
                self._compare(self.twin, value, messages, place(one.name, one.kind, line, start))
            try:
                encoded = encode(messages)
            except UnicodeEncodeError:
                messages = self._mend(messages)
                encoded = encode(messages)
            if self.source is not None:
                source = self._source(value, one, line)
            else:
                source = None
                if not _SOURCES.isdisjoint(value):
                    self._propose(value)
        except Refused as refused:
            self.bad.add(number, one.name, one.kind, line, start, refused.flaw)
            return
        name = example_id(encoded, 0)
        first = self.seen.setdefault(name, self.n_used)
        if first != self.n_used:
            others = self.later.setdefault(first, [])
            others.append(self.n_used)
            name = example_id(encoded, len(others))
        self.n_used += 1
        self.pending.append((name, messages, source, number, line, start, end))
        self.characters += len(encoded)
        if len(self.pending) == _BATCH or self.characters > _BATCH_CHARACTERS:
            self._flush()

    def _compare(
        self, twin: ConversationReader, row: dict[str, Any], messages: list[Message], where: str
    ) -> None:
        try:
            pair = twin.read(row)
        except Refused:  # then the turns alone say something
            return
        if [turn for turn in pair if turn.role != "system"] != [
            turn for turn in messages if turn.role != "system"
        ]:
            raise twins_differ(self.layout, where)

    def _propose(self, row: dict[str, Any]) -> None:
        for name in SOURCES:
            value = row.get(name)
            if value is not None:
                values = self.proposed.setdefault(name, set())
                if type(value) is str and len(values) <= _MOST_SOURCES:
                    values.add(value)
                else:
                    values.update(map(str, range(_MOST_SOURCES + 1)))

    def _mend(self, messages: list[Message]) -> list[Message]:
        if self.settings.repair_text:
            self.mended += 1
            return repaired(messages)
        for number, turn in enumerate(messages, 1):
            text = turn.reasoning + turn.content
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise Refused(
                    "not valid Unicode",
                    f"turn {number} ({turn.role})",
                    f'a lone surrogate: "{printable(text[max(error.start - 20, 0) :], 50)}"',
                    "Unicode text, or --repair-text to replace what is not",
                ) from None
        raise AssertionError("every turn can be encoded")

    def _source(self, value: dict[str, Any], one: Input, line: int) -> str | None:
        assert self.source is not None
        source = value.get(self.source)
        if source is None or (source == "" and one.kind == "csv"):
            return None
        if type(source) is not str:
            if self.source_given:
                raise Refused("not text", self.source, shown(source), "text or null")
            if not self.source_odd[0]:
                self.source_odd = 1, f"{place(one.name, one.kind, line, -1)}: {shown(source)}"
            return None
        if source not in self.sources_known:
            try:
                source.encode()
            except UnicodeEncodeError:
                if self.settings.repair_text:
                    return without_surrogates(source)
                raise Refused(
                    "not valid Unicode", self.source, shown(source), "Unicode text, or null"
                ) from None
            if len(self.sources_known) < 100_000:
                self.sources_known[source] = None
        return source

    def _flush(self) -> None:
        if not self.pending:
            return
        ids, rows, sources, *places = zip(*self.pending, strict=True)
        kind: Any = SCHEMA.field("messages").type
        parts = zip(*(turn for row in rows for turn in row), strict=True)
        turns = pa.StructArray.from_arrays(
            [pa.array(part) for part in parts], fields=list(kind.value_type)
        )
        ends = pa.array([0, *accumulate(map(len, rows))], pa.int32())
        columns: list[pa.Array[Any]] = [
            pa.array(ids, pa.string()),
            pa.ListArray.from_arrays(ends, turns, type=kind),
            pa.array(sources, pa.string()),
            pa.array(places[0], pa.int32()),
            *(pa.array(place, pa.int64()) for place in places[1:]),
        ]
        self.batches.append(pa.RecordBatch.from_arrays(columns, schema=SCHEMA))
        self.pending.clear()
        self.characters = 0

    def finish(self, inputs: list[Input], layout: Layout) -> Examples:
        """Give the examples, or raise for bad rows."""
        self.bad.check(self.n_read)
        self._flush()
        table = pa.Table.from_batches(self.batches, SCHEMA)
        columns = dict(layout.columns)
        if self.source_odd[0]:
            log.warning(
                "the column source is not used: it does not hold text everywhere (%s). Name "
                "another with --columns source=COLUMN.", self.source_odd[1],
            )  # fmt: skip
            del columns["source"]
            nothing = pa.nulls(len(table), pa.string())
            table = table.set_column(SCHEMA.get_field_index("source"), "source", nothing)
        for name, values in self.proposed.items():
            if 1 < len(values) <= _MOST_SOURCES:
                log.info(
                    "no source column; %s has %d values: --columns source=%s", name, len(values),
                    name,
                )  # fmt: skip
        if self.reader.opened:
            log.warning(
                "%d conversations begin with an assistant turn, which answers nothing: it is "
                "context, not learned", self.reader.opened,
            )  # fmt: skip
        if self.reader.cut:
            log.warning(
                "%d conversations go on after their last assistant turn; what follows it teaches "
                "nothing and is left out", self.reader.cut,
            )  # fmt: skip
        if self.mended:
            log.warning("%d rows had lone surrogates, which were replaced", self.mended)
        examples = Examples(
            table=table,
            excluded=self.bad.table(),
            inputs=tuple(one.record for one in inputs if one.record),
            format=layout.format,
            columns=columns,
            dataset=inputs[0].dataset,
        )
        return number_occurrences(examples, self.later)


def describe(examples: Examples) -> str:
    """Say in one line what was read: layout, columns, rows and source column."""
    columns = dict(examples.columns)
    source = columns.pop("source", None)
    layout = examples.format
    names = ", ".join(printable(column, 60) for column in columns.values())
    excluded = examples.excluded.num_rows
    left_out = f" ({excluded:,} more left out)" if excluded else ""
    origin = f"source column: {printable(source, 60)}" if source else "no source column"
    return f"{layout}: {names}; {len(examples):,} rows{left_out}; {origin}"
