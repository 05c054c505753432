"""What must hold when a file that a run keeps is changed, by a disk or by a hand."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from tests.faults import process, trees
from tests.faults.claims import Campaign
from tests.faults.lab import Broken, Lab, Void, check_said
from tests.faults.process import Done, Fault
from tests.faults.scenarios import Scenario

REFUSED = (2, 3, 4, 5, 7)
_ASIDE = re.compile(r"\.(damaged|corrupt)")
RUNS = (
    "select-random", "select-given", "select-proxy", "select-facility", "select-folder", "record",
    "train", "run", "run-keep", "evaluate",
)  # fmt: skip
_READS = {
    "inspect": ["inspect", "runs/subset"],
    "export": ["export", "subset.jsonl", "--to", "trl", "--model", "microsoft/phi-2"],
    "again": ["select", "data.jsonl", "--budget", "12", "--clusters", "4", "--out", "more.jsonl",
              "--trajectories", "runs/subset/trajectories.parquet"],
}  # fmt: skip
_DAMAGES = ("flip", "cut", "zero", "append", "delete", "swap")


def _damage(folder: Path, detail: str) -> str:
    """Change one file: HOW:PLACE:FILE, where PLACE is a share of its size; gives its name."""
    how, share, name = detail.split(":", 2)
    file = folder / name
    content = bytearray(file.read_bytes())
    place = int(float(share) * max(len(content) - 1, 0))
    if how == "delete" or not content:
        file.unlink()
    elif how == "swap":
        others = sorted(one for one in file.parent.iterdir() if one.is_file() and one != file)
        other = others[int(float(share) * len(others))] if others else file
        content = bytearray(other.read_bytes())
        other.write_bytes(file.read_bytes())
        file.write_bytes(content)
    else:
        if how == "flip":
            content[place] ^= 1 << (place % 8)
        elif how == "cut":
            del content[place:]
        elif how == "zero":
            content[place : place + 512] = bytes(len(content[place : place + 512]))
        else:
            content += b"\0"
        file.write_bytes(content)
    return name


def _files(folder: Path, scenario: Scenario) -> list[str]:
    """List what a run keeps: in its folder, and its results."""
    kept = [folder / str(scenario.run), *(folder / out for out in scenario.out)]
    found = [one for entry in kept for one in ([entry] if entry.is_file() else entry.rglob("*"))]
    return sorted(
        one.relative_to(folder).as_posix() for one in found if one.is_file() and one.name != ".lock"
    )


def finish(lab: Lab, scenario: Scenario) -> None:
    """Lay out what a finished run leaves."""
    lab.whole(scenario)
    kept = lab.place / "finished" / scenario.name
    if not kept.exists() or scenario.name not in lab.kept:
        lab.lay_out(scenario)
        done = lab.run(scenario)
        if done.exit != 0:
            raise Broken(f"undisturbed: {done.brief}")
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(lab.folder, kept)
        lab.kept.add(scenario.name)
    shutil.rmtree(lab.folder, ignore_errors=True)
    shutil.copytree(kept, lab.folder)


def _is_whole(lab: Lab, scenario: Scenario) -> list[str]:
    """List in what the folder is other than a finished run's, and its files that were set aside."""
    now = trees.tree_of(lab.folder)
    kept = {name: entry for name, entry in now.items() if not _ASIDE.search(name)}
    return trees.differences(kept, lab.whole(scenario).tree)


def _finished_and_damaged(lab: Lab, scenario: Scenario, detail: str) -> None:
    """``verify`` and the same command each notice; the command makes it again, or refuses."""
    for command in ("verify", "again"):
        finish(lab, scenario)
        name = _damage(lab.folder, detail)
        if not _is_whole(lab, scenario):
            raise Void  # what was changed is a measured value, or nothing
        if command == "verify":
            done = process.run(["verify", str(scenario.run)], lab.folder)
            check_said(done, REFUSED)
            continue
        _goes_on(lab, scenario, lab.run(scenario), name)


def _goes_on(lab: Lab, scenario: Scenario, done: Done, name: str) -> None:
    """Claim that a command over damage made good what it says it made, or said that it cannot."""
    check_said(done, (0, *REFUSED))
    other = _is_whole(lab, scenario) if done.exit == 0 else []
    if other:
        raise Broken(f"exit 0 over a damaged {name}: {'; '.join(other[:4])}: {done.brief}")


def _half_and_damaged(lab: Lab, scenario: Scenario, detail: str) -> None:
    """A run is killed, a file it kept is changed, and the command is given again."""
    at, _, damage = detail.partition(":")
    lab.lay_out(scenario)
    lab.run(scenario, Fault("kill", int(at)))
    if not (lab.folder / damage.split(":", 2)[2]).is_file():
        raise Void
    name = _damage(lab.folder, damage)
    _goes_on(lab, scenario, lab.run(scenario), name)


def _read(lab: Lab, scenario: Scenario, detail: str) -> None:
    """A command that reads a damaged run refuses, or prints and writes what it always does."""
    command, _, damage = detail.partition(":")
    wanted = _said_by(lab, scenario, command)
    finish(lab, scenario)
    name = _damage(lab.folder, damage)
    done = process.run(_READS[command], lab.folder)
    check_said(done, (0, *REFUSED))
    now = _untimed(done.said), _written(trees.tree_of(lab.folder), name)
    if done.exit == 0 and now != wanted:
        raise Broken(f"{command} with a damaged {name} says or writes something else: {done.brief}")


def _said_by(lab: Lab, scenario: Scenario, command: str) -> tuple[str, trees.Tree]:
    finish(lab, scenario)
    done = process.run(_READS[command], lab.folder)
    if done.exit != 0:
        raise Broken(f"{command}: {done.brief}")
    return _untimed(done.said), _written(trees.tree_of(lab.folder), "")


def _untimed(said: str) -> str:
    return "\n".join(line for line in said.splitlines() if not line.startswith("Time "))


def _written(tree: trees.Tree, damaged: str) -> trees.Tree:
    """Give what is written beside runs, other than what was damaged."""
    return {
        name: entry
        for name, entry in tree.items()
        if not name.startswith("runs") and name not in (damaged, "subset.jsonl")
    }


def _finished_details(lab: Lab, scenario: Scenario, draw: Random) -> Iterator[str]:
    finish(lab, scenario)
    files = _files(lab.folder, scenario)
    for how in _DAMAGES:
        for file in draw.sample(files, len(files)):
            yield f"{how}:{draw.random():.4f}:{file}"
    while files:
        how = draw.choice(("flip", "flip", "cut", "zero"))
        yield f"{how}:{draw.random():.6f}:{draw.choice(files)}"


def _half_details(lab: Lab, scenario: Scenario, draw: Random) -> Iterator[str]:
    """Kills, and files that are there for a while after the k-th operation."""
    log = lab.whole(scenario).log
    born: dict[str, int] = {}
    for k, one in enumerate(log, 1):
        born.setdefault(one.second if one.what in ("rename", "link") else one.path, k)
    kept = {
        name: k
        for name, k in born.items()
        if name.startswith(f"{scenario.run}/") and not name.endswith((".s2l-part", ".lock"))
    }
    while kept:
        name = draw.choice(sorted(kept))
        at = min(len(log), kept[name] + 1 + int(draw.random() ** 2 * (len(log) - kept[name])))
        yield f"{at}:{draw.choice(_DAMAGES)}:{draw.random():.4f}:{name}"


def _read_details(lab: Lab, scenario: Scenario, draw: Random) -> Iterator[str]:
    for detail in _finished_details(lab, scenario, draw):
        yield f"{draw.choice(list(_READS))}:{detail}"


# The values of a manifest

OTHER: dict[str, Any] = {
    "null": None, "zero": 0, "minus": -1, "huge": 10**400, "float": 1e308, "true": True,
    "empty": "", "text": "other", "up": "../../outside/secret", "device": "/dev/zero",
    "escape": "\x1b[31m", "list": [], "mapping": {}, "deep": "DEEP", "removed": "REMOVED",
}  # fmt: skip


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Give the way to every value of a manifest."""
    inner: Iterable[tuple[str | int, Any]] = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    for key, under in inner:
        yield (*path, key)
        yield from places(under, (*path, key))


def at(value: Any, path: Iterable[str | int]) -> Any:
    """Give what is at a place of a manifest."""
    for key in path:
        value = value[key]
    return value


def _change_value(lab: Lab, scenario: Scenario, detail: str) -> None:
    """A value of the manifest is changed, retyped or removed: noticed, and nothing is a crash."""
    how, _, place = detail.partition(":")
    for command in ("verify", "again"):
        finish(lab, scenario)
        file = lab.folder / str(scenario.run) / "manifest.json"
        manifest = json.loads(file.read_bytes())
        path = list(places(manifest))[int(place)]
        holder = at(manifest, path[:-1])
        if how == "removed":
            del holder[path[-1]]
        else:
            holder[path[-1]] = OTHER[how]
        text = json.dumps(manifest, indent=2, sort_keys=True)
        file.write_text(text.replace('"DEEP"', "[" * 3000 + "]" * 3000))
        if not _is_whole(lab, scenario):
            raise Void
        if command == "verify":
            done = process.run(["verify", str(scenario.run)], lab.folder)
            check_said(done, REFUSED)
        else:
            _goes_on(lab, scenario, lab.run(scenario), "/".join(map(str, path)))


def _value_details(lab: Lab, scenario: Scenario, draw: Random) -> Iterator[str]:
    finish(lab, scenario)
    manifest = json.loads((lab.folder / str(scenario.run) / "manifest.json").read_bytes())
    found = [f"{how}:{place}" for place in range(len(list(places(manifest)))) for how in OTHER]
    draw.shuffle(found)
    yield from found


CAMPAIGNS = {
    "damage": Campaign(
        "a file of a finished run is changed", _finished_and_damaged, _finished_details, RUNS
    ),
    "damage-half": Campaign(
        "a file of an unfinished run is changed", _half_and_damaged, _half_details, RUNS
    ),
    "damage-read": Campaign(
        "a damaged run is read by another command", _read, _read_details, ["select-proxy"]
    ),
    "manifest": Campaign(
        "a value of a manifest is changed, retyped, removed", _change_value, _value_details, RUNS
    ),
}
