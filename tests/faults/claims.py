"""What must hold when a command is killed, stopped, or let down by its disk.

A trial is CAMPAIGN/SCENARIO/DETAIL, for example ``kill/record/17``. Each campaign here is a
function that makes one trial and raises ``Broken``, and one that lists details to try.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random

from tests.faults import disk, process
from tests.faults.lab import Broken, Lab, check_said, signal_of
from tests.faults.process import Fault
from tests.faults.scenarios import SCENARIOS, Scenario

DISK = (
    "ENOSPC-once", "ENOSPC-on", "EDQUOT-on", "EIO-once", "EIO-on", "EROFS-on", "short",
)  # fmt: skip
STOPS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1")
Measured = dict[str, float]


@dataclass(frozen=True)
class Campaign:
    """One kind of fault: what is claimed, how one trial is made, and which ones there are."""

    claim: str
    make: Callable[[Lab, Scenario, str], Measured | None]
    details: Callable[[Lab, Scenario, Random], Iterable[str]]
    """In the order in which they are tried; may be endless."""
    scenarios: Sequence[str] = tuple(SCENARIOS)


def _operations(lab: Lab, scenario: Scenario) -> int:
    return lab.whole(scenario).done.operations


def _in_any_order(lab: Lab, scenario: Scenario, draw: Random) -> list[int]:
    points = list(range(1, _operations(lab, scenario) + 1))
    draw.shuffle(points)
    return points


def _kill(lab: Lab, scenario: Scenario, detail: str) -> None:
    """One or more kills, each during the command that follows the kill before."""
    lab.lay_out(scenario)
    for part in detail.split("+"):
        kind, at = part.split("@")
        done = lab.run(scenario, Fault.parse(kind, int(at)))
        if done.exit not in (-9, 0):
            raise Broken(f"{part}: {done.brief}")
        lab.is_sound(scenario, part)
    lab.ends_well(scenario, detail)


def _kill_details(lab: Lab, scenario: Scenario, draw: Random) -> Iterable[str]:
    writes = {k for k, one in enumerate(lab.whole(scenario).log, 1) if one.what == "write"}
    for at in _in_any_order(lab, scenario, draw):
        yield f"kill@{at}"
        if at in writes:
            yield f"torn@{at}"


def _left_details(lab: Lab, scenario: Scenario, draw: Random) -> Iterable[str]:
    """Every state of the folder that a kill can leave, once: killed@17x3 is left by 3 kills."""
    whole = lab.whole(scenario)
    lab.lay_out(scenario)
    replayed = disk.Disk(lab.folder, disk.KILLED)
    found = [f"{disk.KILLED}@{ks[0]}x{len(ks)}" for ks, _ in disk.images(replayed, whole.log)]
    shutil.rmtree(lab.folder)
    lab.folder.mkdir()
    disk.write_image(replayed.image(), lab.folder)
    lab.has(whole.tree, "all operations replayed")
    draw.shuffle(found)
    return found


def _parts(detail: str) -> tuple[str, int, int]:
    model, _, at = detail.partition("@")
    at, _, times = at.partition("x")
    return model, int(at), int(times or 1)


def kills(trial: str) -> int:
    """Count the moments of a kill that a trial stands for."""
    campaign, _, detail = trial.split("/", 2)
    return _parts(detail)[2] if campaign == "left" else detail.count("@")


def _double_details(lab: Lab, scenario: Scenario, draw: Random) -> Iterable[str]:
    most = _operations(lab, scenario)
    while most:
        yield "+".join(
            f"{draw.choice(('kill', 'kill', 'torn'))}@{draw.randint(1, most)}" for _ in range(2)
        )


def _fail(lab: Lab, scenario: Scenario, detail: str) -> None:
    """A disk that fails, once or from then on, and is well again for the next command."""
    kind, at = detail.split("@")
    lab.lay_out(scenario)
    done = lab.run(scenario, Fault.parse(kind, int(at)))
    check_said(done, [0, 2, 6])
    if kind == "short" and done.exit != 0:
        raise Broken(f"a write of a half is gone on with: {done.brief}")
    if done.exit and not any(name in done.said for name in lab.whole(scenario).tree):
        raise Broken(f"no path is named: {done.brief}")
    lab.is_sound(scenario, detail)
    if done.exit == 2 and any(lab.folder.rglob("manifest.json")):
        raise Broken(f"exit 2, though something had begun: {done.brief}")
    lab.ends_well(scenario, f"{detail} ({done.brief})" if done.exit else detail)


def _fail_details(lab: Lab, scenario: Scenario, draw: Random) -> Iterable[str]:
    for at in _in_any_order(lab, scenario, draw):
        for kind in draw.sample(DISK, len(DISK)):
            yield f"{kind}@{at}"


def _replay(lab: Lab, scenario: Scenario, detail: str) -> None:
    """The command is killed after the k-th operation, or power is lost; it is given again."""
    model, at, _ = _parts(detail)
    log = lab.whole(scenario).log
    lab.lay_out(scenario)
    lost = disk.Disk(lab.folder, model)
    for operation in log[:at]:
        lost.do(operation)
    shutil.rmtree(lab.folder)
    lab.folder.mkdir()
    disk.write_image(lost.image(), lab.folder)
    lab.is_sound(scenario, detail)
    lab.ends_well(scenario, detail)


def _power_details(lab: Lab, scenario: Scenario, draw: Random) -> Iterable[str]:
    log = lab.whole(scenario).log
    lab.lay_out(scenario)
    found = [
        f"{model}@{ks[0]}"
        for model in disk.MODELS
        for ks, _ in disk.images(disk.Disk(lab.folder, model), log)
    ]
    draw.shuffle(found)
    return found


def _stop(lab: Lab, scenario: Scenario, detail: str) -> Measured:
    """Signals at times: SIGTERM@0.31, SIGTERM@0.31+SIGINT@0.02 (after the first)."""
    lab.lay_out(scenario)
    parts = [part.split("@") for part in detail.split("+")]
    signals = [(float(after), signal_of(name)) for name, after in parts]
    began = time.monotonic()
    done = process.run(scenario.words, lab.folder, signals=signals)
    took = time.monotonic() - began - sum(after for after, _ in signals)
    number = signals[-1][1]
    allowed: list[int | str] = [0, 75] if parts[0][0] != "SIGKILL" else [0, -9]
    if len(parts) > 1 or signals[0][0] < 0.1:  # at once, or before the command could listen
        allowed += [-number, -signals[0][1], 128 + number, 128 + signals[0][1]]
    if done.exit not in allowed or "Traceback" in done.said:
        raise Broken(f"expected exit {allowed}: {done.brief}")
    if done.exit == 75 and not ("again" in done.said or "To go on:" in done.said):
        raise Broken(f"it does not say how to go on: {done.brief}")
    lab.is_sound(scenario, detail)
    lab.ends_well(scenario, detail)
    return {"latency": max(0.0, took)} if done.exit != 0 else {}


def _times(*names: str) -> Callable[[Lab, Scenario, Random], Iterable[str]]:
    def details(lab: Lab, scenario: Scenario, draw: Random) -> Iterable[str]:
        seconds = lab.whole(scenario).done.seconds
        while True:
            yield f"{draw.choice(names)}@{draw.uniform(0, 1.1 * seconds):.4f}"

    return details


def _two_times(lab: Lab, scenario: Scenario, draw: Random) -> Iterable[str]:
    for first in _times(*STOPS)(lab, scenario, draw):
        yield f"{first}+{draw.choice(STOPS)}@{draw.uniform(0.0, 0.1):.4f}"


def _training_details(lab: Lab, scenario: Scenario, draw: Random) -> Iterable[str]:
    """Kills while the proxy trains: at operations between the first state and the losses."""
    log = lab.whole(scenario).log
    states = [k for k, one in enumerate(log, 1) if "/proxy" in one.path or "working" in one.path]
    while states:
        yield f"{draw.choice(('kill', 'torn'))}@{draw.choice(states)}"


_WRITING = tuple(name for name in SCENARIOS if name != "verify")
_PROXY = ("record", "record-long", "select-proxy", "select-facility")
CAMPAIGNS: dict[str, Campaign] = {
    "kill": Campaign(
        "killed before an operation, or in the middle of a write", _kill, _kill_details, _WRITING
    ),
    "left": Campaign(
        "killed after an operation: every state that is left", _replay, _left_details, _WRITING
    ),
    "double": Campaign("killed, and killed again while going on", _kill, _double_details, _WRITING),
    "training": Campaign("killed while the proxy trains", _kill, _training_details, _PROXY),
    "fail": Campaign("a disk that is full, fails or writes short", _fail, _fail_details, _WRITING),
    "power": Campaign("power lost after an operation", _replay, _power_details, _WRITING),
    "random": Campaign("SIGKILL at a random time", _stop, _times("SIGKILL")),
    "stop": Campaign("a signal at a random time", _stop, _times(*STOPS)),
    "stop-twice": Campaign("a second signal soon after the first", _stop, _two_times),
}
