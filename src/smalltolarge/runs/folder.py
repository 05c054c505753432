"""A run's folder, in which a stage is done whole or not at all: of one process, or of several that
share the work.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from smalltolarge import store
from smalltolarge.errors import (
    Interrupted,
    InUse,
    RecipeError,
    RefusedForSafety,
    StaleArtifact,
    printable,
)
from smalltolarge.progress import Watch
from smalltolarge.runs.manifest import (
    ANOTHER,
    NAME,
    Facts,
    as_bytes,
    drop_damaged,
    kept_losses,
    read_manifest,
)
from smalltolarge.store import Content, changed_outputs, digest

T = TypeVar("T")
WORKING = ".working"
"""The folder of all that is temporary in a run folder."""
PAUSE = 0.2
"""Seconds after which a process that waits for others looks again."""


class RunFolder:
    """One run's folder, held by one process, or shared by several.

    A folder holds one recipe (plain data) for good. Stages are committed one after the other; a
    committed stage whose files have changed is set aside, said aloud, and counts as not done. All
    that is temporary is in its folder ``working``.

    Processes that share it each ``claim`` what they make, by a lock of its own, and change the
    manifest one after the other, by another; a process that is killed loses its locks.
    """

    is_temporary = False
    """Whether nobody can go on with it: there is no need to keep what is half done."""
    is_left_open = False
    """Whether what is temporary stays when the block ends: others will go on with it."""

    def __init__(self, path: Path, held: store.Held, *, shared: bool = False) -> None:
        self.path = path
        self.working = path / WORKING
        self.is_shared = shared and held.has_locks
        """Whether other processes may work in it at the same time."""
        self._held = held
        self._making = self.working / "making"
        self._intact: set[str] = set()
        """Stages whose files are as written: who holds the folder need not digest them again."""

    @classmethod
    @contextmanager
    def hold(
        cls,
        path: Path,
        recipe: Mapping[str, Any],
        old: Mapping[str, Any] | None,
        *,
        shared: bool = False,
    ) -> Iterator[RunFolder]:
        """Make or reopen the folder for ``recipe`` and hold it until the block ends.

        ``old`` is the recipe found there by the caller, None when there was none. What is
        temporary in it goes when the block is done, and stays when it is stopped, to go on from. A
        folder made here in which nothing was written is removed again. Of processes that hold it
        ``shared``, the last to leave it clears it up.

        Raises
        ------
        RecipeError
            The folder's name is not a plain name, or it cannot be made.
        StaleArtifact
            The folder is of another recipe, or holds files that no run wrote.
        InUse
            It is in use, by a process that does not share it.
        RefusedForSafety
            The folder holds links: writing to one would write elsewhere.
        """
        if not NAME.fullmatch(path.name):
            raise RecipeError(
                f"run name {printable(path.name)!r}: use up to 100 letters, digits, '.', '_' and "
                "'-', beginning with a letter or digit"
            )
        made = not path.exists()
        with cls.open(path, shared=shared) as folder:
            keep = False
            try:
                if old is not None:
                    refuse_other_recipe(path, old, recipe)
                elif not folder.is_shared and folder.facts("load") is not None:
                    raise StaleArtifact(
                        f"{path} was begun by another run just now. Give the command again."
                    )
                yield folder
                keep = folder.is_left_open
            except BaseException as error:
                keep = isinstance(error, Interrupted) or folder.is_begun
                raise
            finally:
                if not folder.is_shared or folder._held.is_left_alone():
                    if not keep:
                        store.remove(folder.working)
                    if made:
                        store.release(path)
                    elif path_is_fresh(path):
                        store.remove(path / ".lock")

    @classmethod
    @contextmanager
    def open(cls, path: Path, *, shared: bool = False) -> Iterator[RunFolder]:
        """Hold a folder to write to, whatever its recipe. Raises as ``hold``."""
        with store.naming_space(path, at_start=True):
            store.make_folder(path)
        if not path_is_fresh(path) and not is_begun(path):
            raise StaleArtifact(
                f"{path} holds files but no manifest.json: it is not a run folder. Choose "
                f"{ANOTHER}."
            )
        with ExitStack() as stack:
            with store.naming_space(path, at_start=True):
                held = stack.enter_context(store.locked(path, path, ANOTHER, shared=shared))
            for place, folders, files in os.walk(path):
                for entry in (Path(place, name) for name in (*folders, *files)):
                    if entry.is_symlink():
                        shown = printable(entry, 200)
                        raise RefusedForSafety(f"{shown} is a link; a run holds none")
            folder = cls(path, held, shared=shared)
            store.make_way(folder.working)
            yield folder

    @property
    def is_begun(self) -> bool:
        """Whether a run has written to it."""
        return is_begun(self.path)

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
        if name not in self._intact and changed_outputs(self.path, stages[name]):
            with self._changing() as stages:
                if name not in stages:
                    return False
                if not drop_damaged(self.path, stages, name):
                    self._write_manifest(stages)
                    return False
        self._intact.add(name)
        return True

    def check_all(self) -> set[str]:
        """Look at every committed stage as ``is_done`` does; give those that are done."""
        done = {name for name in read_manifest(self.path)["stages"] if self.is_done(name)}
        return done.intersection(read_manifest(self.path)["stages"])

    @contextmanager
    def claim(self, what: str) -> Iterator[Path]:
        """Hold a part of the work alone until the block ends; gives a folder for what is temporary
        of it, which goes when the block is done and stays when it is stopped.

        Raises
        ------
        InUse
            Another process that shares the folder holds it.
        """
        place = self.working / what.replace(" ", "-")
        with ExitStack() as stack:
            if self.is_shared:
                store.make_way(place)
                with store.naming_space(self.path):
                    stack.enter_context(store.locked(place, f"{self.path}: {what}", ANOTHER))
            before, self._making = self._making, place / "making"
            try:
                yield place
            finally:
                self._making = before
            if self.is_shared:
                store.empty(place)
                store.release(place)
            else:
                store.remove(place)

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
        if not self.is_begun:
            with self._changing() as stages:
                self._write_manifest(stages)  # from here on the folder is a run's
        making = self._making
        store.remove(making)
        for file, content in files.items():
            store.fill(making / file, content)
        entry = {
            "facts": {key: value for key, value in facts.items() if not _is_measured(key)},
            "measured": {key: value for key, value in facts.items() if _is_measured(key)},
            "outputs": {
                file: {"sha256": digest(making / file), "bytes": store.size(making / file)}
                for file in files
            },
        }
        with self._changing() as stages:
            for file in files:
                store.move(making / file, self.path / file)
            store.remove(making)
            stages.pop(replaces, None)
            stages[name] = entry
            self._write_manifest(stages)

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        """Give the stages of the manifest, which no other process changes until the block ends."""
        with ExitStack() as stack:
            if self.is_shared:
                place, what = self.working / "manifest", f"{self.path}/manifest.json"
                store.make_way(place)
                with store.naming_space(self.path):
                    stack.enter_context(store.locked(place, what, ANOTHER, wait=True))
            yield read_manifest(self.path)["stages"]

    def _write_manifest(self, stages: Mapping[str, Any]) -> None:
        making = self.working / "manifest" / "manifest.json"
        if not making.parent.is_dir():
            store.remove(making.parent)
        store.write_bytes(making, as_bytes(stages))
        store.move(making, self.path / "manifest.json")
        with contextlib.suppress(OSError):  # where it is not shared, and nothing else goes on
            making.parent.rmdir()
            self.working.rmdir()


def is_begun(path: Path) -> bool:
    """Say whether a run has written to a folder."""
    return any(path.glob("manifest.json*"))  # one set aside, too


@contextmanager
def waiting(
    take: Callable[[], AbstractContextManager[T]], watch: Watch, *, wait: bool = True
) -> Iterator[T]:
    """Hold what ``take`` holds, as soon as no other process does.

    Raises
    ------
    InUse
        Another process holds it, and ``wait`` is not set.
    Interrupted
        Raised by ``watch.check`` meanwhile.
    """
    with ExitStack() as stack:
        try:
            taken = stack.enter_context(take())
        except InUse as error:
            if not wait:
                raise
            with watch.progress.step("waiting", unit="") as step:
                step.note = error.args[0].partition(". Wait")[0]
                taken = _take_later(stack, take, watch)
        yield taken


def _take_later(stack: ExitStack, take: Callable[[], AbstractContextManager[T]], watch: Watch) -> T:
    while True:
        watch.check()
        time.sleep(PAUSE)
        with contextlib.suppress(InUse):
            return stack.enter_context(take())


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
