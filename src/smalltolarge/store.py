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
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from smalltolarge.errors import (
    DataError,
    IntegrityError,
    OutOfSpace,
    RecipeError,
    StaleArtifact,
    printable,
)

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger("smalltolarge")

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
_METADATA = b"smalltolarge"
_SCHEMA = 2
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
    with open_file(path) as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def open_file(path: Path) -> BufferedReader:
    """Open a file to read it; a pipe or a device is refused, never waited for.

    Raises
    ------
    IntegrityError
        It is no plain file.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise IntegrityError(f"{printable(str(path), 200)} is no plain file")
    return os.fdopen(handle, "rb")


def is_as_written(path: Path, sha256: str) -> bool:
    """Say whether a file or folder of ours has that digest; a link is none of ours."""
    try:
        return not path.is_symlink() and path.exists() and digest(path) == sha256
    except IntegrityError:
        return False


def set_aside(path: Path) -> Path:
    """Rename what is damaged to ``NAME.damaged`` (``NAME.damaged-2``, ...), and give that name."""
    taken = len(list(path.parent.glob(f"{glob.escape(path.name)}.damaged*")))
    aside = path.with_name(f"{path.name}.damaged{f'-{taken + 1}' if taken else ''}")
    os.replace(path, aside)
    return aside


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


def as_json(content: object) -> bytes:
    """Give JSON with sorted keys, so that equal content is equal bytes."""
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "surrogatepass") + b"\n"


def write_json(path: Path, content: object) -> None:
    """Write JSON, whole or not at all."""
    write_bytes(path, as_json(content))


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write an Arrow table as zstd-compressed Parquet with checksums, whole or not at all."""
    import pyarrow.parquet as pq

    with atomic_write(path) as file:
        pq.write_table(table, file, compression="zstd", write_page_checksum=True)


def read_parquet(path: Path) -> pa.Table:
    """Read a Parquet file that is there, whoever wrote it; its checksums, if any, are checked.

    Raises
    ------
    IntegrityError
        It cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        open_file(path).close()
        return pq.ParquetFile(path, page_checksum_verification=True).read()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise IntegrityError(f"{path} is not a readable Parquet file: {error}") from error


def write_table(path: Path, table: pa.Table, origin: Mapping[str, Any], digest: str) -> None:
    """Write a table that may be read without its run folder: with a digest of its content.

    ``origin`` says how it was made, in plain data.
    """
    said = json.dumps({**origin, "schema": _SCHEMA, "digest": digest}, sort_keys=True)
    write_parquet(path, table.replace_schema_metadata({_METADATA: said.encode()}))


def read_table(path: Path) -> tuple[pa.Table, dict[str, Any], str | None]:
    """Read a table, whoever wrote it: it, its origin, and the digest that ``write_table`` kept.

    Raises
    ------
    DataError
        Its metadata are not JSON.
    IntegrityError
        It cannot be read, or a part of what ``write_table`` writes is not there.
    StaleArtifact
        It comes from a newer version.
    """
    table = read_parquet(path)
    try:
        said = json.loads((table.schema.metadata or {}).get(_METADATA, b"{}"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: its metadata 'smalltolarge' is not JSON") from error
    if not isinstance(said, dict):
        raise DataError(f"{path}: its origin is a {type(said).__name__}; a mapping is needed")
    schema, digest = said.pop("schema", None), said.pop("digest", None)
    if isinstance(schema, int) and schema > _SCHEMA:
        raise StaleArtifact(f"{path} has schema {schema}; this version reads up to {_SCHEMA}")
    if not isinstance(digest, str | None) or (schema == _SCHEMA and digest is None):
        raise IntegrityError(f"{path} is damaged: it has lost its digest")
    return table, said, digest


def check_content(path: Path, written: str | None, find: Callable[[], str]) -> None:
    """Compare the content of what ``read_table`` read with the digest kept, where there is one.

    Raises
    ------
    IntegrityError
        It is not what was written.
    """
    if written is None:
        log.info("%s has no digest of ours: whether it is as it was written is not checked", path)
    elif find() != written:
        raise IntegrityError(
            f"{path} is damaged: its content is not what was written. Get or make the file again."
        )


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
        if not is_as_written(path / name, written["sha256"])
    ]
