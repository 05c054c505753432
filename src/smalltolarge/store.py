"""A file appears whole or not at all. The only module that writes files.

A file is written beside its final place, synced, renamed into place, and its folder synced.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from smalltolarge.errors import (
    IntegrityError,
    OutOfSpace,
    RecipeError,
    printable,
)

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger("smalltolarge")

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
ASIDE = ".s2l-part"
"""How a file that is being written ends; one that is left after a kill is taken away."""
_OS_ERROR = re.compile(r"\(os error (\d+)\)")


def digest(path: Path) -> str:
    """Give the SHA-256 of a file, in hexadecimal; of a folder, that of its names and digests."""
    if path.is_dir():
        whole = hashlib.sha256()
        for file in sorted(entry for entry in path.rglob("*") if entry.is_file()):
            whole.update(os.fsencode(f"{file.relative_to(path).as_posix()}\0{digest(file)}\n"))
        return whole.hexdigest()
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give an empty file to fill that becomes ``path``, whole and durable, or never appears.

    Missing parent folders are made. A link is written through, not replaced.

    Raises
    ------
    OutOfSpace
        The disk is full, over its quota, or failing; what was there before is untouched.
    """
    path = Path(os.path.realpath(path))
    aside: Path | None = None
    try:
        with naming_space(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(ASIDE, f".{path.name[:40]}.", path.parent)
            os.close(handle)
            aside = Path(name)
            yield aside
            _sync(aside)
            os.chmod(aside, 0o666 & ~_umask())
            os.replace(aside, path)
            aside = None
            _sync(path.parent)
    finally:
        if aside is not None:
            aside.unlink(missing_ok=True)


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open ``path`` for writing so that it appears whole, durable, or not at all.

    Otherwise as ``atomic_file``.
    """
    with atomic_file(path) as aside, aside.open("wb") as file:
        yield file


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a new folder to fill that becomes ``path``, whole and durable, or never appears.

    Raises as ``atomic_file``.
    """
    aside: Path | None = None
    try:
        with naming_space(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            aside = Path(tempfile.mkdtemp(ASIDE, f".{path.name[:40]}.", path.parent))
            whole = aside / "whole"
            yield whole
            for entry in [*whole.rglob("*"), whole]:
                if entry.is_file():  # safetensors keeps what it writes to its owner
                    os.chmod(entry, 0o666 & ~_umask())
                _sync(entry)
            os.replace(whole, path)
            _sync(path.parent)
    finally:
        if aside is not None:
            remove_folder(aside)


def json_lines(rows: Iterable[Any]) -> bytes:
    """Write rows as JSON Lines; half of a surrogate pair stays what it is."""
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return "".join(lines).encode("utf-8", "surrogatepass")


@contextmanager
def naming_space(path: Path) -> Iterator[None]:
    """Raise ``OutOfSpace``, naming ``path``, where what is done inside finds the disk full."""
    try:
        yield
    except Exception as error:
        number = _error_number(error)
        if number is None or number not in _FULL:
            raise
        free = shutil.disk_usage(path.parent).free
        raise OutOfSpace(
            f"cannot write {path}: {os.strerror(number)} ({free / 1e6:,.1f} MB free on its disk). "
            "Free some space and give the same command again."
        ) from error


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a folder that processes share, once no other holds it; left-overs in it are removed."""
    handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        for part in folder.glob(f".*{ASIDE}"):
            remove_folder(part)
        yield
    finally:
        os.close(handle)


def _error_number(error: Exception) -> int | None:
    """Give the number of a system's error; safetensors tells it in words alone."""
    if isinstance(error, OSError):
        return error.errno
    told = _OS_ERROR.search(str(error))
    return int(told[1]) if told else None


def remove_parts(path: Path) -> None:
    """Take away what a killed process left of writing ``path``."""
    for part in path.parent.glob(f".{glob.escape(path.name[:40])}.*{ASIDE}"):
        part.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Raise ``RecipeError`` unless a file can be made beside ``path``, whose folder is made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise RecipeError(f"{printable(str(path), 200)} cannot be written: {error}") from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``, whole or not at all."""
    with atomic_write(path) as file:
        file.write(content)


def write_json(path: Path, content: object) -> None:
    """Write JSON with sorted keys, so that equal content is equal bytes."""
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_bytes(path, text.encode() + b"\n")


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write an Arrow table as zstd-compressed Parquet, whole or not at all."""
    import pyarrow.parquet as pq

    with atomic_write(path) as file:
        pq.write_table(table, file, compression="zstd")


def read_parquet(path: Path) -> pa.Table:
    """Read a Parquet file that is there, whoever wrote it.

    Raises
    ------
    IntegrityError
        It cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise IntegrityError(f"{path} is not a readable Parquet file: {error}") from error


def remove_folder(path: Path) -> None:
    """Delete a folder of ours; nothing happens when there is none."""
    shutil.rmtree(path, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def changed_outputs(path: Path, entry: Mapping[str, Any]) -> list[str]:
    """List the outputs of one manifest entry that are missing or not what was written."""
    return [
        name
        for name, written in entry["outputs"].items()
        if not (path / name).is_file() or digest(path / name) != written["sha256"]
    ]
