"""Everything to know of a GPU, in one command: each part in a process and a time limit of its own.

    python benchmarks/gpu.py --out FOLDER [--parts correct score ...] [--minutes 9] [--tiny]

Parts run in order of importance. Each writes what it finds into FOLDER/results.jsonl at once, so
that a part that crashes or meets its limit leaves what it had; what it printed is in
FOLDER/PART.log. FOLDER/table.md is written anew after every part. --minutes is a limit for all of
it; time that a part leaves goes to those after it. --tiny does the same on small shapes, on any
machine. benchmarks/README.md says what must be there.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SHARES = {
    "machine": 20,
    "correct": 110,
    "ceiling": 20,
    "score": 130,
    "train": 110,
    "record": 110,
    "generate": 60,
    "select": 40,
    "study": 400,
}
"""The parts in their order, and what share of the time each may take."""
USUAL = [part for part in SHARES if part not in ("machine", "study")]
"""Those that are run if none are named; a study takes all the time there is."""
_LEAST_SECONDS = 60.0
"""What every part may take at least: a cold disk reads torch slowly."""
_KEPT_SECONDS = 3.0
"""Kept back at the end, to write the table."""


@dataclass(frozen=True)
class Finding:
    """One number, or why there is none."""

    part: str
    what: str
    value: float | None = None
    unit: str = ""
    goal: str = ""
    """As "at least 100" or "at most 300"; empty: there is none."""
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached; None: there is no goal, or no number."""
        if not self.goal or self.value is None:
            return None
        kind, bound = self.goal.removeprefix("at ").split()
        return self.value >= float(bound) if kind == "least" else self.value <= float(bound)


class Findings:
    """The file that findings are added to, one JSON line each."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def add(self, part: str, what: str, value: float | None = None, **more: Any) -> None:
        """Write one down at once, and print it."""
        found = Finding(part, what, value, **more)
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(found) | {"reached": found.reached}) + "\n")
        print(_line(found), flush=True)

    def all(self) -> list[Finding]:
        """Read all that is there."""
        if not self.file.exists():
            return []
        rows = [json.loads(line) for line in self.file.read_text(encoding="utf-8").splitlines()]
        return [Finding(**{key: row[key] for key in row if key != "reached"}) for row in rows]


def _shown(found: Finding) -> tuple[str, str]:
    """Write the value, and the goal beside whether it is reached."""
    value = "-" if found.value is None else f"{found.value:,.4g}"
    if found.value is not None and abs(found.value) >= 1000:
        value = f"{found.value:,.0f}"
    verdict = {True: ": yes", False: ": NO", None: ""}[found.reached]
    return f"{value} {found.unit}".strip(), found.goal + verdict


def _line(found: Finding) -> str:
    value, goal = _shown(found)
    more = " | ".join(text for text in (goal, found.note) if text)
    return f"{found.part:<9} {found.what:<44} {value:>20}  {more}".rstrip()


def table(findings: list[Finding]) -> str:
    """Write all findings as a Markdown table."""
    lines = ["| part | what | value | goal | note |", "|---|---|---|---|---|"]
    for found in findings:
        cells = [found.part, found.what, *_shown(found), " ".join(found.note.split())]
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def run_part(part: str, given: argparse.Namespace, seconds: float) -> None:
    """Run one part as a child; end it and all that it started at its limit."""
    findings, log = Findings(given.out / "results.jsonl"), given.out / f"{part}.log"
    command = [sys.executable, str(Path(__file__).with_name("gpu_parts.py")), part]
    command += [f"--out={given.out}", f"--device={given.device}", f"--model={given.model}"]
    command += [f"--study={given.study}"]
    command += [f"--seconds={seconds}", *(["--tiny"] if given.tiny else [])]
    sources = [str(Path(__file__).resolve().parents[1] / "src"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sources))}
    began = time.monotonic()
    with log.open("wb") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        try:
            code: int | None = child.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(child)
    took = time.monotonic() - began
    if code is None:
        note = f"ended by its limit; see {log.name}"
        findings.add(part, "NOT DONE", took, unit="s", note=note)
    elif code:
        last = log.read_text(errors="replace").strip().splitlines()[-1:] or [""]
        note = f"exit code {code}: {last[0][:300]}; see {log.name}"
        findings.add(part, "FAILED", took, unit="s", note=note)
    else:
        findings.add(part, "whole part", took, unit="s", note=f"limit {seconds:.0f} s")


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill the child's whole session, which may outlive it."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    child.wait()


def main() -> None:
    """Run the parts, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=lambda name: Path(name).resolve(), required=True)
    parser.add_argument("--parts", nargs="+", choices=list(SHARES)[1:], default=USUAL)
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--model", default="smollm2-135m", help="for generate: a folder, a GGUF file, or a name"
    )
    parser.add_argument("--study", default="math", help="for study: the recipe of a comparison")
    parser.add_argument("--tiny", action="store_true", help="small shapes, few rows")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + 60 * given.minutes - _KEPT_SECONDS
    findings = Findings(given.out / "results.jsonl")
    before = len(findings.all())
    parts = ["machine", *(part for part in SHARES if part in given.parts)]
    for place, part in enumerate(parts):
        left = until - time.monotonic()
        share = left * SHARES[part] / sum(SHARES[later] for later in parts[place:])
        if left > 0:
            run_part(part, given, min(left, max(share, _LEAST_SECONDS)))
        else:
            findings.add(part, "NOT DONE", note="no time was left")
        (given.out / "table.md").write_text(table(findings.all()[before:]), encoding="utf-8")
    print("\n" + table(findings.all()[before:]))


if __name__ == "__main__":
    main()
