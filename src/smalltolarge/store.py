"""A stage appears whole or not at all. The only module that writes files.

A file is written beside its final place, synced, renamed into place, and its folder synced. A run
folder's ``manifest.json`` names every output with its SHA-256 and is written last, so what the
manifest does not name does not exist: nothing is inferred from a file being there.
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
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from smalltolarge.errors import (
    IntegrityError,
    OutOfSpace,
    RecipeError,
    RefusedForSafety,
    StaleArtifact,
    printable,
)

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger("smalltolarge")

MANIFEST_SCHEMA = 1
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
_ASIDE = ".s2l-part"
"""How a file that is being written ends; one that is left after a kill is taken away."""
# A stage that is lost takes those with it that were made from its files.
_LOST_WITH = {"select": ("select", "writing", "write")}
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


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
            handle, name = tempfile.mkstemp(_ASIDE, f".{path.name[:40]}.", path.parent)
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
            aside = Path(tempfile.mkdtemp(_ASIDE, f".{path.name[:40]}.", path.parent))
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
        for part in folder.glob(f".*{_ASIDE}"):
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
    for part in path.parent.glob(f".{glob.escape(path.name[:40])}.*{_ASIDE}"):
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


class RunFolder:
    """One run's folder, held by one process at a time.

    A folder holds one recipe (plain data) for good. Stages are committed one after the other; a
    committed stage whose files have changed is set aside, said aloud, and counts as not done.
    """

    is_temporary = False
    """Whether nobody can go on with it: there is no need to keep what is half done."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = -1

    @classmethod
    @contextmanager
    def hold(
        cls, path: Path, recipe: Mapping[str, Any], old: Mapping[str, Any] | None
    ) -> Iterator[RunFolder]:
        """Make or reopen the folder for ``recipe`` and hold it until the block ends.

        ``old`` is the recipe found there by the caller, None when there was none. A folder made
        here in which nothing was written is removed again.

        Raises
        ------
        RecipeError
            The folder's name is not a plain name, or it cannot be made.
        StaleArtifact
            The folder is of another recipe, holds files that no run wrote, or is in use.
        RefusedForSafety
            The folder holds links: writing to one would write elsewhere.
        """
        if not _NAME.fullmatch(path.name):
            raise RecipeError(
                f"run name {printable(path.name)!r}: use up to 100 letters, digits, '.', '_' and "
                "'-', beginning with a letter or digit"
            )
        made = not path.exists()
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecipeError(f"{path} cannot be a run folder: {error.strerror}") from error
        if old is None and not path_is_fresh(path):
            raise StaleArtifact(
                f"{path} holds files but no recipe.yaml: it is not a run folder. Choose another "
                "with --run."
            )
        for entry in path.rglob("*"):
            if entry.is_symlink():
                raise RefusedForSafety(f"{printable(str(entry), 200)} is a link; a run holds none")
        folder = cls(path)
        folder._take_lock()
        try:
            for part in path.rglob(f"*{_ASIDE}"):
                part.unlink(missing_ok=True)
            if old is not None:
                refuse_other_recipe(path, old, recipe)
            yield folder
        finally:
            if path_is_fresh(path):
                (path / ".lock").unlink(missing_ok=True)
                if made:
                    path.rmdir()
            os.close(folder._lock)

    def _take_lock(self) -> None:
        lock = self.path / ".lock"
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        handle = os.open(lock, flags, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not lock.exists() or not os.path.samestat(os.fstat(handle), lock.stat()):
                raise BlockingIOError  # its holder removed it with an unused folder
        except OSError as error:
            holder = os.read(handle, 200).decode("utf-8", "replace").strip()
            os.close(handle)
            raise StaleArtifact(
                f"{self.path} is in use by another run ({printable(holder) or 'unknown process'}). "
                "Wait for it, or choose another folder with --run."
            ) from error
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {socket.gethostname()}".encode())
        self._lock = handle

    def facts(self, name: str) -> dict[str, Any] | None:
        """Give the facts of a committed stage, whatever has become of its files."""
        entry = read_manifest(self.path)["stages"].get(name)
        return None if entry is None else cast("dict[str, Any]", entry["facts"])

    def is_done(self, name: str) -> bool:
        """Say whether a stage is committed and its files are what was written.

        Files that have changed are set aside, and the stage and those made from it with them.
        """
        manifest = read_manifest(self.path)
        entry = manifest["stages"].get(name)
        if entry is None:
            return False
        changed = changed_outputs(self.path, entry)
        for output in changed:
            self._set_aside(output, name)
        if changed:
            made_of_it = _LOST_WITH.get(name, (name,))
            if name == "record":
                made_of_it = tuple(stage for stage in manifest["stages"] if stage != "load")
            for lost in made_of_it:
                manifest["stages"].pop(lost, None)
            write_json(self.path / "manifest.json", manifest)
        return not changed

    def _set_aside(self, output: str, stage: str) -> None:
        damaged = self.path / output
        if not damaged.exists():
            log.warning("%s is missing; stage %s is done again", damaged, stage)
            return
        taken = len(list(self.path.glob(f"{output}.corrupt*")))
        aside = self.path / f"{output}.corrupt{f'-{taken + 1}' if taken else ''}"
        os.replace(damaged, aside)
        log.warning(
            "%s is not the file that was written; it is set aside as %s and stage %s is done again",
            damaged,
            aside.name,
            stage,
        )

    def commit(
        self, name: str, outputs: Sequence[str], facts: Mapping[str, Any], replaces: str = ""
    ) -> None:
        """Record that stage ``name`` is done: its files (relative names) and its facts."""
        manifest = read_manifest(self.path)
        manifest["stages"].pop(replaces, None)
        manifest["stages"][name] = {
            "facts": dict(facts),
            "outputs": {
                output: {
                    "sha256": digest(self.path / output),
                    "bytes": (self.path / output).stat().st_size,
                }
                for output in outputs
            },
        }
        write_json(self.path / "manifest.json", manifest)


def path_is_fresh(path: Path) -> bool:
    """Say whether a folder holds nothing, or only what a run that never began left."""
    return all(entry.name == ".lock" or entry.name.endswith(_ASIDE) for entry in path.iterdir())


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a run folder's manifest; an empty one when there is none.

    Raises
    ------
    IntegrityError
        It is not a manifest, or names anything but plain files of its folder.
    StaleArtifact
        It comes from another version.
    """
    file = path / "manifest.json"
    if not file.exists():
        return {"schema": MANIFEST_SCHEMA, "stages": {}}
    try:
        manifest: dict[str, Any] = json.loads(file.read_bytes())
        schema = manifest["schema"]
        for stage in manifest["stages"].values():
            if not isinstance(stage["facts"], dict):
                raise TypeError("facts that are no mapping")
            for name, written in stage["outputs"].items():
                if not _NAME.fullmatch(name) or not isinstance(written["sha256"], str):
                    raise ValueError(f"the output {printable(name)!r}")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise IntegrityError(f"{file} is not a manifest of ours: {error}") from error
    if schema != MANIFEST_SCHEMA:
        raise StaleArtifact(
            f"{file} has schema {printable(str(schema))}; this version reads {MANIFEST_SCHEMA}. "
            "Use the version that wrote it, or another --run."
        )
    return manifest


def changed_outputs(path: Path, entry: Mapping[str, Any]) -> list[str]:
    """List the outputs of one manifest entry that are missing or not what was written."""
    return [
        name
        for name, written in entry["outputs"].items()
        if not (path / name).is_file() or digest(path / name) != written["sha256"]
    ]


def refuse_other_recipe(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Raise ``StaleArtifact`` naming every setting in which two recipes differ."""
    differences = [
        f"  {printable(key)}: {_plain(old_flat.get(key))} there, {_plain(new_flat.get(key))} now"
        for old_flat, new_flat in [(_flat(old), _flat(new))]
        for key in sorted(old_flat.keys() | new_flat.keys())
        if old_flat.get(key) != new_flat.get(key)
    ]
    if differences:
        raise StaleArtifact(
            f"{path} belongs to a run with other settings:\n"
            + "\n".join(differences)
            + "\nGive the same settings to go on with it, or another folder with --run."
            + kept_losses(path)
        )


def kept_losses(path: Path) -> str:
    """Say how to use the losses that a run recorded; nothing when it has none."""
    if "record" not in read_manifest(path)["stages"]:
        return ""
    return f" Its losses can be used again: --trajectories {path}/trajectories.parquet"


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            flat |= _flat(inner, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = inner
    return flat


def _plain(value: object) -> str:
    return printable(json.dumps(value, ensure_ascii=False))
