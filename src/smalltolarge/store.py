"""A file or folder appears whole or not at all. The only module that writes files.

What is to become NAME is made in a folder beside it, ``.NAME.s2l-part``, which one process holds at
a time. It is synced there, moved to its place, and the folder of its place is synced. A part that
a killed process left is taken over by the next that writes the same result.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import itertools
import json
import logging
import os
import re
import shutil
import socket
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from smalltolarge.errors import (
    DataError,
    IntegrityError,
    InUse,
    OutOfSpace,
    RecipeError,
    RefusedForSafety,
    StaleArtifact,
    printable,
)

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger("smalltolarge")

Content: TypeAlias = bytes | Callable[[Path], object]
"""What a file or folder is to hold: its bytes, or what makes it at a path."""
PART = ".s2l-part"
"""How the folder ends in which a result is made."""
_LOCK, _OLD = ".lock", ".old"
_LONGEST = 200
"""Bytes of a name that stay in that of its part; a name may have 255."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
_METADATA = b"smalltolarge"
_SCHEMA = 2
_FORBIDDEN = {errno.EROFS, errno.EACCES}
_NO_PLACE = {errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.EPERM}
_TAKEN = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR}
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EIO}
_NO_HARD_LINKS = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK}
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
        raise IntegrityError(f"{printable(path, 200)} is no plain file")
    return os.fdopen(handle, "rb")


def is_as_written(path: Path, sha256: str) -> bool:
    """Say whether a file or folder of ours has that digest; a link is none of ours."""
    try:
        return not path.is_symlink() and path.exists() and digest(path) == sha256
    except IntegrityError:
        return False


def set_aside(path: Path) -> Path:
    """Rename what is damaged to ``NAME.damaged`` (``NAME.damaged-2``, ...), and give that name."""
    endings = (f"-{number}" if number > 1 else "" for number in itertools.count(1))
    names = (path.with_name(f"{path.name}.damaged{ending}") for ending in endings)
    aside = next(name for name in names if not os.path.lexists(name))
    os.rename(path, aside)
    return aside


def size(path: Path) -> int:
    """Give the bytes of a file, or of all files in a folder."""
    files = [entry for entry in path.rglob("*") if entry.is_file()] if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)


class Place:
    """Where a result is to appear, held by this process alone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.made = _part_of(path) / path.name
        """The file or folder that is made here becomes the result."""
        self.is_kept = False

    def put(self, *, overwrite: bool = False) -> None:
        """Move what was made to its place, durably; what is there with the same content stays.

        Raises
        ------
        StaleArtifact
            Something else is there and ``overwrite`` is not set; what was made is kept then.
        OutOfSpace
            The disk is full, over its quota, or failing; what was there before is untouched.
        """
        with naming_space(self.path):
            for entry in [*self.made.rglob("*"), self.made]:
                if entry.is_file():  # safetensors keeps what it writes to its owner
                    os.chmod(entry, 0o666 & ~_umask())
                _sync(entry)
            moved = self._replace() if overwrite else self._add()
            if not moved and self.is_taken():
                self.is_kept = True
                raise StaleArtifact(
                    f"{printable(self.path, 200)} is there by now, with other content. What "
                    f"was to be written there is kept as {printable(self.made, 300)}."
                )
            _sync(self.path.parent)

    def is_taken(self) -> bool:
        """Say whether something else than what was made is at the place."""
        path, made = self.path, self.made
        if not os.path.lexists(path):
            return False
        return (
            path.is_dir() != made.is_dir()
            or size(path) != size(made)
            or digest(path) != digest(made)
        )

    def _replace(self) -> bool:
        """Move what was made where something of its kind, or nothing, is."""
        if self.path.is_dir():
            if not self.made.is_dir():
                return False
            os.rename(self.path, self.made.with_name(_OLD))
        os.replace(self.made, self.path)
        return True

    def _add(self) -> bool:
        """Move what was made where nothing is, or an empty folder; False where something is."""
        try:
            if self.made.is_dir():
                os.rename(self.made, self.path)
                return True
            try:
                os.link(self.made, self.path)
            except OSError as error:
                if error.errno not in _NO_HARD_LINKS or os.path.lexists(self.path):
                    raise
                os.rename(self.made, self.path)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
            return False
        return True


@contextmanager
def holding(path: Path, *, wait: bool = False) -> Iterator[Place]:
    """Hold the place where a result is to appear; what a killed process left of it is removed.

    Missing parent folders are made. A link is not followed.

    Raises
    ------
    InUse
        Another process holds it, and ``wait`` is not set.
    RefusedForSafety
        It is a link: to write to it is to write elsewhere.
    """
    if path.is_symlink():
        raise RefusedForSafety(f"{printable(path, 200)} is a link, which is not written to")
    place, part = Place(path), _part_of(path)
    make_way(part)
    with locked(part, path, "another --out", wait=wait):
        try:
            if (part / _OLD).exists() and not os.path.lexists(path):
                os.rename(part / _OLD, path)  # a kill came between it and what replaces it
            empty(part)
            yield place
        finally:
            if not place.is_kept:
                empty(part)
                release(part)


def make_way(folder: Path) -> None:
    """Take away what has the name of a folder of ours and is none; of a link to one, the link."""
    if folder.is_symlink() or not folder.is_dir():
        remove(folder)


def is_left(path: Path) -> bool:
    """Say whether there is a part of ``path``: held, or left by a killed process."""
    return _part_of(path).exists()


def _part_of(path: Path) -> Path:
    name, encoded = path.name, os.fsencode(path.name)
    if len(encoded) > _LONGEST:
        name = encoded[:_LONGEST].decode("utf-8", "ignore")
        name += f"-{hashlib.sha256(encoded).hexdigest()[:8]}"
    return path.with_name(f".{name}{PART}")


def empty(folder: Path) -> None:
    """Delete what is in a folder that is held, but its lock."""
    for entry in folder.iterdir():
        if entry.name != _LOCK:
            remove(entry)


@dataclass(frozen=True)
class Held:
    """A folder that this process holds, alone or with others that share it."""

    handle: int
    has_locks: bool
    """Whether it is held at all: not every file system has locks."""

    def is_left_alone(self) -> bool:
        """Say, at the end, whether no other process holds it; then none can until it is released.

        Where another does, this process holds it no more.
        """
        if self.has_locks:
            try:
                fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
        return True


@contextmanager
def locked(
    folder: Path, what: Path | str, instead: str, *, wait: bool = False, shared: bool = False
) -> Iterator[Held]:
    """Make a folder and hold it by its file ``.lock``, which says who does, and since when.

    Those that hold it ``shared`` hold it together, and nobody else. A kill frees it. Where the file
    system has no locks, that is said, and nothing is held.

    Raises
    ------
    InUse
        Another process holds it, and ``wait`` is not set: ``what`` is in use; says what to choose
        ``instead``.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    kind |= 0 if wait else fcntl.LOCK_NB
    held = _lock(folder, what, instead, kind)
    while not _is_in_place(held.handle, folder):  # its holder has removed it in the meantime
        os.close(held.handle)
        held = _lock(folder, what, instead, kind)
    try:
        since = time.strftime("%Y-%m-%d %H:%M:%S %z")
        holder = f"process {os.getpid()} on {socket.gethostname()} since {since}"
        with contextlib.suppress(OSError):  # on a read-only or a full disk it is held all the same
            os.ftruncate(held.handle, 0)
            os.pwrite(held.handle, holder.encode(), 0)
        yield held
    finally:
        os.close(held.handle)


def _lock(folder: Path, what: Path | str, instead: str, kind: int) -> Held:
    handle = _open_lock(folder)
    try:
        fcntl.flock(handle, kind)
    except BlockingIOError as error:
        holder = os.pread(handle, 200, 0) if _is_in_place(handle, folder) else b""
        os.close(handle)
        raise InUse(
            f"{printable(what, 200)} is in use by another run "
            f"({printable(holder.decode('utf-8', 'replace'), 200) or 'unknown process'}). Wait for "
            f"it, or choose {instead}."
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            os.close(handle)
            raise
        log.warning(
            "%s: no locks on its file system (%s): two runs that write it at once go unnoticed",
            printable(what, 200),
            os.strerror(error.errno or 0),
        )
        return Held(handle, has_locks=False)
    return Held(handle, has_locks=True)


def _open_lock(folder: Path) -> int:
    """Open the lock of a folder; on a read-only disk for reading, or the folder in its stead."""
    lock = folder / _LOCK
    if lock.is_symlink():
        raise RefusedForSafety(f"{printable(lock, 200)} is a link")
    while True:
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        try:
            return os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except FileNotFoundError:
            continue  # its holder has removed the folder in the meantime
        except OSError as error:
            if error.errno not in _FORBIDDEN:
                with contextlib.suppress(OSError):
                    folder.rmdir()
                raise
            return os.open(lock if lock.exists() else folder, os.O_RDONLY | os.O_CLOEXEC)


def _is_in_place(handle: int, folder: Path) -> bool:
    for path in (folder / _LOCK, folder):
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return True
    return False


def release(folder: Path) -> None:
    """Remove a folder that is held, where nothing but its lock is in it."""
    with contextlib.suppress(OSError):
        if [entry.name for entry in folder.iterdir()] == [_LOCK]:
            (folder / _LOCK).unlink()
            folder.rmdir()


def make_folder(path: Path) -> None:
    """Make a folder and those that it lies in, durably, where they are not there."""
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent)
    path.mkdir(exist_ok=True)
    _sync(path.parent)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give the path of a file or folder to make that becomes ``path``, whole and durable, or not.

    Missing parent folders are made. What is there is replaced; a link is written through. In a
    folder that is made so itself, it is written in its place: it becomes whole with that folder.

    Raises
    ------
    OutOfSpace
        The disk is full, over its quota, or failing; what was there before is untouched.
    StaleArtifact
        Another process is writing it.
    """
    path = Path(os.path.realpath(path))
    if any(folder.name.endswith(PART) for folder in path.parents):
        with naming_space(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield path
        return
    with naming_space(path), holding(path) as place:
        yield place.made
        place.put(overwrite=True)


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open ``path`` for writing so that it appears whole, durable, or not at all.

    Otherwise as ``atomic_file``.
    """
    with atomic_file(path) as made, made.open("wb") as file:
        yield file


def fill(path: Path, content: Content) -> None:
    """Write ``content`` to ``path``, whole or not at all."""
    if isinstance(content, bytes):
        write_bytes(path, content)
    else:
        content(path)


def write_new(
    contents: Mapping[Path, Content], *, overwrite: bool, free: Collection[Path] = ()
) -> None:
    """Write files of which none may be there with other content.

    ``overwrite`` replaces all, and those of ``free`` are replaced anyway.

    Raises
    ------
    RecipeError
        A place is none that can be written.
    StaleArtifact
        One is there, or is being written by another process; nothing is written then.
    RefusedForSafety
        One is a link; nothing is written then.
    """
    with ExitStack() as stack:
        places = []
        for path, content in contents.items():
            with naming_space(path, at_start=True):
                places.append(stack.enter_context(holding(path)))
            fill(places[-1].made, content)
        bound = [place for place in places if not overwrite and place.path not in free]
        taken = [place.path for place in bound if place.is_taken()]
        if taken:
            raise StaleArtifact(
                f"{', '.join(printable(path, 200) for path in taken)}: there already, with "
                "other content. Move it, choose another --out, or pass --overwrite."
            )
        for place in places:
            place.put(overwrite=place not in bound)


def json_lines(rows: Iterable[Any]) -> bytes:
    """Write rows as JSON Lines; half of a surrogate pair stays what it is."""
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return "".join(lines).encode("utf-8", "surrogatepass")


@contextmanager
def naming_space(path: Path, *, at_start: bool = False) -> Iterator[None]:
    """Raise ``OutOfSpace``, naming ``path``, where what is done inside cannot write.

    ``at_start`` of a command a place that is none, or that it may not write, is a ``RecipeError``;
    a name that is too long always is.
    """
    try:
        yield
    except Exception as error:
        number, shown = _error_number(error), path
        while shown.parent.name.endswith(PART):
            shown = shown.parent.with_name(path.name)
        wrong = {errno.ENAMETOOLONG} | (_FORBIDDEN | _NO_PLACE if at_start else set())
        if number in wrong:
            raise RecipeError(
                f"{printable(shown, 300)} cannot be written: {os.strerror(number)}"
            ) from error
        if number is None or number not in _FULL | _FORBIDDEN:
            raise
        there = next(folder for folder in path.absolute().parents if folder.is_dir())
        free = shutil.disk_usage(there).free
        raise OutOfSpace(
            f"cannot write {printable(shown, 300)}: {os.strerror(number)} ({free / 1e6:,.1f} "
            "MB free on its disk). Free some space and give the same command again."
        ) from error


def _error_number(error: Exception) -> int | None:
    """Give the number of a system's error; safetensors tells it in words alone."""
    if isinstance(error, OSError):
        return error.errno
    told = _OS_ERROR.search(str(error))
    return int(told[1]) if told else None


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
    DataError
        It unpacks to many times its size.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from smalltolarge.unpacking import repeated_columns

    try:
        open_file(path).close()
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            repeated_columns(file, path, str(path))
            table = file.read()
            table.validate(full=True)  # texts are UTF-8
            return table
    except DataError:
        raise
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
    _refuse_long_ids(path, table)
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


def _refuse_long_ids(path: Path, table: pa.Table) -> None:
    """Refuse an id so long that all, in an array of ids of one length, would fill the memory."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from smalltolarge.unpacking import refuse_bomb

    at = table.schema.get_field_index("id")
    if at >= 0 and table.field(at).type in (pa.string(), pa.large_string()):
        longest = pc.max(pc.binary_length(table.column(at))).as_py() or 0
        refuse_bomb(str(path), longest * len(table), path.stat().st_size)


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


def move(made: Path, path: Path) -> None:
    """Move a file or folder that ``atomic_file`` made to another place, durably.

    What is there is replaced.
    """
    with naming_space(path):
        if path.is_dir():
            remove(path)
        make_folder(path.parent)
        os.replace(made, path)
        _sync(path.parent)


def remove(path: Path) -> None:
    """Delete a file or a folder of ours; nothing happens where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.lexists(path):
        with contextlib.suppress(OSError):
            path.unlink()


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
