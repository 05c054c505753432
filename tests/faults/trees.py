"""What a folder holds, and in what two of them differ, measured values aside."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_TABLES = ("table.json", "table.csv", "table.md")
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
        if path.name == "manifest.json":
            content = json.dumps(_unmeasured(json.loads(content)), sort_keys=True).encode()
        elif path.name == "table.json":
            content = json.dumps(_untimed(json.loads(content)), sort_keys=True).encode()
        elif path.name == "table.csv":
            rows = csv.DictReader(io.StringIO(content.decode()))
            content = json.dumps([_untimed(row) for row in rows]).encode()
        elif path.name == "table.md":
            content = "\n".join(_without_times(content.decode())).encode()
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):  # it is damaged
        pass
    return _digest(content)


def _unmeasured(manifest: Any) -> Any:
    """Leave out what was measured, and in a comparison the digests of its tables of times."""
    if not isinstance(manifest, dict) or not isinstance(manifest.get("stages"), dict):
        return manifest
    kept = {key: value for key, value in manifest.items() if key != "sha256_measured"}
    kept["stages"] = {}
    for name, stage in manifest["stages"].items():
        outputs = stage["outputs"]
        if "table.csv" in outputs:
            kept.pop("sha256", None)
            outputs = {output: None if output in _TABLES else outputs[output] for output in outputs}
        kept["stages"][name] = {**stage, "measured": sorted(stage["measured"]), "outputs": outputs}
    return kept


def _untimed(value: Any) -> Any:
    """Leave times out of a table."""
    if isinstance(value, dict):
        return {key: _untimed(inner) for key, inner in value.items() if "seconds" not in key}
    return [_untimed(inner) for inner in value] if isinstance(value, list) else value


def _without_times(markdown: str) -> Iterator[str]:
    """Give the lines of a table in Markdown without its columns of times."""
    heads: list[str] = []
    for line in markdown.splitlines():
        if line.startswith("|"):
            cells = [cell.strip() for cell in line.split("|")]
            heads = heads or cells
            yield "|".join(
                cell.strip("-:") if set(cell) <= {"-", ":"} else cell
                for head, cell in zip(heads, cells, strict=False)
                if "seconds" not in head
            )
        else:
            heads = []
            yield re.sub(r"FLOPs and [\d,]+ s", "FLOPs and ... s", line)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
