"""A stage appears whole or not at all. The only module that writes files.

A file is written beside its final place, synced, renamed into place, and its folder synced. A run
folder's ``manifest.json`` names every output with its SHA-256 and is written last, so what the
manifest does not name does not exist: nothing is inferred from a file being there.
"""

from __future__ import annotations

import errno
import fcntl
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

from smalltolarge.errors import IntegrityError, OutOfSpace, RecipeError, StaleArtifact, printable

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger("smalltolarge")

MANIFEST_SCHEMA = 1
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def digest(path: Path) -> str:
    """Give the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open ``path`` for writing so that it appears whole, durable, or not at all.

    Missing parent folders are made. A link is written through, not replaced.

    Raises
    ------
    OutOfSpace
        The disk is full, over its quota, or failing; what was there before is untouched.
    """
    path = Path(os.path.realpath(path))
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:40]}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        temporary = None
        _sync(path.parent)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        free = shutil.disk_usage(path.parent).free
        raise OutOfSpace(
            f"cannot write {path}: {error.strerror} ({free / 1e6:,.1f} MB free on its disk). "
            "Free some space and give the same command again."
        ) from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a new folder to fill that becomes ``path``, whole and durable, or never appears."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name[:40]}.", dir=path.parent))
    try:
        whole = aside / "whole"
        yield whole
        for entry in [*whole.rglob("*"), whole]:
            _sync(entry)
        os.replace(whole, path)
        _sync(path.parent)
    finally:
        remove_folder(aside)


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


def write_tensors(path: Path, tensors: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    """Write torch tensors as one safetensors file, whole or not at all."""
    from safetensors.torch import save

    write_bytes(path, save(dict(tensors), dict(metadata)))


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

    ``recipe`` (plain data) says what the run is; a folder holds one recipe for good. Stages are
    committed one after the other; a committed stage whose files have changed is set aside, said
    aloud, and counts as not done.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

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
            The folder's name is not a plain name.
        StaleArtifact
            The folder is of another recipe, holds files that no run wrote, or is in use.
        """
        if not _NAME.fullmatch(path.name):
            raise RecipeError(
                f"run name {printable(path.name)!r}: use up to 100 letters, digits, '.', '_' and "
                "'-', beginning with a letter or digit"
            )
        try:
            path.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise StaleArtifact(f"{path} is a file; a run needs a folder") from error
        if old is None and any(entry.name != ".lock" for entry in path.iterdir()):
            raise StaleArtifact(
                f"{path} holds files but no recipe.yaml: it is not a run folder. Choose another "
                "with --run."
            )
        folder = cls(path)
        folder._take_lock()
        try:
            if old is not None:
                refuse_other_recipe(path, old, recipe)
            yield folder
        finally:
            if [entry.name for entry in path.iterdir()] == [".lock"]:
                shutil.rmtree(path)
            folder._release_lock()

    def _take_lock(self) -> None:
        handle = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
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

    def _release_lock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def stage(self, name: str) -> dict[str, Any] | None:
        """Give what stage ``name`` committed, or None when it has not, or its files changed."""
        entry = read_manifest(self.path)["stages"].get(name)
        if entry is None:
            return None
        for problem in changed_outputs(self.path, entry):
            damaged = self.path / problem
            if damaged.exists():
                os.replace(damaged, damaged.with_name(damaged.name + ".corrupt"))
            log.warning(
                "%s is not the file that was written; it is set aside as %s.corrupt and stage "
                "%s is done again",
                damaged,
                damaged.name,
                name,
            )
            entry = None
        return cast("dict[str, Any] | None", entry)

    def commit(self, name: str, outputs: Sequence[str], facts: Mapping[str, Any]) -> None:
        """Record that stage ``name`` is done: its files (relative names) and its facts."""
        manifest = read_manifest(self.path)
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


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a run folder's manifest; an empty one when there is none.

    Raises
    ------
    IntegrityError
        It is not a manifest, names files outside the folder, or comes from a newer version.
    """
    file = path / "manifest.json"
    if not file.exists():
        return {"schema": MANIFEST_SCHEMA, "stages": {}}
    try:
        manifest = json.loads(file.read_bytes())
        schema, stages = manifest["schema"], manifest["stages"]
        names = [name for stage in stages.values() for name in stage["outputs"]]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise IntegrityError(f"{file} is not a manifest of ours ({error})") from error
    if schema != MANIFEST_SCHEMA:
        raise StaleArtifact(
            f"{file} has schema {schema}; this version reads {MANIFEST_SCHEMA}. Use the version "
            "that wrote it, or another --run."
        )
    root = path.resolve()
    for name in names:
        if not (root / name).resolve().is_relative_to(root):
            raise IntegrityError(f"{file} names a file outside its folder: {printable(name)}")
    return cast("dict[str, Any]", manifest)


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
        f"  {key}: {_plain(old_flat.get(key))} there, {_plain(new_flat.get(key))} now"
        for old_flat, new_flat in [(_flat(old), _flat(new))]
        for key in sorted(old_flat.keys() | new_flat.keys())
        if old_flat.get(key) != new_flat.get(key)
    ]
    if differences:
        raise StaleArtifact(
            f"{path} belongs to a run with other settings:\n"
            + "\n".join(differences)
            + "\nGive the same settings to go on with it, or another folder with --run. Recorded "
            f"losses can be used again: --trajectories {path}/trajectories.parquet"
        )


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
