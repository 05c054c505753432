"""The table of examples that everything else works on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from datasets import Dataset


class Message(NamedTuple):
    """One turn of a conversation."""

    role: str
    """system, user, assistant or tool."""
    content: str
    reasoning: str = ""
    """What an assistant thought before it answered."""
    learned: bool = True
    """Whether an assistant's turn is to be learned, or only what others follow on."""


_TURN = pa.struct(
    [
        ("role", pa.string()),
        ("content", pa.string()),
        ("reasoning", pa.string()),
        ("learned", pa.bool_()),
    ]
)

_FIELDS: list[pa.Field[Any]] = [
    pa.field("id", pa.string()),
    pa.field("messages", pa.list_(_TURN)),
    pa.field("source", pa.string()),
    pa.field("file", pa.int32()),
    pa.field("row", pa.int64()),
    pa.field("start", pa.int64()),
    pa.field("end", pa.int64()),
]
SCHEMA = pa.schema(_FIELDS)
"""``file`` counts the inputs from 0; ``row`` is the physical line (JSONL, CSV: of the record's
start) or the place in the array or table, counted from 1; [start, end) are the bytes of the row in
its (decompressed) file, -1 where rows have no bytes of their own."""

BARE_SCHEMA = SCHEMA.set(1, pa.field("length", pa.int64()))
"""Examples without their texts: ``length`` is what ``Examples.lengths`` gives."""

_EXCLUDED_FIELDS: list[pa.Field[Any]] = [
    pa.field("file", pa.int32()),
    pa.field("row", pa.int64()),
    pa.field("field", pa.string()),
    pa.field("reason", pa.string()),
    pa.field("found", pa.string()),
]
EXCLUDED_SCHEMA = pa.schema(_EXCLUDED_FIELDS)
"""``reason`` is one of a few fixed names ("empty completion"); ``found`` a printable preview."""


@dataclass(frozen=True)
class InputFile:
    """One input as it was when it was read."""

    path: str
    """As given by the user; a hub name for a hub dataset."""
    kind: str
    """jsonl, json, csv, parquet, saved-dataset, dataset, or rows that are Python objects."""
    compression: str | None
    """gz, zst or None."""
    size: int
    """Bytes on disk; 0 for a dataset in memory."""
    sha256: str
    """Digest of the bytes on disk, or of all that is in the rows in memory."""


class Split(NamedTuple):
    """The part of a data set that was read, of the parts that it has."""

    name: str
    among: tuple[str, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Examples:
    """n examples, the inputs they came from, and every row that was left out.

    Always true: ids are unique, every example has an assistant turn that is learned, no assistant
    turn is empty, and ``n_read == len(table) + len(excluded)``.
    """

    table: pa.Table
    """Of ``SCHEMA``, or of ``BARE_SCHEMA`` where texts were not wanted."""
    excluded: pa.Table
    inputs: tuple[InputFile, ...]
    format: str
    """alpaca, instruction-response, prompt-completion, messages or sharegpt."""
    columns: Mapping[str, str]
    """Which column plays which part."""
    dataset: Dataset | None = None
    """The Hugging Face dataset the rows came from, when they came from one."""
    objects: Sequence[dict[str, Any]] | None = None
    """The Python objects the rows are, when they came as such."""
    split: Split | None = None
    """Which split was read; None where the data has none."""

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __repr__(self) -> str:
        names = [entry.path for entry in self.inputs]
        of = names[0] if len(names) == 1 else f"{len(names)} inputs"
        return f"<Examples: {len(self):,} of {self.n_read:,} rows of {of}, {self.format}>"

    @property
    def n_read(self) -> int:
        """Rows read: used and excluded."""
        return len(self) + int(self.excluded.num_rows)

    @cached_property
    def ids(self) -> np.ndarray:
        """Ids as fixed-width bytes, dtype S32, shape (n,)."""
        parts = []
        for chunk in self.table["id"].chunks:
            fixed: Any = chunk.cast(pa.binary()).cast(pa.binary(32))
            found = np.frombuffer(fixed.buffers()[1], "S32")
            parts.append(found[fixed.offset : fixed.offset + len(fixed)])
        return np.concatenate([np.empty(0, "S32"), *parts])

    def without(
        self, reasons: Mapping[int, str], found: Mapping[int, str] | None = None
    ) -> Examples:
        """Move rows, given by number with the reason of each, to ``excluded``.

        ``found`` says what was found in them.
        """
        if not reasons:
            return self
        rows = sorted(reasons)
        keep = np.ones(len(self), dtype=bool)
        keep[rows] = False
        gone = self.table.take(rows)
        columns: dict[str, Any] = {
            "file": gone["file"],
            "row": gone["row"],
            "field": pa.nulls(len(rows), pa.string()),
            "reason": [reasons[row] for row in rows],
            "found": pa.array([(found or {}).get(row) for row in rows], pa.string()),
        }
        excluded = pa.table(columns, schema=EXCLUDED_SCHEMA)
        return replace(
            self,
            table=self.table.filter(pa.array(keep)),
            excluded=pa.concat_tables([self.excluded, excluded]),
        )

    def sources(self) -> list[str | None]:
        """Give the source of every example; None where it has none."""
        found: list[str | None] = []
        for chunk in self.table["source"].chunks:  # a name of many rows is held once
            coded: Any = chunk.dictionary_encode("encode")
            names = coded.dictionary.to_pylist()
            found += map(names.__getitem__, coded.indices.to_pylist())
        return found

    def lengths(self) -> np.ndarray:
        """Count the characters of every completion, all learned turns together: int64 (n,)."""
        import pyarrow.compute as pc

        if "length" in self.table.column_names:
            return self.table["length"].to_numpy()
        parts = []
        chunk: Any
        for chunk in self.table["messages"].chunks:
            turns: Any = chunk.flatten()
            answers = pc.equal(turns.field("role"), pa.scalar("assistant"))
            learned = pc.and_(answers, turns.field("learned"))
            counts: Any = pc.add(
                pc.utf8_length(turns.field("content")), pc.utf8_length(turns.field("reasoning"))
            )
            characters = np.asarray(pc.if_else(learned, counts, 0), dtype=np.int64)
            ends = np.cumsum(pc.list_value_length(chunk).to_numpy())
            total = np.concatenate([[0], np.cumsum(characters)])
            parts.append(np.diff(total[ends], prepend=0))
        return np.concatenate([np.empty(0, dtype=np.int64), *parts])

    def conversations(self) -> Iterator[list[Message]]:
        """Yield the turns of every example."""
        for batch in self.table.select(["messages"]).to_batches(max_chunksize=4096):
            conversations: list[Any] = batch.column(0).to_pylist()
            for messages in conversations:
                yield [Message(**turn) for turn in messages]
