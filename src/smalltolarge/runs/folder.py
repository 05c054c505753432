"""A run's folder, held by one process at a time, in which a stage is done whole or not at all."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from smalltolarge import store
from smalltolarge.errors import (
    Interrupted,
    RecipeError,
    RefusedForSafety,
    StaleArtifact,
    printable,
)
from smalltolarge.runs.manifest import (
    ANOTHER,
    NAME,
    Facts,
    as_bytes,
    drop_damaged,
    kept_losses,
    read_manifest,
)
from smalltolarge.store import Content, digest

WORKING = ".working"
"""The folder of all that is temporary in a run folder."""


class RunFolder:
    """One run's folder, held by one process at a time.

    A folder holds one recipe (plain data) for good. Stages are committed one after the other; a
    committed stage whose files have changed is set aside, said aloud, and counts as not done. All
    that is temporary is in its folder ``working``.
    """

    is_temporary = False
    """Whether nobody can go on with it: there is no need to keep what is half done."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.working = path / WORKING
        self._intact: set[str] = set()
        """Stages whose files are as written: who holds the folder need not digest them again."""

    @classmethod
    @contextmanager
    def hold(
        cls, path: Path, recipe: Mapping[str, Any], old: Mapping[str, Any] | None
    ) -> Iterator[RunFolder]:
        """Make or reopen the folder for ``recipe`` and hold it until the block ends.

        ``old`` is the recipe found there by the caller, None when there was none. What is
        temporary in it goes when the block is done, and stays when it is stopped, to go on from. A
        folder made here in which nothing was written is removed again.

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
        with cls.open(path) as folder:
            keep = False
            try:
                if old is not None:
                    refuse_other_recipe(path, old, recipe)
                elif folder.facts("load") is not None:
                    raise StaleArtifact(
                        f"{path} was begun by another run just now. Give the command again."
                    )
                yield folder
            except BaseException as error:
                keep = isinstance(error, Interrupted) or folder.is_begun
                raise
            finally:
                if not keep:
                    store.remove(folder.working)
                if made:
                    store.release(path)
                elif path_is_fresh(path):
                    store.remove(path / ".lock")

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[RunFolder]:
        """Hold a folder to write to, whatever its recipe. Raises as ``hold``."""
        with store.naming_space(path, at_start=True):
            store.make_folder(path)
        folder = cls(path)
        if not path_is_fresh(path) and not folder.is_begun:
            raise StaleArtifact(
                f"{path} holds files but no manifest.json: it is not a run folder. Choose "
                f"{ANOTHER}."
            )
        with ExitStack() as stack:
            with store.naming_space(path, at_start=True):
                stack.enter_context(store.locked(path, path, ANOTHER))
            for entry in path.rglob("*"):
                if entry.is_symlink():
                    shown = printable(entry, 200)
                    raise RefusedForSafety(f"{shown} is a link; a run holds none")
            if not folder.working.is_dir():  # what has a name of ours is ours
                store.remove(folder.working)
            yield folder

    @property
    def is_begun(self) -> bool:
        """Whether a run has written to it."""
        return any(self.path.glob("manifest.json*"))  # one set aside, too

    def facts(self, name: str) -> dict[str, Any] | None:
        """Give what a committed stage found and measured, whatever has become of its files."""
        entry = read_manifest(self.path)["stages"].get(name)
        return None if entry is None else Facts(self.path, entry)

    def is_done(self, name: str) -> bool:
        """Say whether a stage is committed and its files are what was written.

        Files that have changed are set aside, and the stage and those made from it with them.
        """
        stages = read_manifest(self.path)["stages"]
        if name not in stages:
            return False
        if name in self._intact:
            return True
        if drop_damaged(self.path, stages, name):
            self._intact.add(name)
            return True
        self._write_manifest(stages)
        return False

    def check_all(self) -> set[str]:
        """Look at every committed stage as ``is_done`` does; give those that are done."""
        done = {name for name in read_manifest(self.path)["stages"] if self.is_done(name)}
        return done.intersection(read_manifest(self.path)["stages"])

    def commit(
        self,
        name: str,
        files: Mapping[str, Content],
        facts: Mapping[str, Any],
        replaces: str = "",
    ) -> None:
        """Write the files and folders of a stage, and record that it is done, with its facts.

        ``files`` are by name. What was measured (seconds) stands apart from the facts, as it
        differs from run to run. ``replaces`` is a stage that counts no more.
        """
        manifest = read_manifest(self.path)
        if not self.is_begun:
            self._write_manifest(manifest["stages"])  # from here on the folder is a run's
        self.write(files)
        manifest["stages"].pop(replaces, None)
        manifest["stages"][name] = {
            "facts": {key: value for key, value in facts.items() if not _is_measured(key)},
            "measured": {key: value for key, value in facts.items() if _is_measured(key)},
            "outputs": {
                file: {"sha256": digest(self.path / file), "bytes": store.size(self.path / file)}
                for file in files
            },
        }
        self._write_manifest(manifest["stages"])

    def write(self, files: Mapping[str, Content]) -> None:
        """Write files and folders, by name; each is there whole or not at all."""
        making = self.working / "making"
        store.remove(making)
        for name, content in files.items():
            store.fill(making / name, content)
        for name in files:
            store.move(making / name, self.path / name)
        store.remove(making)
        with contextlib.suppress(OSError):
            self.working.rmdir()

    def _write_manifest(self, stages: Mapping[str, Any]) -> None:
        self.write({"manifest.json": as_bytes(stages)})


def _is_measured(fact: str) -> bool:
    return fact.startswith("seconds") or fact.endswith(("_per_second", "_memory_bytes"))


def path_is_fresh(path: Path) -> bool:
    """Say whether a folder holds nothing, or only what a run that never began left."""
    return all(entry.name in (".lock", WORKING) for entry in path.iterdir())


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
