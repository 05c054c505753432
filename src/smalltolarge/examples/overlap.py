"""Which examples ask what an evaluation file asks.

A prompt overlaps with a question of a file where, after normalisation, it is the question, or
shares a run of 13 words with it, the longest run of GPT-3's contamination study (Brown et al. 2020,
appendix C). One run is enough, however long the prompt: a training row too few costs next to
nothing, a test question in the training data costs the claim. Runs that more than 10 questions of
one file share are how its questions are put, not what one of them asks, and do not count. Such a
limit is usually one on training documents; counting questions keeps the answer on one row
independent of all other rows (ours).

A prompt is the user turns: the first alone is compared as a whole, runs are looked for in each.

Words are runs of letters, marks and digits after Unicode NFKC and case folding; a point or a colon
between two digits belongs to the word. Signs of arithmetic are words, so that 2 + 3 is not 2 * 3;
white space, other punctuation and signs of currency only separate.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from smalltolarge.errors import DataError, MissingArtifact, printable
from smalltolarge.examples.conversation import role_of
from smalltolarge.examples.inputs import expanded
from smalltolarge.examples.layout import CONVERSATIONS, INPUTS, Shapes
from smalltolarge.examples.nested import text_or_turns
from smalltolarge.examples.problems import Flaw, place
from smalltolarge.examples.sources import resolve
from smalltolarge.examples.table import Examples, Message
from smalltolarge.settings import ReadingSettings

REASON = "overlaps an evaluation file"
QUESTIONS = ("question", "problem", "query", "prompt", "instruction", "input", "findings")
"""Columns that hold a question, the first of them that is filled."""

Questions = list[tuple[str, list[str]]]
"""Where each question of a file stands, and its user turns."""

_MOST_QUESTIONS = 10
_BATCH_WORDS = 200_000
_LAST_CHARACTER = 0x110000


@dataclass(frozen=True, slots=True)
class Hit:
    """An example that overlaps with an evaluation file."""

    row: int
    """Of the examples, from 0."""
    source: int
    """Which of the sources of questions, from 0."""
    question: int
    """The first question of the source that it overlaps with."""
    start: int
    """Where what is shared begins among the words of all questions."""


def words_of(text: str) -> list[str]:
    """Give the words of a text as they are compared."""
    text = text.casefold().replace("_", " ")
    if text.isascii():
        return _ASCII.findall(text)
    pattern, ignored = _beyond_ascii()
    text = unicodedata.normalize("NFKC", ignored.sub("", text)).casefold()
    text = unicodedata.normalize("NFKC", text).replace("\u2212", "-").replace("_", " ")
    return pattern.findall(text)


def _pattern(marks: str, signs: str) -> re.Pattern[str]:
    """Give what a word is: of letters, digits and ``marks``, or one of ``signs``."""
    part = rf"[\w{marks}]+"
    return re.compile(rf"{part}(?:(?<=\d)[.:](?=\d){part})*|[{signs}]|-(?=\s*\d)|(?<!\*)\*(?!\*)")


_ASCII = _pattern("", r"/%+<=>\^|~")


@cache
def _beyond_ascii() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Give what a word is in any script, and the characters that nobody sees."""
    classes: dict[str, list[str]] = {"M": [], "S": list("/%"), "Cf": []}
    for code in range(_LAST_CHARACTER):
        character = chr(code)
        kind = unicodedata.category(character)
        if kind[0] == "M" or kind == "Cf":
            classes["M" if kind[0] == "M" else "Cf"].append(character)
        elif kind[0] == "S" and kind != "Sc" and character != "`":
            classes["S"].append(character)
    marks, signs, ignored = (re.escape("".join(found)) for found in classes.values())
    return _pattern(marks, signs), re.compile(f"[{ignored}]")


_Found = dict[tuple[int, int], tuple[int, int]]
"""By row and source: the first question, and where what is shared begins among all its words."""


@dataclass
class _Index:
    """Every different question of the files, and every run of n words in them."""

    places: list[tuple[int, str, int]] = field(default_factory=list)
    """Of every question: which source, file and line, and where it begins among all words."""
    whole: dict[str, dict[int, int]] = field(default_factory=dict)
    """The first question of every source that is these words."""
    hashes: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.uint64))
    """Of every run, increasing, once for each source: uint64 (r,)."""
    questions: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """The first question of the source with this run, int64 (r,)."""
    sources: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """The source of that question, int64 (r,)."""
    starts: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """Where every run begins among the words of all questions, int64 (r,)."""


class Overlap:
    """Questions, ready to be looked for in examples.

    ``sources`` are what is told apart in the hits; each has the questions of one or more files.
    ``check`` is called now and then; it may raise to stop.
    """

    def __init__(
        self,
        sources: Iterable[Iterable[Questions]],
        n_words: int = 13,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.n_words, self._check = n_words, check
        self._numbers: dict[str, int] = {}
        """A number from 1 for every word of a question."""
        self._index = _Index()
        self._mixing = np.random.default_rng(0).integers(
            1, 2**63, size=n_words, dtype=np.uint64
        ) * np.uint64(2) + np.uint64(1)
        numbers: list[int] = []
        parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for source, files in enumerate(sources):
            for questions in files:
                parts.append(self._add(source, questions, numbers))
                check()
        self._words = np.array(numbers, dtype=np.int64)
        self._names = ["", *self._numbers]
        if parts:
            hashes, owners, starts = (np.concatenate(column) for column in zip(*parts, strict=True))
            of = np.array([source for source, _, _ in self._index.places], dtype=np.int64)[owners]
            order, first = _firsts(owners, of, hashes)
            self._index.hashes, self._index.sources = hashes[order][first], of[order][first]
            self._index.questions, self._index.starts = owners[order][first], starts[order][first]

    def _add(
        self, source: int, questions: Questions, numbers: list[int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Take in the questions of one file; give hash, question and start of its runs."""
        index, first = self._index, len(numbers)
        known: set[str] = set()
        ends: list[int] = []
        before = len(index.places)
        for where, turns in questions:
            words = [words_of(turn) for turn in turns]
            text = "\n".join(" ".join(turn) for turn in words)
            if text in known or not any(words):
                continue
            known.add(text)
            if words[0]:
                same = index.whole.setdefault(" ".join(words[0]), {})
                same.setdefault(source, len(index.places))
            index.places.append((source, where, len(numbers)))
            for turn in words:
                for word in turn:
                    numbers.append(self._numbers.setdefault(word, len(self._numbers) + 1))
                numbers.append(0)
            ends.append(len(numbers))
        hashes, starts = self._runs(np.array(numbers[first:], dtype=np.int64))
        starts += first
        owners = before + np.searchsorted(np.array(ends), starts, side="right")
        # of a run that a question has twice, one
        _, once = np.unique(np.stack([hashes, owners.astype(np.uint64)]), axis=1, return_index=True)
        hashes, owners, starts = hashes[once], owners[once], starts[once]
        _, which, counts = np.unique(hashes, return_inverse=True, return_counts=True)
        telling = counts[which] <= _MOST_QUESTIONS
        return hashes[telling], owners[telling], starts[telling]

    def _runs(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Hash every run of n words without a 0: uint64 (r,), and where it begins, int64 (r,)."""
        n = self.n_words
        if len(numbers) < n:
            return np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64)
        zeros = np.concatenate([[0], np.cumsum(numbers == 0)])
        starts = np.flatnonzero(zeros[n:] == zeros[:-n])
        hashes = np.zeros(len(starts), dtype=np.uint64)
        unsigned = numbers.astype(np.uint64)
        for place_in_run, factor in enumerate(self._mixing):
            hashes += unsigned[starts + place_in_run] * factor
        return hashes, starts

    def find(
        self, examples: Examples, advance: Callable[[int], None] = lambda _: None
    ) -> list[Hit]:
        """Find the examples whose prompt overlaps, by row and source; one hit for each pair."""
        found: _Found = {}
        numbers: list[int] = []
        rows: list[int] = []
        ends: list[int] = []
        known = self._numbers.get
        for row, messages in enumerate(examples.conversations()):
            turns = _user_turns(messages)
            for place_of_turn, turn in enumerate(turns):
                words = words_of(turn)
                of_turn = [known(word, 0) for word in words]
                if place_of_turn == 0:
                    for source, question in self._index.whole.get(" ".join(words), {}).items():
                        start = self._index.places[question][2]
                        self._note(found, row, source, question, start)
                numbers += of_turn
                numbers.append(0)
                rows.append(row)
                ends.append(len(numbers))
            if len(numbers) > _BATCH_WORDS:
                self._find_runs(numbers, rows, ends, found)
                numbers, rows, ends = [], [], []
            if row % 4096 == 4095:
                self._check()
                advance(4096)
        self._find_runs(numbers, rows, ends, found)
        advance(len(examples) % 4096)
        return [Hit(row, source, *found[row, source]) for row, source in sorted(found)]

    def describe(self, hit: Hit) -> str:
        """Say what an example overlaps with: file, line and the words shared; printable."""
        shared = self._words[hit.start : hit.start + self.n_words].tolist()
        shared = shared[: shared.index(0)] if 0 in shared else shared
        words = printable(" ".join(self._names[number] for number in shared), 120)
        return f'{self._index.places[hit.question][1]}: "{words}"'

    def _find_runs(
        self,
        numbers: list[int],
        rows: list[int],
        ends: list[int],
        found: _Found,
    ) -> None:
        """Note the rows that share a run; a turn of row ``rows[i]`` ends before ``ends[i]``."""
        index, n = self._index, self.n_words
        flat = np.array(numbers, dtype=np.int64)
        hashes, starts = self._runs(flat)
        low = np.searchsorted(index.hashes, hashes)
        known = np.append(index.hashes, np.uint64(0))[low] == hashes
        low, starts = low[known], starts[known]
        times = np.searchsorted(index.hashes, hashes[known], side="right") - low
        starts = np.repeat(starts, times)
        entries = np.arange(len(starts)) + np.repeat(low - np.cumsum(times) + times, times)
        # a hash may lie; the words do not
        same = np.ones(len(starts), dtype=bool)
        for step in range(n):
            same &= flat[starts + step] == self._words[index.starts[entries] + step]
        starts, entries = starts[same], entries[same]
        owners = np.array(rows)[np.searchsorted(np.array(ends), starts, side="right")]
        sources, questions = index.sources[entries], index.questions[entries]
        order, first = _firsts(questions, sources, owners)
        columns = (owners, sources, questions, index.starts[entries])
        for hit in zip(*(column[order][first].tolist() for column in columns), strict=True):
            self._note(found, *hit)

    def _note(self, found: _Found, row: int, source: int, question: int, start: int) -> None:
        """Keep the first question of a source that a row overlaps with, and where."""
        if question < found.get((row, source), (question + 1,))[0]:
            found[row, source] = question, start


def _firsts(*columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort by the last column, then the one before, and so on; mark the first of every group.

    A group has the same values in all columns but the first.
    """
    order = np.lexsort(columns)
    first = np.ones(len(order), dtype=bool)
    groups = [column[order] for column in columns[1:]]
    first[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in groups])
    return order, first


def without_overlaps(
    examples: Examples,
    settings: ReadingSettings,
    check: Callable[[], None],
    advance: Callable[[int], None],
) -> tuple[Examples, list[int]]:
    """Leave out what overlaps with the files of ``settings``; count the rows of each file.

    Raises
    ------
    MissingArtifact
        There is no such file.
    DataError
        A file is not readable, a row of it has no question, or no example is left.
    """
    names = settings.exclude_overlap
    for name in names:
        if not expanded(name).exists():
            raise MissingArtifact(
                f"--exclude-overlap {printable(name, 200)}: no such file or folder. Check the "
                "spelling and the folder."
            )
    files = (read_questions(name, check) for name in names)
    overlap = Overlap(files, settings.overlap_words, check)
    found: dict[int, str] = {}
    counts = [0] * len(names)
    for hit in overlap.find(examples, advance):
        counts[hit.source] += 1
        if hit.row not in found:
            found[hit.row] = overlap.describe(hit)
    if found and len(found) == len(examples):
        raise DataError(
            f"all {len(found):,} rows overlap with the evaluation files of --exclude-overlap, the "
            f"first with {found[0]}\nGive files of test questions there, not the training data."
        )
    return examples.without(dict.fromkeys(found, REASON), found), counts


def _user_turns(messages: Sequence[Message]) -> list[str]:
    return [turn.content for turn in messages if turn.role == "user"]


def overlaps_by_name(
    examples: Examples,
    asked: Mapping[str, Iterable[Questions]],
    n_words: int,
    check: Callable[[], None],
    advance: Callable[[int], None] = lambda rows: None,
) -> dict[str, list[int]]:
    """Give the rows of the examples, from 0, that overlap with the questions of each name."""
    hits = Overlap(asked.values(), n_words, check).find(examples, advance)
    return {
        name: sorted({hit.row for hit in hits if hit.source == number})
        for number, name in enumerate(asked)
    }


def questions_of(examples: Examples) -> Iterator[Questions]:
    """Yield what examples ask."""
    columns: list[list[Any]] = [examples.table[name].to_pylist() for name in ("file", "row")]
    places = zip(*columns, strict=True)
    yield [
        (place(examples.inputs[file].path, examples.inputs[file].kind, row, -1), turns)
        for (file, row), messages in zip(places, examples.conversations(), strict=True)
        if (turns := _user_turns(messages))
    ]


def read_questions(
    name: str | Path, check: Callable[[], None] = lambda: None
) -> Iterator[Questions]:
    """Yield the questions of every file of ``name``: JSON, JSON Lines, CSV or Parquet.

    Raises
    ------
    DataError
        A file is not readable, or a row of it has no question.
    """
    settings = ReadingSettings(columns={"prompt": "problem"})  # read beside the usual columns
    for one in resolve(name, every_split=True):
        questions: Questions = []
        for line, _, _, row in one.rows(settings, Shapes(settings), lambda _: check(), None):
            where = place(one.name, one.kind, line, -1)
            if isinstance(row, Flaw):
                raise DataError(row.told(where))
            turns = _asked(row)
            if not turns:
                raise DataError(
                    f"{where}: no question to keep out; found {', '.join(map(printable, row))}; "
                    f"needed: a text in {', '.join(QUESTIONS)}, or a list of turns in messages"
                )
            questions.append((where, turns))
        yield questions


def _asked(row: dict[str, Any]) -> list[str]:
    """Give the user turns of a row; none where there is no question."""
    for column in QUESTIONS:
        value = text_or_turns(row.get(column), column)
        if isinstance(value, str) and value.strip():
            context = next((row[c] for c in INPUTS if isinstance(row.get(c), str) and row[c]), "")
            return [f"{value}\n\n{context}" if context and column not in INPUTS else value]
        if isinstance(value, list) and (turns := _turns(value)):
            return turns
    for column in CONVERSATIONS:
        value = text_or_turns(row.get(column), column)
        if isinstance(value, list) and (turns := _turns(value)):
            return turns
    return []


def _turns(messages: list[Any]) -> list[str]:
    found = []
    for turn in messages:
        if not isinstance(turn, dict):
            return []
        role, content = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
        if isinstance(content, list):
            parts = [part.get("text") for part in content if isinstance(part, dict)]
            content = "".join(part for part in parts if isinstance(part, str))
        if role_of(role) == "user" and isinstance(content, str) and content.strip():
            found.append(content)
    return found
