"""From what a person names or gives to a list of inputs that can be read."""

from __future__ import annotations

import glob
import json
import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias

from smalltolarge.errors import DataError, printable
from smalltolarge.examples.arrow_rows import plain_types
from smalltolarge.examples.inputs import Input, expanded
from smalltolarge.examples.sniff import ACCEPTED, KIND_OF_SUFFIX, PACKED, kind_of, suffix_of
from smalltolarge.examples.splits import DEFAULT, Splits, by_name, fits, splits_of
from smalltolarge.examples.stream import out_of_memory
from smalltolarge.examples.table import Split


class ArrowStream(Protocol):
    """A pyarrow table, a pandas or polars data frame, or anything else of columns."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object: ...


class DataSet(Protocol):
    """A data set of Hugging Face ``datasets``: of one split or of several, or one to iterate."""

    @property
    def column_names(self) -> Any:
        """Names of its columns."""


Source: TypeAlias = (
    str
    | PathLike[str]
    | Sequence[str | PathLike[str]]
    | Sequence[Mapping[Any, Any]]
    | ArrowStream
    | DataSet
)

log = logging.getLogger("smalltolarge")

_HUB = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?(:[\w.-]+)?")
_FILE_LIKE = {*KIND_OF_SUFFIX, *PACKED, ".txt", ".arrow", ".zip", ".xlsx", ".xls", ".md", ".html",
              ".yaml", ".yml", ".tar", ".bz2", ".xz"}  # fmt: skip
_SAVED = ("state.json", "dataset_dict.json")
_ABOUT = frozenset({*_SAVED, "config.json", "dataset_info.json", "dataset_infos.json"})
"""Files beside data that are no data."""


def resolve(source: object, split: str | None = None, *, every_split: bool = False) -> list[Input]:
    """Find the inputs that ``source`` names or is; all are of one kind.

    Parameters
    ----------
    split : the split to read where there are several, "train" when it is None
    every_split : read all of them instead

    Raises
    ------
    DataError
        Nothing is there, it is not readable data, the kinds differ, or a split is asked for that is
        not there.
    """
    ask = _Asked(split, every_split)
    if isinstance(source, str | Path):
        found = _named(source, ask)
    elif isinstance(source, list | tuple):
        found = _listed(source)
    else:
        found = _in_memory(source, ask)
    first = found[0]
    for other in found[1:]:
        if other.kind != first.kind:
            raise DataError(
                f"files of several kinds cannot be read together: {printable(first.name, 200)} is "
                f"{first.kind}, {printable(other.name, 200)} is {other.kind}. Give files of one "
                "kind."
            )
    if split is not None and first.split is None:
        raise DataError(
            f"{input_names(found)} has no splits, so there is none to choose with --split "
            f"{printable(split)}. Leave it out; it is for data sets, and for folders whose files "
            "are named by split."
        )
    return found


class _Asked(NamedTuple):
    """Which split is wanted."""

    split: str | None
    every: bool

    @property
    def name(self) -> str:
        return self.split or DEFAULT

    def of(self, splits: Iterable[str], said: str) -> list[tuple[str, Split | None]]:
        """Choose among the splits there are."""
        among = tuple(map(str, splits))
        if self.every:
            return [(name, None) for name in among]
        if self.name in among:
            return [(self.name, Split(self.name, among))]
        raise DataError(
            f"{said} has no split {printable(self.name)}; it has "
            f"{', '.join(map(printable, among)) or 'none'}. Choose with --split."
        )


def _listed(items: Sequence[object]) -> list[Input]:
    if not items:
        raise DataError("the list is empty: give the paths of files, or rows")
    rows = [item for item in items if isinstance(item, dict)]
    if len(rows) == len(items):
        return [Input("rows in memory", "rows", objects=rows)]
    files = []
    for item in items:
        if not isinstance(item, str | Path):
            raise DataError(
                "a list of paths is needed, or of rows that are all dicts; it holds a "
                f"{type(item).__name__}."
            )
        files.append(_file(Path(item), str(item)))
    _warn_of_splits([one.name for one in files])
    return files


def _warn_of_splits(files: list[str]) -> None:
    """Say so where files that were named one by one are of other splits beside."""
    base = os.path.commonpath([Path(file).absolute().parent for file in files])
    inside = {Path(file).absolute().relative_to(base).as_posix(): file for file in files}
    splits = by_name(inside)
    others = {
        split: [inside[file] for file in found]
        for split, found in splits.items()
        if split != DEFAULT and len(found) < len(inside)
    }
    if others:
        log.warning(
            "by their names some of these files are of splits that are not for training (%s), and "
            "all of them are read. Give the others alone to keep those rows out.",
            _with_files(others),
        )


def _with_files(splits: Splits) -> str:
    return "; ".join(
        f"{printable(split)}: {printable(found[0], 100)}"
        + (f" and {len(found) - 1:,} more" if len(found) > 1 else "")
        for split, found in splits.items()
    )


def _named(source: str | Path, ask: _Asked) -> list[Input]:
    name, path = str(source), expanded(source)
    if not name or "\0" in name:
        raise DataError(f"{printable(name)!r} is no file name.")
    try:
        there, folder = path.exists(), path.is_dir()
    except OSError as error:
        raise DataError(f"{printable(name, 200)} cannot be read: {error.strerror}.") from error
    if folder:
        return _folder(path, name, ask)
    if there:
        return [_file(path, name)]
    if glob.has_magic(name):
        matched = sorted(p for p in glob.glob(str(path), recursive=True) if Path(p).is_file())
        if not matched:
            raise DataError(f"{printable(name, 200)}: no file matches this pattern.")
        _warn_of_splits(matched)
        return [_file(Path(match), match) for match in matched]
    suffix = Path(name.partition(":")[0]).suffix.lower()
    in_folder = "/" in name and Path(name).parent.is_dir()
    hub_like = isinstance(source, str) and _HUB.fullmatch(name) and suffix not in _FILE_LIKE
    if hub_like and not in_folder:
        return _hub(name, ask)
    raise DataError(f"{printable(name, 200)}: no such file. Check the spelling and the folder.")


def _file(path: Path, name: str) -> Input:
    if not _is_utf8(name):
        raise DataError(f"{printable(name, 200)}: its name is not valid UTF-8. Rename it.")
    kind, compression = kind_of(path, name)
    return Input(name, kind, path, compression)


def _is_utf8(name: str) -> bool:
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def _folder(path: Path, name: str, ask: _Asked) -> list[Input]:
    if any((path / mark).is_file() for mark in _SAVED):
        return _saved(path, name, ask)
    said = printable(name, 200)
    try:
        entries = sorted(path.iterdir())
        files = _data_files(path)
    except OSError as error:
        raise DataError(f"{said} cannot be read: {error.strerror}.") from error
    splits = splits_of(path, files)
    direct = [file for file in files if "/" not in file]
    if not splits and not direct:
        shown = ", ".join(printable(entry.name, 40) for entry in entries[:8]) or "nothing"
        raise DataError(
            f"{said}: no data file in this folder (it holds {shown}). Accepted: {ACCEPTED}."
        )
    if not splits:
        ignored = [entry.name for entry in entries if entry.name not in direct]
        if ignored:
            log.info(
                "%s: %d data files are read, %d other entries are not (%s)",
                said, len(direct), len(ignored),
                ", ".join(printable(entry, 40) for entry in ignored[:5]),
            )  # fmt: skip
        return [_file(path / file, str(path / file)) for file in direct]
    taken = {file for found in splits.values() for file in found}
    loose = [file for file in direct if file not in taken]
    if loose:
        log.warning(
            "%s: its files are named by split; %s, by name of no split, %s not read",
            said, _few(loose), "is" if len(loose) == 1 else "are",
        )  # fmt: skip
    return [
        replace(_file(path / file, str(path / file)), split=split)
        for chosen, split in ask.of(splits, f"{said} ({_with_files(splits)})")
        for file in splits[chosen]
    ]


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(printable(name, 40) for name in names[:3]) + more


def _data_files(folder: Path) -> list[str]:
    """Name the data files of a folder and its sub-folders, from it, with slashes, sorted."""

    def stop(error: OSError) -> None:
        raise error

    found = []
    for place, inner, names in os.walk(folder, onerror=stop):
        inner[:] = [name for name in inner if not name.startswith((".", "__"))]
        found += [Path(place, name) for name in names if _is_named_as_data(name)]
    return sorted(path.relative_to(folder).as_posix() for path in found if path.is_file())


def _is_named_as_data(name: str) -> bool:
    return name[0] not in "._" and name not in _ABOUT and suffix_of(Path(name))[0] in KIND_OF_SUFFIX


def _saved(path: Path, name: str, ask: _Asked) -> list[Input]:
    said = printable(name, 200)
    if not (path / "dataset_dict.json").is_file():
        return [Input(name, "saved-dataset", path, dataset=_opened(path, said))]
    try:
        splits = json.loads((path / "dataset_dict.json").read_bytes())["splits"]
        chosen = ask.of(splits, said)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise DataError(f"{said}: its dataset_dict.json cannot be read ({error}).") from error
    found = []
    for wanted, split in chosen:
        folder = path / wanted
        if not folder.resolve().is_relative_to(path.resolve()):
            raise DataError(f"{said}: the split {printable(wanted)} lies outside it.")
        found.append(Input(name, "saved-dataset", path, dataset=_opened(folder, said), split=split))
    return found


def _opened(folder: Path, said: str) -> Any:
    from datasets import Dataset

    for entry in folder.rglob("*"):
        if not (entry.is_file() or entry.is_dir()):
            raise DataError(
                f"{said}: {printable(entry.name)} in it is neither a file nor a folder. Save it "
                "again."
            )
    try:
        files = json.loads((folder / "state.json").read_bytes())["_data_files"]
        outside = [one for one in files if Path(one["filename"]).name != one["filename"]]
        if outside:
            raise ValueError("its files lie outside it")
        return Dataset.load_from_disk(str(folder))
    except Exception as error:
        if out_of_memory(error):
            raise
        raise DataError(
            f"{said} looks like a folder of save_to_disk but cannot be read "
            f"({printable(f'{type(error).__name__}: {error}', 200)}). Save it again."
        ) from error


def _hub(name: str, ask: _Asked) -> list[Input]:
    from smalltolarge.examples.hub import load_dataset

    owner, _, config = name.partition(":")
    wanted = None if ask.every else ask.name
    try:
        found = load_dataset(owner, config or None, wanted)
    except Exception as error:
        raise DataError(
            f"{printable(name)}: there is no such file or folder here, and no data set of this "
            f"name, split {printable(ask.name)}, could be loaded from the Hugging Face hub "
            f"({printable(f'{type(error).__name__}: {error}', 300)})."
        ) from error
    if wanted is None:
        return [Input(name, "dataset", dataset=one) for one in found.values()]
    split = Split(wanted, tuple(found.info.splits or (wanted,)))
    return [Input(name, "dataset", dataset=found, split=split)]


def _in_memory(source: object, ask: _Asked) -> list[Input]:
    import pyarrow as pa
    from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict

    if isinstance(source, DatasetDict | IterableDatasetDict):
        chosen = ask.of(source, f"the {type(source).__name__}")
        return [
            replace(one, split=split)
            for name, split in chosen
            for one in _in_memory(source[name], ask)
        ]
    if isinstance(source, IterableDataset):
        return [Input("rows in memory", "rows", objects=list(source))]
    if not isinstance(source, Dataset) and hasattr(source, "__arrow_c_stream__"):
        try:
            source = Dataset(plain_types(pa.table(source)))
        except (pa.ArrowException, TypeError, ValueError, NotImplementedError) as error:
            raise DataError(
                f"the {type(source).__name__} cannot be held as an Arrow table or a data set "
                f"({printable(error, 200)}). Give its rows as a list of dicts."
            ) from error
    if not isinstance(source, Dataset):
        raise DataError(
            f"examples cannot be read from a {type(source).__name__}. Give a path, a list of "
            "paths, a hub name, a list of dicts, a data frame, an Arrow table, or a data set of "
            "Hugging Face datasets."
        )
    return [Input("dataset in memory", "dataset", dataset=source)]


def would_read(given: Sequence[str], out: Path, split: str | None = None) -> bool:
    """Tell whether ``load(given)`` would read something else once ``out`` is written.

    It would where ``out`` is to lie in a folder that is read, or fits a pattern.
    """
    place = out.parent.resolve() / out.name
    return any(_takes_in(name, place, split) for name in given if "\0" not in name)


def _takes_in(name: str, out: Path, split: str | None) -> bool:
    path = expanded(name)
    if path.is_dir():
        folder = path.resolve()
        if not out.is_relative_to(folder):
            return False
        if any((folder / mark).is_file() for mark in _SAVED):
            return True
        files = _data_files(folder)
        more = out.relative_to(folder).as_posix()
        visible = not any(part.startswith((".", "__")) for part in Path(more).parent.parts)
        if more in files or not (visible and _is_named_as_data(out.name)):
            return more in _read_of(folder, files, split)
        return _read_of(folder, files, split) != _read_of(folder, sorted([*files, more]), split)
    if path.exists() or not glob.has_magic(name):
        return False
    parts = path.parts
    fixed = next(place for place, part in enumerate(parts) if glob.has_magic(part))
    folder = Path(*parts[:fixed]).resolve()
    return out.is_relative_to(folder) and fits(out.relative_to(folder).parts, parts[fixed:])


def _read_of(folder: Path, files: list[str], split: str | None) -> list[str]:
    """Name which of its data files a folder is read as."""
    splits = splits_of(folder, files)
    if not splits:
        return [file for file in files if "/" not in file]
    return splits.get(split or DEFAULT, [])


def input_names(inputs: Sequence[Input]) -> str:
    """Say which data is meant: one name, or the first and how many more."""
    first = printable(inputs[0].name, 200)
    return first if len(inputs) == 1 else f"{first} and {len(inputs) - 1} more"
