"""All conversations of a data set as text, and what their template leaves out, counted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, Literal

from smalltolarge.errors import DataError, RefusedForSafety, printable
from smalltolarge.examples.table import Examples
from smalltolarge.lm.rendering import Dropped, Piece, Render, Rendering

CHUNK = 1024
Chunk = list[list[Piece] | None]


class Rendered:
    """The pieces of every example, a chunk at a time; None for one that is left out.

    ``on_loss`` says what becomes of an example of whose answers something is lost.
    """

    def __init__(
        self, examples: Examples, render: Render, on_loss: Literal["stop", "exclude", "keep"]
    ) -> None:
        self.examples, self.render, self.on_loss = examples, render, on_loss
        self._counted: dict[str, tuple[int, int]] = {}

    @property
    def dropped(self) -> list[tuple[str, int, int]]:
        """(what, in how many examples, row number of the first) of what is not learned."""
        return [(what, rows, first) for what, (rows, first) in self._counted.items()]

    def __iter__(self) -> Iterator[Chunk]:
        """Render all conversations.

        Raises
        ------
        DataError
            The template does not take one, or something of its answers is lost. Names the row.
        RefusedForSafety
            The template does not finish one.
        """
        conversations = iter(self.examples.conversations())
        row = 0
        while given := list(islice(conversations, CHUNK)):
            chunk: Chunk = []
            try:
                for found in self.render(given):
                    chunk.append(self._pieces(found, row + len(chunk)))
            except (DataError, RefusedForSafety) as error:
                at = place(self.examples, row + len(chunk))
                raise type(error)(f"{at}: {error}") from error
            row += len(chunk)
            yield chunk

    def _pieces(self, found: Rendering, row: int) -> list[Piece] | None:
        if found.loss and self.on_loss == "stop":
            raise DataError(_refusal(found.loss))
        for what in dict.fromkeys(map(_words, found.dropped)):
            rows, first = self._counted.get(what, (0, row))
            self._counted[what] = rows + 1, first
        return None if found.loss and self.on_loss == "exclude" else found.pieces


def ahead(
    chunks: Iterable[Chunk], encode: Callable[[list[str]], list[Any]]
) -> Iterator[tuple[Chunk, Iterator[Any]]]:
    """Tokenise each chunk, on all cores, while the one before it is being used."""
    with ThreadPoolExecutor(1) as pool:
        waiting: deque[tuple[Chunk, Future[list[Any]]]] = deque()
        for chunk in chunks:
            texts = [piece.text for pieces in chunk for piece in pieces or ()]
            waiting.append((chunk, pool.submit(encode, texts)))
            if len(waiting) == 2:
                earlier, found = waiting.popleft()
                yield earlier, iter(found.result())
        for last, found in waiting:
            yield last, iter(found.result())


def place(examples: Examples, row: int) -> str:
    """Say where an example came from: file, row and id."""
    entry = examples.table.slice(row, 1).to_pylist()[0]
    file = entry["file"]
    path = examples.inputs[file].path if file is not None and file < len(examples.inputs) else "?"
    return f"{printable(path, 200)}, row {entry['row']}, id {printable(entry['id'])}"


def _words(dropped: Dropped) -> str:
    if dropped.part == "reasoning":
        return f"reasoning {dropped.how}"
    name = "answers" if dropped.role == "assistant" else f"{dropped.role} turns"
    return f"{name} {dropped.how}"


def _refusal(loss: Dropped) -> str:
    what = "changes" if loss.how == "changed" else "leaves out"
    part = "this answer, or part of it" if loss.part == "content" else "all there is of this answer"
    return (
        f"turn {loss.turn + 1}: the chat template {what} {part}, so it cannot be learned as it "
        "stands in the row. Give --on-template-loss exclude to go on without such rows, "
        "--on-template-loss keep to learn what the template writes, or --template alpaca."
    )
