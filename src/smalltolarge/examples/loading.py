"""Anybody's files in, one table of examples out."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from smalltolarge.errors import DataError, RecipeError, printable
from smalltolarge.examples.conversation import (
    ConversationReader,
    completion_length,
    encode,
    example_id,
    repaired,
)
from smalltolarge.examples.forks import forks, in_order
from smalltolarge.examples.inputs import Input
from smalltolarge.examples.json_rows import Row, jsonl_rows, without_surrogates
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
from smalltolarge.examples.sources import input_names, resolve
from smalltolarge.examples.stream import ByteStream, LineRange
from smalltolarge.examples.table import BARE_SCHEMA, SCHEMA, Examples, InputFile, Message
from smalltolarge.progress import Progress
from smalltolarge.settings import ReadingSettings

if TYPE_CHECKING:
    from smalltolarge.examples.sources import Source

log = logging.getLogger("smalltolarge")

_TRIAL = 256
_SOURCES = frozenset(SOURCES)
_MOST_SOURCES = 100
_BATCH = 20_000
_BATCH_CHARACTERS = 100_000_000
_AGAIN = frozenset({"jsonl", "json"})
"""Kinds of files whose rows can be read again by their bytes."""
_PLAIN = b"part"
LEAST_SHARED = 16_000_000
"""Bytes that are worth beginning processes for."""
RANGE = 4_000_000
"""Bytes that a process reads before it gives what it found."""


def load(
    source: Source,
    *,
    settings: ReadingSettings = ReadingSettings(),  # noqa: B008  (frozen)
    progress: Progress | None = None,
    check: Callable[[], None] = lambda: None,
    texts: bool = True,
) -> Examples:
    """Read fine-tuning data of any accepted kind and layout into one table of examples.

    ``source`` is a path, a folder, a glob pattern, a list of paths, the name of a Hugging Face
    dataset ("owner/name" or "owner/name:config"; an existing path wins), or rows in memory: a list
    of dicts, a data frame, an Arrow table, or a data set of Hugging Face ``datasets``.
    ``check`` is called now and then; it may raise to stop the reading. Without ``texts`` the table
    is of ``BARE_SCHEMA`` where the rows can be read again, from JSONL and JSON; then what is held
    does not grow with them.

    Raises
    ------
    DataError
        Something is not there, not readable, not fine-tuning data, ambiguous, or has bad rows.
    RecipeError
        The settings name parts or columns that do not exist.
    """
    check_columns(settings)
    progress = progress or Progress()
    inputs = resolve(source, settings.split)
    texts = texts or bool(settings.exclude_overlap) or inputs[0].kind not in _AGAIN
    layout, rows = _read(inputs, _Wanted(settings, None, texts), progress, check)
    if rows is None:  # the rows told more than the first of them did: read again, knowing it
        before = [one.record for one in inputs]
        _, rows = _read(inputs, _Wanted(settings, layout, texts), progress, check)
        for one, record in zip(inputs, before, strict=True):
            if one.record != record:
                raise _changed(one)
    assert rows is not None
    examples = rows.finish(inputs)
    return _keep_out(examples, settings, progress, check) if settings.exclude_overlap else examples


def _changed(one: Input) -> DataError:
    return DataError(f"{printable(one.name, 200)} changed while it was read. Try again.")


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


class _Wanted(NamedTuple):
    """How rows are read."""

    settings: ReadingSettings
    layout: Layout | None
    """What all rows are known to be; None: what the first of them suggest."""
    texts: bool


class _Part:
    """What has been read of some rows that follow each other: their shapes, and the table."""

    def __init__(self, wanted: _Wanted, layout: Layout | None) -> None:
        self.wanted = wanted
        self.layout = layout
        """What these rows are read as; None until the first of them tell."""
        self.rows = self._table() if layout not in (None, _NONE) else None
        self.shapes = Shapes(wanted.settings)
        self.flawed = BadRows(exclude=False)
        self.n_read = 0
        self.mended: list[str] = []
        self._trial: list[tuple[int, Input, Row]] = []

    def add(self, number: int, one: Input, row: Row) -> None:
        """Take one row in."""
        self.n_read += 1
        value = row[3]
        if isinstance(value, Flaw):
            self.flawed.add(number, one.name, one.kind, row[0], row[1], value)
        elif self.wanted.layout is None:
            self.shapes.observe(value, one.name, row[0])
        if self.rows is not None:
            self.rows.add(number, one, row)
        elif self.layout is None:
            self._trial.append((number, one, row))
            if len(self._trial) == _TRIAL:
                self.settle(_suggest(self.shapes))

    def settle(self, layout: Layout) -> None:
        """Read the rows so far, and those to come, with ``layout``."""
        self.layout = layout
        if layout is not _NONE:
            self.rows = self._table()
            for row in self._trial:
                self.rows.add(*row)
        self._trial.clear()

    def mend(self, one: Input, lines: list[int] | None) -> None:
        """Note the lines of one input that were repaired."""
        self.mended += [place(one.name, one.kind, line, -1) for line in lines or []]

    def packed(self) -> bytes:
        """Give all of it as an Arrow stream, for ``join`` in another process."""
        plain: list[Any] = [self.n_read, self.mended, self.flawed.plain(), self.shapes.plain()]
        batches: list[pa.RecordBatch] = []
        schema = pa.schema([])
        if self.rows is not None:
            batches, schema = self.rows.flush(), self.rows.schema
            plain.append(self.rows.plain())
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, schema.with_metadata({_PLAIN: json.dumps(plain)})) as stream:
            for batch in batches:
                stream.write_batch(batch)
        return sink.getvalue().to_pybytes()

    def join(self, packed: bytes) -> None:
        """Take in the rows that follow."""
        with pa.ipc.open_stream(packed) as stream:
            n_read, mended, flawed, shapes, *rows = json.loads(stream.schema.metadata[_PLAIN])
            if self.rows is not None:
                self.rows.join(list(stream), *rows[0])
        self.n_read += n_read
        self.mended += mended
        self.flawed.join(*flawed)
        self.shapes.join(*shapes)

    def _table(self) -> _Rows:
        assert self.layout is not None
        return _Rows(self.wanted.settings, self.layout, texts=self.wanted.texts)


def _read(
    inputs: list[Input], wanted: _Wanted, progress: Progress, check: Callable[[], None]
) -> tuple[Layout, _Rows | None]:
    """Read all inputs with the layout wanted, or with what the first rows suggest.

    The layout given back is that of all rows; the rows are None where they need it read again.
    """
    of_files = inputs[0].dataset is None and inputs[0].objects is None
    total = sum(one.size() for one in inputs)
    shared = of_files and total >= LEAST_SHARED and forks() > 1 and all(map(_is_plain, inputs))
    with progress.step("reading", total, "bytes" if of_files else "rows") as step:

        def advance(amount: int) -> None:
            check()
            step.advance(amount)

        if shared:
            whole = _read_shared(inputs, wanted, check, advance)
        else:
            whole = _Part(wanted, wanted.layout)
            for number, one in enumerate(inputs):
                mended: list[int] | None = [] if wanted.settings.repair_text else None
                for row in one.rows(wanted.settings, whole.shapes, advance, mended):
                    whole.add(number, one, row)
                whole.mend(one, mended)
                _check_alike(inputs[0], one)
    shapes = whole.shapes
    if not whole.n_read:
        names = list(shapes.names)
        header = f" beyond the header ({', '.join(map(printable, names))})" if names else ""
        raise DataError(f"{input_names(inputs)} holds no rows{header}. Give data with rows.")
    if wanted.layout is not None:
        return wanted.layout, whole.rows
    if whole.mended:
        log.warning(
            "%d rows were not valid UTF-8 and were repaired, the first %s",
            len(whole.mended), ", ".join(whole.mended[:5]),
        )  # fmt: skip
    if whole.flawed.total == whole.n_read:
        whole.flawed.check(whole.n_read)
    final = recognise(shapes, input_names(inputs))
    if whole.layout is None:
        whole.settle(final)
    return final, whole.rows if whole.layout == final else None


def _is_plain(one: Input) -> bool:
    return one.kind == "jsonl" and one.compression is None


def _read_shared(
    inputs: list[Input],
    wanted: _Wanted,
    check: Callable[[], None],
    advance: Callable[[int], None],
) -> _Part:
    """Read files of lines in several processes: this one digests them and deals ranges out."""
    layout = wanted.layout or _suggested(inputs, wanted)
    settings = wanted.settings

    def ranges() -> Iterator[list[int]]:
        for number, one in enumerate(inputs):
            assert one.path is not None
            stream = ByteStream(one.path, one.name, None)
            for line, start, end in stream.ranges(RANGE):
                lengths.append(end - start)
                yield [number, line, start, end]
            one.record = InputFile(one.name, one.kind, None, stream.size, stream.sha256)

    def work(task: list[int]) -> bytes:
        number, *lines = task
        one, part = inputs[number], _Part(wanted, layout)
        assert one.path is not None
        stream = LineRange(one.path, one.name, *lines)
        mended: list[int] | None = [] if settings.repair_text else None
        for row in jsonl_rows(stream, settings.max_line_bytes, mended):
            part.add(number, one, row)
        part.mend(one, mended)
        return part.packed()

    before = [one.stamp() for one in inputs]
    lengths: list[int] = []
    whole = _Part(wanted, layout)
    for packed in in_order(work, ranges(), forks(), check, input_names(inputs)):
        whole.join(packed)
        advance(lengths.pop(0))
    for one, stamp in zip(inputs, before, strict=True):
        if one.stamp() != stamp:
            raise _changed(one)
    return whole


def _suggested(inputs: list[Input], wanted: _Wanted) -> Layout:
    """Give what the first rows suggest."""
    shapes, left = Shapes(wanted.settings), _TRIAL
    mended: list[int] | None = [] if wanted.settings.repair_text else None
    for one in inputs:
        for row in islice(one.rows(wanted.settings, shapes, lambda _: None, mended), left):
            left -= 1
            if not isinstance(row[3], Flaw):
                shapes.observe(row[3], one.name, row[0])
    return _suggest(shapes)


_NONE = Layout("", {})


def _suggest(shapes: Shapes) -> Layout:
    try:
        return recognise(shapes, "")
    except (DataError, RecipeError):  # all rows may still tell
        return _NONE


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

    def __init__(self, settings: ReadingSettings, layout: Layout, *, texts: bool) -> None:
        self.settings = settings
        self.schema = SCHEMA if texts else BARE_SCHEMA
        self.layout = layout
        self.reader = ConversationReader(layout, settings)
        self.twin = ConversationReader(layout.twin, settings) if layout.twin else None
        self.bad = BadRows(exclude=settings.on_bad_row == "exclude")
        self.n_read = self.mended = 0
        self.batches: list[pa.RecordBatch] = []
        self.source = layout.columns.get("source")
        self.source_given = "source" in (settings.columns or {})
        self.source_odd: tuple[int, str] = (0, "")
        self.sources_known: dict[str, None] = {}
        self.proposed: dict[str, set[str]] = {}
        """The values of columns that may be the source of examples; none where they are not."""
        self.pending: list[tuple[str, Any, str | None, int, int, int, int]] = []
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
        held = messages if self.schema is SCHEMA else completion_length(messages)
        self.pending.append((example_id(encoded, 0), held, source, number, line, start, end))
        self.characters += len(encoded)
        if len(self.pending) == _BATCH or self.characters > _BATCH_CHARACTERS:
            self.flush()

    def plain(self) -> list[Any]:
        """Give what is not in the batches as plain data, for ``join``."""
        proposed = {name: list(values) for name, values in self.proposed.items()}
        counts = [self.n_read, self.mended, self.reader.opened, self.reader.cut]
        return [counts, self.bad.plain(), self.source_odd, proposed]

    def join(
        self,
        batches: Iterable[pa.RecordBatch],
        counts: list[int],
        bad: list[Any],
        source_odd: tuple[int, str],
        proposed: dict[str, list[str]],
    ) -> None:
        """Take in the rows that follow."""
        self.batches += (batch.replace_schema_metadata(None) for batch in batches)
        n_read, mended, opened, cut = counts
        self.n_read += n_read
        self.mended += mended
        self.reader.opened += opened
        self.reader.cut += cut
        self.bad.join(*bad)
        if not self.source_odd[0]:
            self.source_odd = source_odd
        for name, values in proposed.items():
            self.proposed.setdefault(name, set()).update(values)

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

    def flush(self) -> list[pa.RecordBatch]:
        """Put what is pending into the batches, and give them."""
        if not self.pending:
            return self.batches
        columns: list[Any] = list(zip(*self.pending, strict=True))
        if self.schema is SCHEMA:
            columns[1] = _conversations(columns[1])
        arrays = [
            column if isinstance(column, pa.Array) else pa.array(column, field.type)
            for column, field in zip(columns, self.schema, strict=True)
        ]
        self.batches.append(pa.RecordBatch.from_arrays(arrays, schema=self.schema))
        self.pending.clear()
        self.characters = 0
        return self.batches

    def finish(self, inputs: list[Input]) -> Examples:
        """Give the examples, or raise for bad rows."""
        self.bad.check(self.n_read)
        layout = self.layout
        table = pa.Table.from_batches(self.flush(), self.schema)
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
            objects=inputs[0].objects,
            split=inputs[0].split,
        )
        return number_occurrences(examples, self.reader)


def _conversations(rows: Sequence[list[Message]]) -> pa.ListArray[Any]:
    kind: Any = SCHEMA.field("messages").type
    parts = zip(*(turn for row in rows for turn in row), strict=True)
    turns = pa.StructArray.from_arrays(
        [pa.array(part) for part in parts], fields=list(kind.value_type)
    )
    ends = pa.array([0, *accumulate(map(len, rows))], pa.int32())
    return pa.ListArray.from_arrays(ends, turns, type=kind)


def describe(examples: Examples) -> str:
    """Say in one line what was read: split, layout, columns, rows and source column."""
    columns = dict(examples.columns)
    source = columns.pop("source", None)
    layout = examples.format
    names = ", ".join(printable(column, 60) for column in columns.values())
    excluded = examples.excluded.num_rows
    left_out = f" ({excluded:,} more left out)" if excluded else ""
    origin = f"source column: {printable(source, 60)}" if source else "no source column"
    split = ""
    if examples.split is not None:
        name, among = examples.split
        split = f"split {printable(name, 60)} of {', '.join(printable(s, 60) for s in among)}; "
    return f"{split}{layout}: {names}; {len(examples):,} rows{left_out}; {origin}"
