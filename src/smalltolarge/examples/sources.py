"""From what a person names to a list of inputs that can be read."""

from __future__ import annotations

import glob
import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smalltolarge import store
from smalltolarge.errors import DataError, printable
from smalltolarge.examples.arrow_rows import dataset_rows, open_parquet, parquet_rows
from smalltolarge.examples.csv_rows import CsvRows
from smalltolarge.examples.json_rows import Row, array_rows, jsonl_rows
from smalltolarge.examples.layout import Shapes
from smalltolarge.examples.sniff import ACCEPTED, KIND_OF_SUFFIX, PACKED, kind_of, suffix_of
from smalltolarge.examples.stream import ByteStream
from smalltolarge.examples.table import InputFile
from smalltolarge.settings import ReadingSettings

if TYPE_CHECKING:
    from datasets import Dataset

log = logging.getLogger("smalltolarge")

_HUB = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?(:[\w.-]+)?")
_FILE_LIKE = {*KIND_OF_SUFFIX, *PACKED, ".txt", ".arrow", ".zip", ".xlsx", ".xls", ".md", ".html",
              ".yaml", ".yml", ".tar", ".bz2", ".xz"}  # fmt: skip
_SAVED = ("state.json", "dataset_dict.json")


@dataclass
class Input:
    """One input before and while it is read; ``record`` is what is kept of it afterwards."""

    name: str
    kind: str
    path: Path | None = None
    compression: str | None = None
    dataset: Dataset | None = None
    record: InputFile | None = None
    header: tuple[str, list[str]] | None = None
    """Delimiter and column names of a CSV file."""
    schema: Any = None
    """Arrow schema of a Parquet file."""

    def size(self) -> int:
        """Give what there is to read: bytes, or rows of a dataset."""
        if self.dataset is not None:
            return int(self.dataset.num_rows)
        return self.path.stat().st_size if self.path else 0

    def rows(
        self,
        settings: ReadingSettings,
        shapes: Shapes,
        advance: Callable[[int], None],
        repaired: list[int] | None,
    ) -> Iterator[Row]:
        """Yield the rows; ``record`` is set when the last one is out."""
        if self.dataset is not None:
            columns = shapes.note(self.dataset.column_names)
            yield from dataset_rows(self.dataset, self.name, columns, advance)
            self.record = self._dataset_record()
            return
        assert self.path is not None
        if self.kind == "parquet":
            yield from self._parquet(self.path, shapes, advance)
            return
        stream = ByteStream(self.path, self.name, self.compression, advance)
        if self.kind == "jsonl":
            yield from jsonl_rows(stream, settings.max_line_bytes, repaired)
        elif self.kind == "json":
            yield from array_rows(stream, settings.max_line_bytes, repaired)
        else:
            records = CsvRows(stream, settings.max_line_bytes, repaired)
            for row in records.rows():
                self.header = (records.delimiter, records.header)
                yield row
            shapes.note(records.header)
            self.header = (records.delimiter, records.header)
        self.record = InputFile(self.name, self.kind, self.compression, stream.size, stream.sha256)

    def _parquet(self, path: Path, shapes: Shapes, advance: Callable[[int], None]) -> Iterator[Row]:
        size, sha256 = path.stat().st_size, store.digest(path)
        file = open_parquet(path, self.name)
        self.schema = file.schema_arrow
        share = size / max(file.metadata.num_rows, 1)
        columns = shapes.note(file.schema_arrow.names)
        with file:
            yield from parquet_rows(file, self.name, columns, lambda n: advance(int(n * share)))
        self.record = InputFile(self.name, self.kind, None, size, sha256)

    def _dataset_record(self) -> InputFile:
        if self.path is not None:
            size, sha256 = folder_digest(self.path)
            return InputFile(self.name, "saved-dataset", None, size, sha256)
        fingerprint = str(getattr(self.dataset, "_fingerprint", ""))
        digest = hashlib.sha256(fingerprint.encode()).hexdigest()
        return InputFile(self.name, "dataset", None, 0, digest)


def folder_digest(folder: Path) -> tuple[int, str]:
    """Give the size and SHA-256 of a folder."""
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return size, store.digest(folder)


def resolve(source: object, settings: ReadingSettings) -> list[Input]:
    """Find the inputs that ``source`` names; all are of one kind.

    Raises
    ------
    DataError
        Nothing is there, it is not readable data, or the kinds differ.
    """
    if isinstance(source, str | Path):
        found = _named(source, settings)
    elif isinstance(source, list | tuple):
        found = [one for item in source for one in _named_in_list(item)]
        if not found:
            raise DataError("the list of files is empty")
    else:
        found = [_in_memory(source, settings)]
    first = found[0]
    for other in found[1:]:
        if other.kind != first.kind:
            raise DataError(
                f"files of several kinds cannot be read together: {printable(first.name, 200)} is "
                f"{first.kind}, {printable(other.name, 200)} is {other.kind}. Give files of one "
                "kind."
            )
    return found


def _named_in_list(item: object) -> list[Input]:
    if not isinstance(item, str | Path):
        rows = isinstance(item, dict)
        todo = " Rows in memory go in as datasets.Dataset.from_list(rows)." if rows else ""
        raise DataError(f"a list of paths is needed; it holds a {type(item).__name__}.{todo}")
    path = Path(item)
    return [_file(path, str(item))]


def _named(source: str | Path, settings: ReadingSettings) -> list[Input]:
    name, path = str(source), Path(source).expanduser()
    if not name or "\0" in name:
        raise DataError(f"{printable(name)!r} is no file name.")
    try:
        there, folder = path.exists(), path.is_dir()
    except OSError as error:
        raise DataError(f"{printable(name, 200)} cannot be read: {error.strerror}.") from error
    if folder:
        return _folder(path, name, settings)
    if there:
        return [_file(path, name)]
    if glob.has_magic(name):
        matched = sorted(p for p in glob.glob(str(path), recursive=True) if Path(p).is_file())
        if not matched:
            raise DataError(f"{printable(name, 200)}: no file matches this pattern.")
        return [_file(Path(match), match) for match in matched]
    suffix = Path(name.partition(":")[0]).suffix.lower()
    in_folder = "/" in name and Path(name).parent.is_dir()
    hub_like = isinstance(source, str) and _HUB.fullmatch(name) and suffix not in _FILE_LIKE
    if hub_like and not in_folder:
        return [_hub(name, settings)]
    raise DataError(f"{printable(name, 200)}: no such file. Check the spelling and the folder.")


def _file(path: Path, name: str) -> Input:
    kind, compression = kind_of(path, name)
    return Input(name, kind, path, compression)


def _folder(path: Path, name: str, settings: ReadingSettings) -> list[Input]:
    if any((path / mark).is_file() for mark in _SAVED):
        return [_saved(path, name, settings)]
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        raise DataError(f"{printable(name, 200)} cannot be read: {error.strerror}.") from error
    files = [entry for entry in entries if entry.is_file() and _is_named_as_data(entry)]
    if not files:
        shown = ", ".join(printable(entry.name, 40) for entry in entries[:8]) or "nothing"
        raise DataError(
            f"{printable(name, 200)}: no data file in this folder (it holds {shown}). "
            f"Accepted: {ACCEPTED}."
        )
    ignored = [entry.name for entry in entries if entry not in files]
    if ignored:
        log.info(
            "%s: %d data files are read, %d other entries are not (%s)",
            printable(name, 200), len(files), len(ignored),
            ", ".join(printable(entry, 40) for entry in ignored[:5]),
        )  # fmt: skip
    return [_file(file, str(file)) for file in files]


def _is_named_as_data(path: Path) -> bool:
    return path.name[0] not in "._" and suffix_of(path)[0] in KIND_OF_SUFFIX


def _saved(path: Path, name: str, settings: ReadingSettings) -> Input:
    from datasets import load_from_disk

    said = printable(name, 200)
    folder = path
    if (path / "dataset_dict.json").is_file():
        try:
            splits = json.loads((path / "dataset_dict.json").read_bytes())["splits"]
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise DataError(f"{said}: its dataset_dict.json cannot be read ({error}).") from error
        if settings.split not in splits:
            raise DataError(
                f"{said} has no split {printable(settings.split)}; it has "
                f"{', '.join(printable(str(split)) for split in splits)}. Choose with --split."
            )
        folder = path / settings.split
        if not folder.resolve().is_relative_to(path.resolve()):
            raise DataError(f"{said}: the split {printable(settings.split)} lies outside it.")
    try:
        dataset = load_from_disk(str(folder))
    except Exception as error:
        raise DataError(
            f"{said} looks like a folder of save_to_disk but cannot be read "
            f"({printable(f'{type(error).__name__}: {error}', 200)}). Save it again."
        ) from error
    return Input(name, "saved-dataset", path, dataset=dataset)


def _hub(name: str, settings: ReadingSettings) -> Input:
    from datasets import load_dataset

    owner, _, config = name.partition(":")
    try:
        dataset = load_dataset(owner, config or None, split=settings.split)
    except Exception as error:
        raise DataError(
            f"{printable(name)}: there is no such file or folder here, and no data set of this "
            f"name, split {printable(settings.split)}, could be loaded from the Hugging Face hub "
            f"({printable(f'{type(error).__name__}: {error}', 300)})."
        ) from error
    return Input(name, "dataset", dataset=dataset)


def _in_memory(source: object, settings: ReadingSettings) -> Input:
    from datasets import Dataset, DatasetDict

    if isinstance(source, DatasetDict):
        if settings.split not in source:
            raise DataError(
                f"the DatasetDict has no split {printable(settings.split)}; it has "
                f"{', '.join(printable(str(split)) for split in source)}."
            )
        source = source[settings.split]
    if not isinstance(source, Dataset):
        raise DataError(
            f"examples cannot be read from a {type(source).__name__}. Give a path, a list of "
            "paths, a hub name or a datasets.Dataset."
        )
    return Input("dataset in memory", "dataset", dataset=source)


def would_read(given: Sequence[str], out: Path) -> bool:
    """Tell whether ``load(given)`` would read ``out`` too, once it is written there.

    It would where ``out`` is to lie in a folder that is read, or fits a pattern.
    """
    place = out.parent.resolve() / out.name
    return any(_takes_in(name, place) for name in given if "\0" not in name)


def _takes_in(name: str, out: Path) -> bool:
    path = Path(name).expanduser()
    if path.is_dir():
        folder = path.resolve()
        if any((folder / mark).is_file() for mark in _SAVED):
            return out.is_relative_to(folder)
        return out.parent == folder and _is_named_as_data(out)
    if path.exists() or not glob.has_magic(name):
        return False
    parts = path.parts
    fixed = next(place for place, part in enumerate(parts) if glob.has_magic(part))
    folder = Path(*parts[:fixed]).resolve()
    return out.is_relative_to(folder) and _fits(out.relative_to(folder).parts, parts[fixed:])


def _fits(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Tell what ``glob.glob`` would, for a file that need not be there yet."""
    if not pattern:
        return not parts
    if pattern[0] == "**" and _fits(parts, pattern[1:]):
        return True
    if not parts or (parts[0].startswith(".") and not pattern[0].startswith(".")):
        return False
    if pattern[0] == "**":
        return _fits(parts[1:], pattern)
    return fnmatchcase(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:])


def input_names(inputs: Sequence[Input]) -> str:
    """Say which data is meant: one name, or the first and how many more."""
    first = printable(inputs[0].name, 200)
    return first if len(inputs) == 1 else f"{first} and {len(inputs) - 1} more"
