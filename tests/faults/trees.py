"""What a folder holds, and in what two of them differ, measured values aside."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_MEASURED = re.compile(r"^measured$|second|^peak_memory")
Tree = Mapping[str, str]
"""Path of every entry in a folder, and what it is: a digest of a file, or its kind."""


def tree_of(folder: Path) -> dict[str, str]:
    """Give every entry of a folder, with a digest of what must be the same in all runs."""
    found = {}
    for place, folders, files in os.walk(folder):
        for name in folders:
            entry = Path(place, name)
            kind = f"link to {os.readlink(entry)}" if entry.is_symlink() else "folder"
            found[entry.relative_to(folder).as_posix()] = kind
        for name in files:
            entry = Path(place, name)
            found[entry.relative_to(folder).as_posix()] = _entry(entry)
    return found


def differences(tree: Tree, wanted: Tree) -> list[str]:
    """List in what a folder is not as it should be."""
    lines = [f"{name} is left over" for name in sorted(tree.keys() - wanted.keys())]
    lines += [f"{name} is missing" for name in sorted(wanted.keys() - tree.keys())]
    both = sorted(tree.keys() & wanted.keys())
    lines += [f"{name} is other" for name in both if tree[name] != wanted[name]]
    return lines


def broken_commits(folder: Path) -> list[str]:
    """List the outputs that a manifest in a folder names and that are not what it says."""
    lines = []
    for file in folder.rglob("manifest.json"):
        if any(part.startswith(".") for part in file.relative_to(folder).parts):
            continue  # it is being written
        try:
            stages = json.loads(file.read_bytes())["stages"]
        except ValueError:
            lines.append(f"{file.relative_to(folder)} is torn")
            continue
        for stage, entry in stages.items():
            for name, written in entry["outputs"].items():
                output = file.parent / name
                if output.is_dir():
                    continue
                if not output.is_file() or _digest(output.read_bytes()) != written["sha256"]:
                    lines.append(f"{output.relative_to(folder)} of the committed stage {stage}")
    return lines


def _entry(path: Path) -> str:
    if path.is_symlink():
        return f"link to {os.readlink(path)}"
    if not path.is_file():
        return "neither file nor folder"
    if path.name == ".lock":
        return "lock"  # it names the process that held it
    content = path.read_bytes()
    try:
        if path.name in ("manifest.json", "table.json") or path.name.startswith("arm-"):
            content = json.dumps(_unmeasured(json.loads(content)), sort_keys=True).encode()
        elif path.name == "table.csv":
            content = _untimed(content)
        elif path.name == "table.md":
            content = re.sub(rb"[\d.,\s-]+", b" ", content)
    except (ValueError, RecursionError):  # it is damaged
        pass
    return _digest(content)


def _unmeasured(value: Any) -> Any:
    """Leave out of a manifest or table what was measured, and digests of files with such values."""
    if isinstance(value, dict):
        return {
            key: _unmeasured(inner)
            for key, inner in value.items()
            if not _MEASURED.search(key)
            and not (key.startswith(("table.", "arm-")) and "sha256" in str(inner))
        }
    return [_unmeasured(inner) for inner in value] if isinstance(value, list) else value


def _untimed(content: bytes) -> bytes:
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    kept = [{key: cell for key, cell in row.items() if not _MEASURED.search(key)} for row in rows]
    return json.dumps(kept).encode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
