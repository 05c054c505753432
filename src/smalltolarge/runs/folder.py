"""A run's folder, held by one process at a time, in which a stage is done whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smalltolarge.errors import (
    RecipeError,
    RefusedForSafety,
    StaleArtifact,
    printable,
)
from smalltolarge.runs.manifest import (
    ANOTHER,
    NAME,
    Facts,
    is_done,
    kept_losses,
    read_manifest,
    write_manifest,
)
from smalltolarge.store import ASIDE, digest


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
        if not NAME.fullmatch(path.name):
            raise RecipeError(
                f"run name {printable(path.name)!r}: use up to 100 letters, digits, '.', '_' and "
                "'-', beginning with a letter or digit"
            )
        made = not path.exists()
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecipeError(f"{path} cannot be a run folder: {error.strerror}") from error
        if old is None and not path_is_fresh(path) and not any(path.glob("manifest.json*")):
            raise StaleArtifact(
                f"{path} holds files but no manifest.json: it is no run folder. Choose {ANOTHER}."
            )
        for entry in path.rglob("*"):
            if entry.is_symlink():
                raise RefusedForSafety(f"{printable(str(entry), 200)} is a link; a run holds none")
        folder = cls(path)
        folder._take_lock()
        try:
            for part in path.rglob(f"*{ASIDE}"):
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
                f"Wait for it, or choose {ANOTHER}."
            ) from error
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {socket.gethostname()}".encode())
        self._lock = handle

    def facts(self, name: str) -> dict[str, Any] | None:
        """Give the facts of a committed stage, whatever has become of its files."""
        entry = read_manifest(self.path)["stages"].get(name)
        return None if entry is None else Facts(self.path, entry)

    def is_done(self, name: str) -> bool:
        """Say whether a stage is committed and its files are what was written.

        Files that have changed are set aside, and the stage and those made from it with them.
        """
        return is_done(self.path, name)

    def check_all(self) -> bool:
        """Look at every committed stage as ``is_done`` does; say whether all are as written."""
        stages = read_manifest(self.path)["stages"]
        return sum(self.is_done(name) for name in stages) == len(stages)

    def commit(
        self, name: str, outputs: Sequence[str], facts: Mapping[str, Any], replaces: str = ""
    ) -> None:
        """Record that stage ``name`` is done: its files (relative names) and its facts."""
        manifest = read_manifest(self.path)
        manifest["stages"].pop(replaces, None)
        manifest["stages"][name] = {
            "facts": {k: v for k, v in facts.items() if not _is_measured(k)},
            "measured": {k: v for k, v in facts.items() if _is_measured(k)},
            "outputs": {
                output: {
                    "sha256": digest(self.path / output),
                    "bytes": (self.path / output).stat().st_size,
                }
                for output in outputs
            },
        }
        write_manifest(self.path, manifest["stages"])


def _is_measured(fact: str) -> bool:
    return fact.startswith("seconds") or fact.endswith(("_per_second", "_memory_bytes"))


def path_is_fresh(path: Path) -> bool:
    """Say whether a folder holds nothing, or only what a run that never began left."""
    return all(entry.name == ".lock" or entry.name.endswith(ASIDE) for entry in path.iterdir())


def refuse_other_recipe(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Raise ``StaleArtifact`` naming every setting in which two recipes differ."""
    held, wanted = _command(old), _command(new)
    if held != wanted:
        raise StaleArtifact(
            f"{path} holds a run of s2l {held}, and s2l {wanted} needs one of its own: give "
            f"{ANOTHER}."
        )
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
            + f"\nGive the same settings to go on with it, or {ANOTHER}."
            + kept_losses(path)
        )


def _command(recipe: Mapping[str, Any]) -> str:
    """Name the command whose recipe this is, by the key that no other has."""
    keys = {"model": "evaluate", "budgets": "run", "budget": "select", "target": "train"}
    return next((keys[key] for key in keys if key in recipe), "record")


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
