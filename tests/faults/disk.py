"""What a disk holds after a kill or a loss of power: operations, replayed to the k-th."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.faults.process import OPERATIONS

KILLED = "killed"
"""The model of a disk whose power is not lost: it holds what the process had done."""
MODELS = ("strict", "ordered", "eager")
"""strict
    POSIX and no more: what was not synced is lost; a name is kept when its folder was synced.
ordered
    As ext4: a sync of anything keeps all names so far; a file that was renamed over another is
    written first; any other is empty until it is synced.
eager
    Names are kept at once, and what was not synced of a file is lost: rename before data."""
_CHANGING = ("open", "write", "truncate")
_HEAD = struct.Struct("=4i3q")


@dataclass(frozen=True)
class Operation:
    """One operation that a command did, with what it wrote."""

    what: str
    path: str
    second: str
    number: int
    """Flags, an offset or a size."""
    data: bytes
    inode: int
    """Of the file that was opened, written or synced; 0 for an operation on names."""


def read_log(file: Path, folder: Path) -> list[Operation]:
    """Read what the shim wrote; paths are relative to ``folder``."""
    content = file.read_bytes() if file.exists() else b""
    found = []
    place = 0
    while place < len(content):
        what, first, second, has_data, number, size, inode = _HEAD.unpack_from(content, place)
        place += _HEAD.size
        parts = []
        for length in (first, second, size if has_data else 0):
            parts.append(content[place : place + length])
            place += length
        path, second = (
            os.path.relpath(os.fsdecode(name), folder) if name else "" for name in parts[:2]
        )
        found.append(Operation(OPERATIONS[what], path, second, number, parts[2], inode))
    return found


@dataclass
class _File:
    """A file, whatever its names: what it holds, and what of it is on the disk."""

    now: bytearray = field(default_factory=bytearray)
    kept: bytes = b""


class Disk:
    """A folder whose operations are replayed, and what is left of it when the power is lost.

    ``_now`` and ``_kept`` give for each name the file there, or None for a folder.
    """

    def __init__(self, folder: Path, model: str) -> None:
        self.model = model
        self._now: dict[str, _File | None] = {".": None}
        for entry in folder.rglob("*"):
            name = entry.relative_to(folder).as_posix()
            content = None if entry.is_dir() else entry.read_bytes()
            self._now[name] = None if content is None else _File(bytearray(content), content)
        self._kept = dict(self._now)
        self._names: dict[int, str] = {}

    def do(self, operation: Operation) -> None:
        """Replay one operation."""
        if _is_nameless(operation):
            return
        if operation.inode:  # a library may rename by a system call that no preload sees
            before = self._names.get(operation.inode, operation.path)
            if before != operation.path and before in self._now:
                self._rename(replace(operation, path=before, second=operation.path))
            self._names[operation.inode] = operation.path
        elif operation.what == "rename":
            for inode, name in self._names.items():
                if _is_in(name, operation.path):
                    self._names[inode] = operation.second + name[len(operation.path) :]
        elif operation.what in ("unlink", "rmdir"):  # a number is given again to another file
            gone = [inode for inode, name in self._names.items() if name == operation.path]
            for inode in gone:
                del self._names[inode]
        getattr(self, f"_{operation.what}", self._nothing)(operation)
        if self.model in ("eager", KILLED):
            self._kept = dict(self._now)
        file = self._now.get(operation.path)
        if self.model == KILLED and file is not None and operation.what in _CHANGING:
            file.kept = bytes(file.now)

    def image(self) -> dict[str, bytes | None]:
        """Give what is left: the content of every file, None for a folder."""
        found: dict[str, bytes | None] = {}
        for name, file in sorted(self._kept.items()):
            folder = _folder_of(name)
            if name != "." and (folder == "." or folder in found):
                found[name] = None if file is None else file.kept
        return found

    def _nothing(self, operation: Operation) -> None:
        """Modes are not of interest."""

    def _open(self, operation: Operation) -> None:
        file = self._now.get(operation.path)
        if file is None:
            self._now[operation.path] = _File()
        elif operation.number & os.O_TRUNC:
            file.now.clear()

    def _write(self, operation: Operation) -> None:
        file = self._now.get(operation.path)
        if file is not None:
            end = operation.number + len(operation.data)
            file.now.extend(bytes(max(0, end - len(file.now))))
            file.now[operation.number : end] = operation.data

    def _truncate(self, operation: Operation) -> None:
        file = self._now.get(operation.path)
        if file is not None:
            del file.now[operation.number :]
            file.now.extend(bytes(operation.number - len(file.now)))

    def _sync(self, operation: Operation) -> None:
        path = operation.path
        if path not in self._now:
            return
        file = self._now[path]
        if file is not None:
            file.kept = bytes(file.now)
        if self.model == "ordered":
            self._kept = dict(self._now)
        elif self.model == "strict" and file is None:
            here = {name for name in {*self._now, *self._kept} if _folder_of(name) == path}
            for name in here - {"."}:
                if name in self._now:
                    self._kept[name] = self._now[name]
                else:
                    del self._kept[name]

    def _rename(self, operation: Operation) -> None:
        old, new = operation.path, operation.second
        replaced = self._now.get(new)
        moved = {name: file for name, file in self._now.items() if _is_in(name, old)}
        for name in moved:
            del self._now[name]
        for name, file in moved.items():
            self._now[new + name[len(old) :]] = file
        file = self._now.get(new)
        if self.model == "ordered" and replaced is not None and file is not None:
            file.kept = bytes(file.now)
        if self.model == "strict":  # what a folder holds goes where its name goes
            for name, file in list(self._kept.items()):
                if _is_in(name, old) and name != old:
                    self._kept[new + name[len(old) :]] = file

    def _link(self, operation: Operation) -> None:
        self._now[operation.second] = self._now.get(operation.path)

    def _unlink(self, operation: Operation) -> None:
        self._now.pop(operation.path, None)

    _rmdir = _unlink

    def _mkdir(self, operation: Operation) -> None:
        self._now[operation.path] = None


def images(disk: Disk, log: list[Operation]) -> list[tuple[list[int], dict[str, bytes | None]]]:
    """List what can be left, each with the operations after which it is."""
    found: dict[object, tuple[list[int], dict[str, bytes | None]]] = {}
    for k, operation in enumerate(log, start=1):
        disk.do(operation)
        image = disk.image()
        found.setdefault(frozenset(image.items()), ([], image))[0].append(k)
    return list(found.values())


def write_image(image: dict[str, bytes | None], folder: Path) -> None:
    """Make a folder hold what was left."""
    for name, content in image.items():
        if content is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(content)


def _is_nameless(operation: Operation) -> bool:
    """Tell whether a file has no name, opened (the path is that of its folder) or written."""
    opened = operation.what == "open" and operation.number & os.O_TMPFILE == os.O_TMPFILE
    return opened or os.path.basename(operation.path).startswith("#")


def _folder_of(name: str) -> str:
    return os.path.dirname(name) or "."


def _is_in(name: str, folder: str) -> bool:
    return name == folder or name.startswith(folder + "/")
