"""A run's folder, held by one process at a time, in which a stage is done whole or not at all.

Its ``manifest.json`` names every output with its SHA-256 and is written last, so what the manifest
does not name does not exist: nothing is inferred from a file being there.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from smalltolarge import store
from smalltolarge.errors import (
    IntegrityError,
    Interrupted,
    RecipeError,
    RefusedForSafety,
    StaleArtifact,
    printable,
)
from smalltolarge.store import Content, changed_outputs, digest

log = logging.getLogger("smalltolarge")

MANIFEST_SCHEMA = 1
WORKING = ".working"
"""The folder of all that is temporary in a run folder."""
ANOTHER = "another folder with --run (with --out for s2l evaluate and s2l run)"
# A stage that is lost takes those with it that were made from its files.
_LOST_WITH = {"select": ("select", "writing", "write")}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


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
        if not _NAME.fullmatch(path.name):
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
                    shown = printable(str(entry), 200)
                    raise RefusedForSafety(f"{shown} is a link; a run holds none")
            yield folder

    @property
    def is_begun(self) -> bool:
        """Whether a run has written to it."""
        return (self.path / "manifest.json").exists()

    def facts(self, name: str) -> dict[str, Any] | None:
        """Give what a committed stage found and measured, whatever has become of its files."""
        entry = read_manifest(self.path)["stages"].get(name)
        return None if entry is None else {**entry["facts"], **entry.get("measured", {})}

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
            self._write_manifest(manifest)
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
            self._write_manifest(manifest)  # from here on the folder is a run's
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
        self._write_manifest(manifest)

    def write(self, files: Mapping[str, Content]) -> None:
        """Write files and folders, by name; each is there whole or not at all."""
        making = self.working / "making"
        for name, content in files.items():
            store.fill(making / name, content)
        for name in files:
            store.move(making / name, self.path / name)
        store.remove(making)
        with contextlib.suppress(OSError):
            self.working.rmdir()

    def _write_manifest(self, manifest: Mapping[str, Any]) -> None:
        self.write({"manifest.json": store.as_json(manifest)})


def _is_measured(fact: str) -> bool:
    return fact.startswith("seconds") or fact.endswith(("_per_second", "_memory_bytes"))


def path_is_fresh(path: Path) -> bool:
    """Say whether a folder holds nothing, or only what a run that never began left."""
    return all(entry.name in (".lock", WORKING) for entry in path.iterdir())


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a run folder's manifest; an empty one when there is none.

    Raises
    ------
    IntegrityError
        It is not a manifest, or names anything but plain files and targets of its folder.
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
                plain = _NAME.fullmatch(name.removeprefix("targets/"))
                if not plain or not isinstance(written["sha256"], str):
                    raise ValueError(f"the output {printable(name)!r}")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise IntegrityError(f"{file} is not a manifest of ours: {error}") from error
    if schema != MANIFEST_SCHEMA:
        raise StaleArtifact(
            f"{file} has schema {printable(str(schema))}; this version reads {MANIFEST_SCHEMA}. "
            f"Use the version that wrote it, or {ANOTHER}."
        )
    return manifest


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


def kept_losses(path: Path) -> str:
    """Say how to use the losses that a run recorded; nothing when it has none."""
    if "record" not in read_manifest(path)["stages"]:
        return ""
    return f" Its losses can be used again: --trajectories {path}/trajectories.parquet"


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
