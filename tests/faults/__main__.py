"""``python -m tests.faults``: trials of every campaign, on all cores, for as long as they may take.

    python -m tests.faults --minutes 60 --out faults       a long run; the same command goes on
    python -m tests.faults kill/record/kill@17             one trial again

What is made is in ``faults/``: ``results.jsonl`` (every trial), ``failures.md`` (every claim that
did not hold, and how to see it), ``table.md`` (the counts). ``--write`` puts the table into
docs/reliability.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from tests.faults import process
from tests.faults.claims import kills
from tests.faults.known import reason_for

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
MARKS = ("<!-- survived -->", "<!-- end -->")
TARGETS = {
    "kill": 2300, "left": 5000, "double": 600, "training": 1000, "fail": 800, "power": 1000,
    "random": 320, "stop": 200, "stop-twice": 100, "damage": 2000, "damage-half": 800,
    "damage-read": 400, "manifest": 2000, "malformed": 2600, "hostile": 300, "planted": 200,
    "race": 100, "sealed": 600, "models": 200,
    "ranks": 200,
}  # fmt: skip
"""Trials of each campaign in a whole run."""
KILLING = ("kill", "left", "double", "training", "random")
CHUNK = 2
"""Trials that a worker makes of one campaign and scenario, one after the other."""


# A worker: chunks in, results out


def work(place: Path) -> None:
    """Read requests as JSON lines, and print a line for each trial and one for its end."""
    from tests.faults.campaigns import CAMPAIGNS, make
    from tests.faults.hostile import ALL
    from tests.faults.lab import Broken, Lab, Void

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints
    lab = Lab(place)
    streams: dict[tuple[Any, ...], tuple[int, Iterator[str]]] = {}

    def tell(**result: Any) -> None:
        answers.write(json.dumps(result) + "\n")
        answers.flush()

    def attempt(trial: str) -> None:
        try:
            tell(**make(lab, trial))
        except Void:
            pass
        except Exception:
            tell(trial=trial, what=f"the kit itself: {traceback.format_exc()}", seconds=0.0)

    tell(ready=True)
    for line in sys.stdin:
        request = json.loads(line)
        if "trial" in request:
            attempt(request["trial"])
        else:
            campaign, name, seed, begin, end = request["chunk"]
            listed = 0
            try:
                place_of, stream = streams.get((campaign, name, seed), (end + 1, iter(())))
                if place_of > begin:
                    stream = iter(CAMPAIGNS[campaign].details(lab, ALL[name], Random(seed)))
                    place_of = 0
                for detail in islice(stream, begin - place_of, end - place_of):
                    attempt(f"{campaign}/{name}/{detail}")
                    listed += 1
                streams[campaign, name, seed] = (end, stream)
            except Broken as broken:
                tell(trial=f"{campaign}/{name}/none", what=str(broken), seconds=0.0)
            tell(chunk=request["chunk"], listed=listed)
        tell(done=True)


class Worker:
    """A process that makes trials, and is started again when it is lost."""

    def __init__(self, place: Path) -> None:
        place.mkdir(parents=True, exist_ok=True)
        self.place = place
        self.process: subprocess.Popen[str] | None = None

    def ask(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Give the results of a request."""
        if self.process is None:
            words = ["-m", "tests.faults", "--worker", str(self.place)]
            self.process = process.start(words, self.place)
            self._answer()
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        while "done" not in (answer := self._answer()):
            yield answer

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _answer(self) -> dict[str, Any]:
        assert self.process is not None
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.close()
            raise ConnectionError("the worker is gone")
        answer: dict[str, Any] = json.loads(line)
        return answer


# The runner: which chunk is next, and what came of it


@dataclass
class Book:
    """Every result so far, by campaign."""

    tried: Counter[str] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, Any]] = field(default_factory=list)
    latencies: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    chunks: set[tuple[Any, ...]] = field(default_factory=set)
    over: set[tuple[Any, ...]] = field(default_factory=set)
    """Campaigns and scenarios of which there is no more to try."""

    def add(self, result: dict[str, Any]) -> None:
        """Enter one line of results."""
        if "chunk" in result:
            self.chunks.add(tuple(result["chunk"]))
            campaign, scenario, _, begin, end = result["chunk"]
            if result["listed"] < end - begin:
                self.over.add((campaign, scenario))
            return
        campaign = result["trial"].split("/")[0]
        self.tried[campaign] += 1
        if campaign in KILLING:
            self.kills[campaign] += kills(result["trial"])
        if not result["what"]:
            self.held[campaign] += 1
        elif reason_for(result["trial"], result["what"]):
            self.known[campaign] += 1
        else:
            self.failures.append(result)
        if "latency" in result:
            self.latencies[campaign].append(result["latency"])

    def broken(self, campaign: str) -> int:
        """Count what did not hold and is not known."""
        return self.tried[campaign] - self.held[campaign] - self.known[campaign]


def read_book(log: Path) -> Book:
    """Read the results of runs before, but for a line that a kill cut."""
    book = Book()
    for line in log.read_text().splitlines() if log.exists() else []:
        with suppress(ValueError):
            book.add(json.loads(line))
    return book


def chunks(
    targets: dict[str, int], book: Book, only: Collection[str] = ()
) -> Iterator[tuple[Any, ...]]:
    """Give what to do next: of the campaign that is least far, one scenario after the other."""
    from tests.faults.campaigns import CAMPAIGNS

    scenarios = {
        name: [one for one in CAMPAIGNS[name].scenarios if not only or one in only]
        for name in targets
    }
    rounds = dict.fromkeys(targets, 0)
    while left := [
        name
        for name in targets
        if book.tried[name] < targets[name]
        and any((name, scenario) not in book.over for scenario in scenarios[name])
    ]:
        campaign = min(left, key=lambda name: (book.tried[name] / targets[name], rounds[name]))
        turn, which = divmod(rounds[campaign], len(scenarios[campaign]))
        rounds[campaign] += 1
        scenario = scenarios[campaign][which]
        chunk = (campaign, scenario, 0, turn * CHUNK, (turn + 1) * CHUNK)
        if chunk not in book.chunks and (campaign, scenario) not in book.over:
            yield chunk


def run(
    out: Path,
    minutes: float,
    workers: int,
    targets: dict[str, int],
    place: Path,
    only: Collection[str] = (),
) -> Book:
    """Make trials until all are made or the time is over, but for those made before."""
    out.mkdir(parents=True, exist_ok=True)
    log = out / "results.jsonl"
    book = read_book(log)
    until = time.monotonic() + 60 * minutes
    results: queue.Queue[dict[str, Any]] = queue.Queue()
    todo = chunks(targets, book, only)
    lock = threading.Lock()

    def serve(number: int) -> None:
        worker = Worker(place / f"worker-{number}")
        while time.monotonic() < until:
            with lock:
                chunk = next(todo, None)
            if chunk is None:
                break
            try:
                for result in worker.ask({"chunk": chunk}):
                    results.put(result)
            except (OSError, ValueError) as error:
                what = f"the kit itself: {error!r}"
                results.put({"trial": "/".join(map(str, chunk)), "what": what, "seconds": 0.0})
                results.put({"chunk": chunk, "listed": CHUNK})
        worker.close()

    threads = [threading.Thread(target=serve, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    told = time.monotonic()
    with log.open("a") as file:
        file.write("\n")  # the line before may be cut
        while any(thread.is_alive() for thread in threads) or not results.empty():
            try:
                result = results.get(timeout=1)
            except queue.Empty:
                continue
            file.write(json.dumps(result) + "\n")
            file.flush()
            with lock:
                book.add(result)
            if time.monotonic() - told > 30:
                told = time.monotonic()
                tried, failed = sum(book.tried.values()), len(book.failures)
                left = max(0.0, until - told) / 60
                print(f"{tried:,} trials, {failed:,} failed, {left:.0f} min left", flush=True)
    return book


# What came of it


def to_table(book: Book) -> str:
    """Write the counts as Markdown."""
    from tests.faults.campaigns import CAMPAIGNS

    lines = ["| Fault | tried | held | known | failed |", "|---|---:|---:|---:|---:|"]
    for name in CAMPAIGNS:
        if book.tried[name]:
            lines.append(
                f"| {CAMPAIGNS[name].claim} (`{name}`) | {book.tried[name]:,} | "
                f"{book.held[name]:,} | {book.known[name]:,} | {book.broken(name):,} |"
            )
    for name, found in book.latencies.items():
        found = sorted(found)
        shares = [found[min(int(share * len(found)), len(found) - 1)] for share in (0.5, 0.9, 1)]
        median, most, last = (f"{value:.2f} s" for value in shares)
        lines.append(
            f"| ... seconds from the last signal to the end (`{name}`): median {median}, 90% "
            f"{most}, longest {last} | {len(found):,} | | | |"
        )
    moments = f"{sum(book.kills.values()):,} moments of a kill, {book.kills['left']:,} by `left`"
    lines.append(f"| ... {moments} | | | | |")
    from smalltolarge import __version__

    today = time.strftime("%Y-%m-%d")
    where = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    lines += ["", f"`python -m tests.faults`, version {__version__}, {where}, {today}."]
    return "\n".join(lines) + "\n"


def to_failures(book: Book) -> str:
    """Write every claim that did not hold, and the command that shows it."""
    lines = [f"{len(book.failures)} claims did not hold.", ""]
    for failure in sorted(book.failures, key=lambda one: str(one["trial"])):
        what = re.sub(r"\s+", " ", failure["what"])[:600]
        lines.append(f"* `python -m tests.faults '{failure['trial']}'`: {what}")
    return "\n".join(lines) + "\n"


def in_memory() -> Path:
    """Name a folder in memory, where there is one: syncs of a disk take longer than commands."""
    memory = Path("/dev/shm")
    return memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = parser.add_argument
    add("trials", nargs="*", help="trials to make again, CAMPAIGN/SCENARIO/DETAIL")
    add("--minutes", type=float, default=60.0, help="how long it may take (60)")
    add("--out", type=Path, default=Path("faults"), help="where results are kept (faults)")
    add("--workers", type=int, default=os.cpu_count() or 1, help="processes (one a core)")
    add("--only", default="", help="campaigns, separated by commas: " + ", ".join(TARGETS))
    add("--scenarios", default="", help="commands, separated by commas: tests/faults/scenarios.py")
    add("--share", type=float, default=1.0, help="share of the trials of a whole run (1)")
    add("--place", type=Path, help="where files are written while trials run (/dev/shm or TMPDIR)")
    add("--write", action="store_true", help="put the table into docs/reliability.md")
    add("--worker", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work(given.worker)
        return 0
    with tempfile.TemporaryDirectory(dir=given.place or in_memory(), prefix="faults-") as name:
        if given.trials:
            return again(given.trials, Path(name))
        chosen = given.only.split(",") if given.only else list(TARGETS)
        targets = {name: max(1, int(TARGETS[name] * given.share)) for name in chosen}
        only = given.scenarios.split(",") if given.scenarios else ()
        book = run(given.out, given.minutes, given.workers, targets, Path(name), only)
    table = to_table(book)
    (given.out / "table.md").write_text(table)
    (given.out / "failures.md").write_text(to_failures(book))
    print(table)
    print(f"{len(book.failures)} failures: {given.out / 'failures.md'}")
    if given.write:
        head, _, rest = PAGE.read_text().partition(MARKS[0])
        tail = rest.partition(MARKS[1])[2]
        PAGE.write_text(f"{head}{MARKS[0]}\n{table}{MARKS[1]}{tail}")
    return 1 if book.failures else 0


def again(trials: list[str], place: Path) -> int:
    """Make some trials, and say what comes of them."""
    worker = Worker(place / "worker-0")
    failed = 0
    for trial in trials:
        for result in worker.ask({"trial": trial}):
            failed += bool(result["what"])
            print(f"{trial}: {result['what'] or 'holds'} ({result['seconds']:.1f} s)")
    worker.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
