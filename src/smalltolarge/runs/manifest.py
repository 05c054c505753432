"""What a run has done: its ``manifest.json``, read, checked and written.

It names every output with its SHA-256 and is written last, so what it does not name does not exist:
nothing is inferred from a file being there.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smalltolarge.errors import IntegrityError, StaleArtifact, printable
from smalltolarge.store import changed_outputs, set_aside, write_json

log = logging.getLogger("smalltolarge")

MANIFEST_SCHEMA = 1
ANOTHER = "another folder with --run (with --out for s2l evaluate and s2l run)"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""A plain name, of a run folder or of an output."""
# A stage that is lost takes those with it that were made from its files.
_LOST_WITH = {"select": ("select", "writing", "write")}


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
                if not NAME.fullmatch(name) or not isinstance(written["sha256"], str):
                    raise ValueError(f"the output {printable(name)!r}")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise IntegrityError(f"{file} is not a manifest of ours: {error}") from error
    if schema != MANIFEST_SCHEMA:
        raise StaleArtifact(
            f"{file} has schema {printable(str(schema))}; this version reads {MANIFEST_SCHEMA}. "
            f"Use the version that wrote it, or {ANOTHER}."
        )
    return manifest


def write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    """Write a run folder's manifest."""
    write_json(path / "manifest.json", manifest)


def is_done(path: Path, name: str) -> bool:
    """Say whether a stage of the run folder ``path`` is committed and its files are as written.

    Files that have changed are set aside, and the stage and those made from it with them.
    """
    manifest = read_manifest(path)
    entry = manifest["stages"].get(name)
    if entry is None:
        return False
    changed = changed_outputs(path, entry)
    for output in changed:
        _set_aside(path, output, name)
    if changed:
        made_of_it = _LOST_WITH.get(name, (name,))
        if name == "record":
            made_of_it = tuple(stage for stage in manifest["stages"] if stage != "load")
        for lost in made_of_it:
            manifest["stages"].pop(lost, None)
        write_manifest(path, manifest)
    return not changed


def _set_aside(path: Path, output: str, stage: str) -> None:
    damaged = path / output
    if not damaged.exists():
        log.warning("%s is missing; stage %s is done again", damaged, stage)
        return
    log.warning(
        "%s is not what was written; it is set aside as %s and stage %s is done again",
        damaged,
        set_aside(damaged).name,
        stage,
    )
