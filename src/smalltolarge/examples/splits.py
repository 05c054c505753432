"""Which files of a folder are which split.

The rule is that of Hugging Face ``datasets``. In order: files ``data/NAME-00000-of-00000.*`` are of
the split NAME; files in a sub-folder with a split's word in its name are of that split; files with
such a word in their own name are. A word stands at the end of a name, or before a hyphen, a dot, an
underscore, a space or a digit, and at its beginning or after one of these. Where the folder's
README.md says in ``configs`` which files are which split, as that of a data repository does, it
goes before names.

Beyond ``datasets``: a split that no sub-folder is named by is looked for in the names of files, and
capital letters are no other words.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from smalltolarge.errors import DataError, printable

DEFAULT = "train"
_WORDS = {
    "train": "train|training",
    "validation": "validation|valid|val|dev",
    "test": "test|testing|eval|evaluation",
}
_NAMED = {
    split: re.compile(rf"(?:^|[-._ 0-9])(?:{words})(?:$|[-._ 0-9])", re.IGNORECASE)
    for split, words in _WORDS.items()
}
_SHARD = re.compile(r"data/(\w+(?:\.\w+)*)-\d{5}-of-\d{5}[^/]*\.[^/]*")
_FRONT = re.compile(r"\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*\r?$", re.DOTALL | re.MULTILINE)
_LONGEST_README = 1 << 20

Splits = dict[str, list[str]]
"""The files of every split, none empty; no splits at all where names tell of none."""


def splits_of(folder: Path, files: Sequence[str]) -> Splits:
    """Tell which of ``files``, named from ``folder`` with slashes, are which split.

    Raises
    ------
    DataError
        The README.md of the folder has several configurations and no default one.
    """
    config = _config(folder)
    if config is None:
        return by_name(files)
    inside = PurePosixPath(_text(config.get("data_dir")) or ".")
    there = {
        str(path.relative_to(inside)): str(path)
        for path in map(PurePosixPath, files)
        if path.is_relative_to(inside)
    }
    said = {
        split: [full for short, full in there.items() if _is_one_of(short, patterns)]
        for split, patterns in _patterns(config.get("data_files")).items()
    }
    named = {split: [there[f] for f in found] for split, found in by_name(list(there)).items()}
    return {split: found for split, found in (said | _without(named, said)).items() if found}


def by_name(files: Iterable[str]) -> Splits:
    """Tell which files are which split by their names alone."""
    paths = [PurePosixPath(file) for file in files]
    sharded: Splits = {}
    for path in paths:
        if match := _SHARD.fullmatch(str(path)):
            sharded.setdefault(match[1], []).append(str(path))
    if sharded:
        return {split: sharded[split] for split in sorted(sharded, key=_rank)}
    folders = _matching(paths, lambda path: path.parts[:-1])
    taken = {file for found in folders.values() for file in found}
    names = _matching([p for p in paths if str(p) not in taken], lambda path: path.parts[-1:])
    found = names | folders
    return {split: found[split] for split in _WORDS if split in found}


def is_of_evaluation(name: str) -> bool:
    """Tell whether what a split is called says that it is not for training."""
    said = {split for split, pattern in _NAMED.items() if pattern.search(name.strip())}
    return bool(said) and DEFAULT not in said


def _rank(split: str) -> tuple[int, str]:
    return (list(_WORDS).index(split) if split in _WORDS else len(_WORDS), split)


def _matching(
    paths: list[PurePosixPath], parts: Callable[[PurePosixPath], Iterable[str]]
) -> Splits:
    found = {
        split: [str(path) for path in paths if any(map(pattern.search, parts(path)))]
        for split, pattern in _NAMED.items()
    }
    return {split: files for split, files in found.items() if files}


def _without(named: Splits, said: Splits) -> Splits:
    """Leave out what the README speaks of already."""
    taken = {file for found in said.values() for file in found}
    rest = {split: [f for f in found if f not in taken] for split, found in named.items()}
    return {split: found for split, found in rest.items() if split not in said}


def _config(folder: Path) -> Mapping[str, Any] | None:
    """Give the one entry of ``configs`` in the head of the folder's README.md, if there is one."""
    try:
        readme = folder / "README.md"
        with readme.open("rb") if readme.is_file() else io.BytesIO() as file:
            text = file.read(_LONGEST_README).decode("utf-8", "replace")
    except OSError:
        return None
    front = _FRONT.match(text)
    try:
        head = yaml.safe_load(front[1]) if front else None
    except (yaml.YAMLError, ValueError, RecursionError):  # then it says nothing
        return None
    listed = head.get("configs") if isinstance(head, dict) else None
    configs = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    if len(configs) < 2:
        return configs[0] if configs else None
    default = [c for c in configs if c.get("config_name") == "default" or c.get("default") is True]
    if len(default) != 1:
        names = ", ".join(printable(_text(one.get("config_name")), 40) for one in configs)
        raise DataError(
            f"{printable(folder, 200)} holds several data sets, its README.md says: {names}. "
            "Give the folder or the files of one of them."
        )
    return default[0]


def _patterns(given: object) -> dict[str, list[str]]:
    if isinstance(given, str):
        return {DEFAULT: [given]}
    if not isinstance(given, list):
        return {}
    found: dict[str, list[str]] = {}
    for entry in given:
        split, path = DEFAULT, entry
        if isinstance(entry, dict):
            split, path = _text(entry.get("split")), entry.get("path")
        paths = path if isinstance(path, list) else [path]
        found.setdefault(split, []).extend(one for one in paths if isinstance(one, str))
    return found


def _text(value: object) -> str:
    """Give a text; nothing for what may be anything, and larger than its file by aliases."""
    return value if isinstance(value, str) else ""


def _is_one_of(file: str, patterns: list[str]) -> bool:
    parts = PurePosixPath(file).parts
    return any(fits(parts, PurePosixPath(pattern).parts) for pattern in patterns)


@lru_cache(100_000)
def fits(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Tell what ``glob.glob`` would, for a file that need not be there yet."""
    if not pattern:
        return not parts
    if pattern[0] == "**" and fits(parts, pattern[1:]):
        return True
    if not parts or (parts[0].startswith(".") and not pattern[0].startswith(".")):
        return False
    if pattern[0] == "**":
        return fits(parts[1:], pattern)
    return fnmatchcase(parts[0], pattern[0]) and fits(parts[1:], pattern[1:])
