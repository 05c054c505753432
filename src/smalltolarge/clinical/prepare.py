"""MIMIC-III's radiology reports as fine-tuning data: findings in, impression out."""

from __future__ import annotations

import hashlib
import json
import random
import tempfile
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, get_args

from smalltolarge import store
from smalltolarge.clinical.groups import GROUPS, Rules, Tables
from smalltolarge.clinical.notes import Note, NoteFile
from smalltolarge.clinical.reports import Pair, pair
from smalltolarge.errors import (
    DataError,
    Interrupted,
    MissingArtifact,
    RecipeError,
    StaleArtifact,
    printable,
)
from smalltolarge.progress import Progress

Split = Literal["patients", "reports"]
PARTS = ("train", "validate", "test")
COUNTS = "counts.json"
ELSEWHERE = "its patient is in train or validate"
"""Why a report of a group that is for tests only is left out."""

_NAMES = tuple(GROUPS)
_TEST = PARTS.index("test")
_LEFT_OUT = len(PARTS)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What became of every row of the file."""

    folder: Path
    rows: int
    notes: Counter[str]
    """Reports by group, before any was left out for its text."""
    pairs: Counter[tuple[str, str]]
    """Rows written, by group and part."""
    left_out: Counter[str]
    """Rows not written, by reason."""
    rules: str

    @property
    def written(self) -> int:
        """Rows written in all; with those left out, all rows of the file."""
        return sum(self.pairs.values())

    def summary(self) -> Iterator[str]:
        """Say what became of every row, with the published counts beside ours in brackets."""
        yield f"{'group':<18}{'reports':>17}{'pairs':>17}{'train':>17}{'validate':>15}{'test':>15}"
        totals = [[0, 0] for _ in range(5)]
        for group, told in GROUPS.items():
            parts = [self.pairs[group, part] for part in PARTS]
            ours = [self.notes[group], sum(parts), *parts]
            theirs = [told.notes, told.pairs, told.train, told.validate, told.test]
            for total, mine, their in zip(totals, ours, theirs, strict=True):
                total[0] += mine
                total[1] += their
            yield _line(group, list(zip(ours, theirs, strict=True)))
        yield _line("all", [(ours, theirs) for ours, theirs in totals])
        yield f"In brackets: published, MIMIC-III v1.4. Examinations and headers: {self.rules}."
        yield ""
        yield f"{self.rows:>12,} rows read"
        for reason, count in sorted(self.left_out.items(), key=lambda item: (-item[1], item[0])):
            yield f"{count:>12,} left out: {reason}"
        for part in PARTS:
            count = sum(n for (_, where), n in self.pairs.items() if where == part)
            yield f"{count:>12,} written: {printable(self.folder / part, 200)}.jsonl"


def prepare_mimic(
    file: Path,
    folder: Path,
    *,
    split: Split = "patients",
    seed: int = 42,
    tables: Path | None = None,
    keep_duplicates: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
    check: Callable[[], None] = lambda: None,
) -> Prepared:
    """Do what ``prepare`` does for mimic, and raise as it does.

    The files appear when all of ``file`` is read; until then nothing in ``folder`` changes.
    """
    if split not in get_args(Split):
        raise RecipeError(f"split: {printable(split)}; allowed: {', '.join(get_args(Split))}")
    if not file.is_file():
        raise MissingArtifact(
            f"{printable(file, 200)}: no such file. Name the file NOTEEVENTS.csv or "
            "NOTEEVENTS.csv.gz of MIMIC-III."
        )
    rules = Rules() if tables is None else Tables.read(tables)
    settings = {
        "split": split,
        "seed": seed,
        "keep_duplicates": keep_duplicates,
        "tables_sha256": None if tables is None else store.digest(tables),
    }
    with ExitStack() as stack:
        places = {}
        for name in (COUNTS, *(f"{part}.jsonl" for part in PARTS)):
            with store.naming_space(folder / name, at_start=True):
                places[name] = stack.enter_context(store.holding(folder / name))
        _check_free(file, folder, settings, overwrite=overwrite)
        try:
            prepared = _prepare(file, folder, places, settings, rules, progress, check)
        except Interrupted as error:
            raise Interrupted(
                "stopped; nothing was written. Give the same command again to start over."
            ) from error
        for place in places.values():  # the counts first: they name the others
            place.put(overwrite=overwrite)
    return prepared


def _prepare(
    file: Path,
    folder: Path,
    places: Mapping[str, store.Place],
    settings: Mapping[str, Any],
    rules: Rules,
    progress: Progress | None,
    check: Callable[[], None],
) -> Prepared:
    """Make all files, which are not yet in their places."""
    work = _Reading(rules, settings["keep_duplicates"])
    shown = Progress() if progress is None else progress
    # The spool has no name: whatever happens to the process, the notes in it are gone.
    with (
        store.naming_space(folder / "train.jsonl"),
        tempfile.TemporaryFile(dir=folder) as spool,
        shown.step("read", total=file.stat().st_size, unit="bytes") as step,
    ):

        def advance(amount: int) -> None:
            check()
            step.advance(amount, f"{len(work.groups):,} pairs")

        source = NoteFile(file, advance)
        for line in work.lines(source.notes()):
            spool.write(line)
        _check_found(work, file)
        seed, by_patient = settings["seed"], settings["split"] == "patients"
        parts = _by_patient(work, seed) if by_patient else _by_report(work, seed)
        pairs = _write(spool, work.groups, parts, places, check)
    elsewhere = sum(part == _LEFT_OUT for part in parts)
    left_out = work.left_out + Counter({ELSEWHERE: elsewhere})  # without what is 0
    prepared = Prepared(folder, work.rows, work.notes, pairs, left_out, rules.name)
    _write_counts(prepared, settings, source.stream.sha256, places)
    return prepared


class _Reading:
    """One pass over the notes: what is kept of each is its group and its patient's number."""

    def __init__(self, rules: Rules, keep_duplicates: bool) -> None:
        self.rules, self.keep_duplicates = rules, keep_duplicates
        self.rows = 0
        self.notes: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self.groups = array("B")
        self.patients = array("q")
        self._seen: set[bytes] = set()

    def lines(self, notes: Iterator[Note]) -> Iterator[bytes]:
        """Yield the pairs, each as a line of JSON."""
        for note in notes:
            self.rows += 1
            found = self._read(note)
            if isinstance(found, str):
                self.left_out[found] += 1
                continue
            group, made = found
            self.groups.append(_NAMES.index(group))
            self.patients.append(note.subject_id)
            row = {
                "findings": made.findings,
                "impression": made.impression,
                "source": group,
                "row_id": note.row_id,
            }
            yield json.dumps(row, ensure_ascii=False).encode() + b"\n"

    def _read(self, note: Note) -> tuple[str, Pair] | str:
        if note.category != "Radiology":
            return "not radiology"
        group = self.rules.group(note.description)
        if group is None:
            return "other examination"
        self.notes[group] += 1
        if note.is_error:
            return "marked as an error"
        if not note.is_text:
            return "not text"
        made = pair(note.text, group, self.rules)
        if isinstance(made, str):
            return made
        if not self.keep_duplicates:
            content = f"{made.findings}\0{made.impression}".encode()
            key = hashlib.blake2b(content, digest_size=16).digest()
            if key in self._seen:
                return "duplicate"
            self._seen.add(key)
        return group, made


def _by_patient(work: _Reading, seed: int) -> array[int]:
    """Give the part of every pair, by a keyed hash of its patient."""
    key = hashlib.blake2b(str(seed).encode()).digest()
    parts = array("B")
    for group, patient in zip(work.groups, work.patients, strict=True):
        hashed = hashlib.blake2b(str(patient).encode(), key=key, digest_size=8).digest()
        tenth = int.from_bytes(hashed, "big") * 10 >> 64
        part = sum(tenth >= bound for bound in (8, 9))
        if GROUPS[_NAMES[group]].held_out and part != _TEST:
            part = _LEFT_OUT
        parts.append(part)
    return parts


def _by_report(work: _Reading, seed: int) -> array[int]:
    """Give the part of every pair as published: group by group, shuffled and cut."""
    parts = array("B", bytes([_TEST])) * len(work.groups)
    draw = random.Random(seed)
    for number, published in enumerate(GROUPS.values()):
        if published.held_out:
            continue
        places = array("q", (row for row, group in enumerate(work.groups) if group == number))
        draw.shuffle(places)
        train, validate = cuts(len(places))
        for place, row in enumerate(places[: train + validate]):
            parts[row] = int(place >= train)
    return parts


def cuts(n: int) -> tuple[int, int]:
    """Say how many of n reports are for training and for validation, as published."""
    return n * 8 // 10, n // 10


def _check_free(file: Path, folder: Path, settings: Mapping[str, Any], *, overwrite: bool) -> None:
    """Refuse to write over the input, or, unless ``overwrite``, over what such a command did not
    write: its counts are written first, and name its files.
    """
    names = [f"{part}.jsonl" for part in PARTS]
    ours = _counted(folder / COUNTS, settings)
    for name in (*names, COUNTS):
        path = folder / name
        if path.exists() and path.samefile(file):
            raise RecipeError(f"{printable(path, 200)} is the input; choose another --out")
        known = name == COUNTS and ours
        if path.exists() and not overwrite and not known and store.digest(path) != ours.get(name):
            raise StaleArtifact(
                f"{printable(path, 200)}: there already. Choose another folder, or pass "
                "--overwrite."
            )


def _counted(counts: Path, settings: Mapping[str, Any]) -> dict[str, str]:
    """Give the digests of the files that counts of the same settings name; else none."""
    try:
        content = json.loads(counts.read_bytes())
        return dict(content["files"]) if content["settings"] == settings else {}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def _check_found(work: _Reading, file: Path) -> None:
    if not work.groups:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in work.left_out.items())
        raise DataError(
            f"{printable(file, 200)}: none of its {work.rows:,} rows gives a pair"
            f"{f' ({reasons})' if reasons else ''}. Nothing was written. Is this all of NOTEEVENTS?"
        )


def _write(
    spool: IO[bytes],
    groups: array[int],
    parts: array[int],
    places: Mapping[str, store.Place],
    check: Callable[[], None],
) -> Counter[tuple[str, str]]:
    """Sort the lines into their files."""
    pairs: Counter[tuple[str, str]] = Counter()
    with ExitStack() as stack:
        files = [stack.enter_context(places[f"{part}.jsonl"].made.open("wb")) for part in PARTS]
        spool.seek(0)
        for line, group, part in zip(spool, groups, parts, strict=True):
            if part != _LEFT_OUT:
                files[part].write(line)
                pairs[_NAMES[group], PARTS[part]] += 1
        check()
    return pairs


def _write_counts(
    prepared: Prepared,
    settings: Mapping[str, Any],
    sha256: str,
    places: Mapping[str, store.Place],
) -> None:
    content = {
        "schema": 1,
        "input_sha256": sha256,
        "settings": settings,
        "rows": prepared.rows,
        "written": prepared.written,
        "left_out": dict(prepared.left_out),
        "groups": {
            group: {"notes": prepared.notes[group]}
            | {part: prepared.pairs[group, part] for part in PARTS}
            for group in GROUPS
        },
        "files": {f"{part}.jsonl": store.digest(places[f"{part}.jsonl"].made) for part in PARTS},
    }
    store.write_json(places[COUNTS].made, content)


def _line(name: str, counts: list[tuple[int, int]]) -> str:
    widths = (17, 17, 17, 15, 15)
    cells = [
        f"{ours:,} ({theirs:,})".rjust(width)
        for (ours, theirs), width in zip(counts, widths, strict=True)
    ]
    return f"{name:<18}{''.join(cells)}"
