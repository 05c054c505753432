"""What must hold when one of several processes of a recording is killed, stopped or signalled.

A trial is SIZE:RANK:FAULT>NEXT, for example ``2:1:SIGKILL@0.31>4``: two processes record, rank 1 is
killed after 0.31 s, and the command goes on in four. A fault is a signal at a time; a kill at an
operation (``kill@17``, of rank 0, which alone writes); ``late@1.5``, a start so many seconds after
the others; or ``data@0``, other rows than the others have.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from random import Random

from torch.distributed import TCPStore

from tests.faults import process
from tests.faults.claims import STOPS, Campaign, Measured
from tests.faults.lab import Broken, Lab, signal_of
from tests.faults.process import NO_FAULT, Done, Fault
from tests.faults.scenarios import Scenario

SIZES = (1, 2, 2, 4)
"""Numbers of processes; all leave the bytes that one leaves."""
KINDS = ("SIGKILL", "SIGKILL", "operation", *STOPS[:2], "SIGSTOP", "late", "data")
"""Faults, those more than once that come more often."""
SILENCE = 3.0
"""Seconds for which a process may say nothing, where one is stopped."""
MEETING = 20.0
"""Seconds for which the others wait for a process that may be gone before they meet."""
NOTICED = 30.0
"""Seconds in which the others must end, once one is gone or has said nothing for that long."""
_OTHER_ROWS = "held-out.jsonl"


def _record(lab: Lab, scenario: Scenario, size: int, rank: int = 0, fault: str = "") -> list[Done]:
    """Record in so many processes, of which one meets a fault; give how each ended."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    what, _, at = fault.partition("@")
    patience = SILENCE if what == "SIGSTOP" else MEETING
    words = [*scenario.words, "--rank-timeout", str(patience)]
    forks, files = [], [lab.place / f"rank-{number}.said" for number in range(size)]
    for number, file in enumerate(files):
        mine = what if number == rank else ""
        armed = Fault.parse(mine, int(at)) if mine in ("kill", "torn") else NO_FAULT
        given = [_OTHER_ROWS if mine == "data" and word == words[1] else word for word in words]
        late = float(at) if mine == "late" else 0.0
        before = _as_rank(number, size, store.port, late)
        forks.append(process.fork(given, lab.folder, file, armed, before=before))
    if what.startswith("SIG"):
        time.sleep(float(at))
        os.kill(forks[rank], signal_of(what))
    began = time.monotonic()
    ends: dict[int, tuple[int | str, float]] = {}
    for number in sorted(range(size), key=lambda one: one == rank):  # that one last
        if number == rank and what == "SIGSTOP":
            os.kill(forks[rank], signal.SIGKILL)
        exit = process.wait(forks[number], began + process.SECONDS)
        ends[number] = exit, time.monotonic() - began
    said = [file.read_text(errors="replace") for file in files]
    return [Done(ends[one][0], said[one], 0, ends[one][1]) for one in range(size)]


def _as_rank(rank: int, size: int, port: int, late: float) -> Callable[[], None]:
    def before() -> None:
        time.sleep(late)
        numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_PORT": port}
        os.environ.update({name: str(number) for name, number in numbers.items()})
        os.environ.update(MASTER_ADDR="127.0.0.1", TORCHELASTIC_USE_AGENT_STORE="True")

    return before


def _ends_well(lab: Lab, scenario: Scenario, size: int, after: str) -> None:
    for rank, done in enumerate(_record(lab, scenario, size)):
        if done.exit != 0:
            raise Broken(f"{after}, then {size} processes, rank {rank}: {done.brief}")
    lab.has(lab.whole(scenario).tree, after)


def _make(lab: Lab, scenario: Scenario, detail: str) -> Measured:
    first, following = detail.split(">")
    size, rank, fault = first.split(":")
    what = fault.partition("@")[0]
    lab.lay_out(scenario)
    (lab.folder / _OTHER_ROWS).write_bytes((lab.materials / _OTHER_ROWS).read_bytes())
    ends = _record(lab, scenario, int(size), int(rank), fault)
    (lab.folder / _OTHER_ROWS).unlink()
    others = [done for number, done in enumerate(ends) if number != int(rank)]
    _check(what, rank, ends[int(rank)], others)
    lab.is_sound(scenario, detail)
    _ends_well(lab, scenario, int(following), detail)
    took = max(done.seconds for done in others)
    return {"latency": took} if what in ("SIGKILL", *STOPS) and others[0].exit else {}


def _check(what: str, rank: str, faulty: Done, others: list[Done]) -> None:
    """Claim that all end soon, none with a traceback, and that it is said who ended them."""
    ends = f"{faulty.brief} | {' | '.join(done.brief for done in others)}"
    said = "".join(done.said for done in (faulty, *others))
    allowed = {"late": [0], "data": [3]}.get(what, [0, 75])
    by = signal_of(what) if what in ("SIGKILL", *STOPS) else signal.SIGKILL
    has_met = "do not meet" not in said
    codes = allowed if has_met else [*allowed, 2]
    if any(done.exit not in codes for done in others) or "Traceback" in said:
        raise Broken(f"the others must end with {codes}: {ends}")
    if faulty.exit not in [*codes, -by, 128 + by]:
        raise Broken(f"expected exit {codes} or {-by}: {ends}")
    if faulty.exit == -by and has_met and any(done.exit for done in others):
        how = f"said nothing for {SILENCE:g} s" if what == "SIGSTOP" else "ended"
        if f"rank {rank}" not in said or how not in said:
            raise Broken(f"it is not said that rank {rank} {how}: {ends}")
    most = NOTICED + (SILENCE if has_met else MEETING)
    if max(done.seconds for done in others) > most and what != "late":
        raise Broken(f"{others[0].seconds:.0f} s until the others ended: {ends}")


def _details(lab: Lab, scenario: Scenario, draw: Random) -> Iterable[str]:
    operations = lab.whole(scenario).done.operations
    seconds = {}
    for size in sorted(set(SIZES)):
        lab.lay_out(scenario)
        began = time.monotonic()
        _ends_well(lab, scenario, size, "undisturbed")
        seconds[size] = time.monotonic() - began
    while True:
        size = draw.choice(SIZES[1:])
        rank = draw.randrange(size)
        kind = draw.choice(KINDS)
        if kind == "operation":
            rank, fault = 0, f"{draw.choice(('kill', 'torn'))}@{draw.randint(1, operations)}"
        elif kind == "data":
            rank, fault = max(rank, 1), "data@0"
        elif kind == "late":
            fault = f"late@{draw.uniform(0, 2):.4f}"
        else:
            fault = f"{kind}@{draw.uniform(0, seconds[size]):.4f}"
        yield f"{size}:{rank}:{fault}>{draw.choice(SIZES)}"


CAMPAIGNS: dict[str, Campaign] = {
    "ranks": Campaign(
        "one of several processes of a recording is killed, stopped, signalled, late, or has other "
        "rows",
        _make, _details, ("record", "record-long"),
    ),
}  # fmt: skip
