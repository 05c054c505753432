"""Where commands meet faults: a folder laid out anew for every trial, and what must be in it."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults import disk, process, scenarios, trees
from tests.faults.process import NO_FAULT, Done, Fault
from tests.faults.scenarios import Scenario


class Broken(AssertionError):
    """A claim that does not hold; says what was seen instead."""


class Void(Exception):
    """There is nothing to try here; the trial does not count."""


@dataclass(frozen=True)
class Whole:
    """A command that nothing disturbed: how it ended, and what it left."""

    done: Done
    before: trees.Tree
    tree: trees.Tree
    log: list[disk.Operation]


class Lab:
    """One folder in which trials are made, one after the other, always at the same path."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.folder = place / "trial"
        self.materials = place / "materials"
        self.kept: set[str] = set()
        """Scenarios whose finished folder is kept here."""
        self.allowed: set[str] = set()
        """Scenarios whose command ends well while it is watched."""
        self._wholes: dict[str, Whole] = {}
        process.load()
        shutil.rmtree(self.materials, ignore_errors=True)
        scenarios.make_materials(self.materials)

    def whole(self, scenario: Scenario) -> Whole:
        """Run a command undisturbed, once; what it does the second time must be the same."""
        if scenario.name not in self._wholes:
            log = self.place / "operations"
            log.unlink(missing_ok=True)
            self.lay_out(scenario)
            before = trees.tree_of(self.folder)
            done = process.learn(scenario.words, self.folder, log=log)
            if done.exit != 0:
                raise Broken(f"undisturbed: {done.brief}")
            tree = trees.tree_of(self.folder)
            operations = disk.read_log(log, self.folder)
            self._wholes[scenario.name] = Whole(done, before, tree, operations)
            self.lay_out(scenario)
            self.ends_well(scenario, "undisturbed")
        return self._wholes[scenario.name]

    def lay_out(self, scenario: Scenario) -> None:
        """Make the folder what the command finds."""
        scenarios.lay_out(scenario, self.materials, self.folder)

    def run(self, scenario: Scenario, fault: Fault = NO_FAULT) -> Done:
        """Give the command, with a fault that it is to meet."""
        return process.run(scenario.words, self.folder, fault=fault)

    def ends_well(self, scenario: Scenario, after: str) -> None:
        """Claim that the command, given again, ends well and leaves what it always leaves."""
        done = process.run(scenario.words, self.folder)
        if done.exit != 0:
            raise Broken(f"{after}, then again: {done.brief}")
        self.has(self.whole(scenario).tree, after)

    def has(self, wanted: trees.Tree, after: str) -> None:
        """Claim that the folder holds just that."""
        found = trees.differences(trees.tree_of(self.folder), wanted)
        if found:
            raise Broken(f"{after}: {'; '.join(found[:6])}")

    def is_sound(self, scenario: Scenario, after: str) -> None:
        """Claim that a disturbed command left results whole or not at all, and commits intact."""
        torn = trees.broken_commits(self.folder)
        if torn:
            raise Broken(f"{after}: {'; '.join(torn[:4])}")
        whole = self.whole(scenario)
        now = trees.tree_of(self.folder)
        for out in scenario.out:
            for name, entry in now.items():
                if (name == out or name.startswith(f"{out}/")) and entry != whole.tree.get(name):
                    raise Broken(f"{after}: {name} is there and not whole")
            inside = {name for name in whole.tree if name.startswith(f"{out}/")}
            if out in now and not inside <= now.keys():
                raise Broken(f"{after}: {out} is there and not whole")
        for name, entry in whole.before.items():
            if name not in now and name in whole.tree:
                raise Broken(f"{after}: {name} was there before and is gone")
            if entry == whole.tree.get(name) != now[name]:
                raise Broken(f"{after}: {name} was there before and is changed")


def signal_of(name: str) -> int:
    """Give the number of a signal."""
    return int(signal.Signals[name])


def check_said(done: Done, codes: Sequence[int]) -> None:
    """Claim that a command ended with one of ``codes`` and one plain message."""
    if done.exit not in codes or "Traceback" in done.said:
        raise Broken(f"expected exit {' or '.join(map(str, codes))}: {done.brief}")
