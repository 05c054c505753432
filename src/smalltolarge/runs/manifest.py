"""What a run has done: its ``manifest.json``, read, checked and written.

It names every output with its SHA-256 and is written last, so what it does not name does not exist:
nothing is inferred from a file being there.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from smalltolarge.errors import IntegrityError, StaleArtifact, printable
from smalltolarge.runs.shapes import FACTS, STAGE, check_shape
from smalltolarge.store import as_json, changed_outputs, open_file, set_aside

log = logging.getLogger("smalltolarge")

MANIFEST_SCHEMA = 2
ANOTHER = "another folder with --run (with --out for s2l evaluate and s2l run)"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""A plain name, of a run folder or of an output."""
_LARGEST = 2**28  # bytes
_OURS = {b"outputs", b"sha256_measured"}
# A stage that is lost takes those with it that were made from its files; "load" stays, as it says
# what the run is, and its files are made again.
_LOST_WITH = {"load": (), "select": ("select", "writing", "write")}


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a run folder's manifest, its ``schema`` and ``stages``; an empty one if there is none.

    Raises
    ------
    IntegrityError
        It is not what was written, or no manifest, or names files outside its folder.
    StaleArtifact
        It comes from another version.
    """
    file = path / "manifest.json"
    if not os.path.lexists(file):
        return {"schema": MANIFEST_SCHEMA, "stages": {}}
    try:
        with open_file(file) as content:
            raw = content.read(_LARGEST + 1)
        if len(raw) > _LARGEST:
            raise ValueError(f"it has more than {_LARGEST:,} bytes")
        manifest = json.loads(raw)
        check_shape(manifest, {"schema": int}, "it")
        if manifest["schema"] != MANIFEST_SCHEMA:
            raise StaleArtifact(
                f"{file} has schema {manifest['schema']}; this version reads {MANIFEST_SCHEMA}. "
                f"Use the version that wrote it, or {ANOTHER}.{kept_losses(path)}"
            )
        check_shape(manifest, {"stages": {str: STAGE}}, "it")
        if as_json(manifest) != raw or manifest != _sealed(manifest["stages"]):
            raise ValueError("it is not what was written")
        for name, stage in manifest["stages"].items():
            known = {fact: FACTS[fact] for fact in stage["facts"] if fact in FACTS}
            check_shape(stage["facts"], known, f"stage {printable(name)}")
            for output in stage["outputs"]:
                if not NAME.fullmatch(output.removeprefix("targets/")):
                    raise ValueError(f"it names the output {printable(output)!r}")
    except (IntegrityError, ValueError, OSError, RecursionError) as error:
        raise IntegrityError(
            f"{file} cannot be used: {error}. Move it away to begin the run again in this folder, "
            f"or choose {ANOTHER}.{kept_losses(path)}"
        ) from error
    return {"schema": MANIFEST_SCHEMA, "stages": manifest["stages"]}


class Facts(dict[str, Any]):
    """What a stage found and measured; asked for a fact that is not there, it says so."""

    def __init__(self, path: Path, entry: Mapping[str, Any]) -> None:
        super().__init__({**entry["facts"], **entry["measured"]})
        self.path = path

    def __missing__(self, name: str) -> Any:
        raise IntegrityError(f"{self.path}/manifest.json is not whole: it has no {name!r}")


def recipe_of(path: Path) -> Mapping[str, Any] | None:
    """Give the recipe of the run that began in a folder, as plain data; None where none did.

    Raises as ``read_manifest``.
    """
    entry = read_manifest(path)["stages"].get("load")
    return None if entry is None else cast("Mapping[str, Any]", Facts(path, entry)["recipe"])


def begin_again(path: Path, error: IntegrityError) -> None:
    """Set a damaged manifest of a run aside, aloud, so that the run begins again.

    Raises
    ------
    IntegrityError
        It is ``error``: the file may be another's.
    """
    file = path / "manifest.json"
    if file.is_symlink() or not file.is_file() or not _OURS & set(file.read_bytes().split(b'"')):
        raise error
    log.warning(
        "%s is not what was written; it is set aside as %s and the run begins again.%s",
        file,
        set_aside(file).name,
        kept_losses(path),
    )


def as_bytes(stages: Mapping[str, Any]) -> bytes:
    """Give the content of a manifest, closed by digests of it."""
    return as_json(_sealed(stages))


def _sealed(stages: Mapping[str, Any]) -> dict[str, Any]:
    """Give a manifest with two digests: of all that is not measured, and of what is."""
    measured = {name: entry["measured"] for name, entry in stages.items()}
    lasting = {
        name: {part: value for part, value in entry.items() if part != "measured"}
        for name, entry in stages.items()
    }
    return {
        "schema": MANIFEST_SCHEMA,
        "stages": dict(stages),
        "sha256": _digest({"schema": MANIFEST_SCHEMA, "stages": lasting}),
        "sha256_measured": _digest(measured),
    }


def _digest(plain: object) -> str:
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def kept_losses(path: Path) -> str:
    """Say how to use the losses that a run recorded; nothing when it has none."""
    if not (path / "trajectories.parquet").is_file():
        return ""
    return f" Its losses can be used again: --trajectories {path}/trajectories.parquet"


def drop_damaged(path: Path, stages: dict[str, Any], name: str) -> bool:
    """Look at the files of a stage; set those aside, aloud, that are not as written, and drop the
    stage from ``stages``, and those made from it with it. Says whether all are as written.
    """
    changed = changed_outputs(path, stages[name])
    for output in changed:
        _set_aside(path, output, name)
    if changed:
        made_of_it = _LOST_WITH.get(name, (name,))
        if name.startswith("record"):  # the end names the seed of the proxy, where it has its own
            end = name.removeprefix("record")
            made_of_it = tuple(
                stage
                for stage in stages
                if stage == "table" or (stage.endswith(end) and stage != "load")
            )
        for lost in made_of_it:
            stages.pop(lost, None)
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
