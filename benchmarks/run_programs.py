"""Run the programs of fine-tuning data in the jail, and compare with answers stated in words.

    python benchmarks/run_programs.py DATA.jsonl [--rows N] [--backend landlock]

A row is a program when its source starts with ``PoT``. Its answer is taken from the rows of the
same question that state one in words; where there is none, the program is only run.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections import Counter
from pathlib import Path

from smalltolarge.evaluation.answers import find_answer, find_printed
from smalltolarge.evaluation.completions import program_of
from smalltolarge.evaluation.equivalence import is_equal
from smalltolarge.jail import Jails, find_backend

_REQUEST = re.compile(r"\s*(?:Let's|Please)[^.?!]*program[^.?!]*\.?\s*$", re.IGNORECASE)
_CHOICES = re.compile(r"\s*Answer Choices:.*", re.DOTALL)


def _key(instruction: str) -> str:
    """Write a question without its request for a program, its choices, and its spacing."""
    bare = _CHOICES.sub("", _REQUEST.sub("", instruction))
    return re.sub(r"[^a-z0-9]+", "", re.sub(r"(\d)\.0\b", r"\1", bare.lower()))


def main() -> None:
    """Print a count for each source, and the first programs that differ."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--backend")
    parser.add_argument("--show", type=int, default=20)
    options = parser.parse_args()
    with options.data.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    stated: dict[str, str] = {}
    for row in rows:
        if row["source"].startswith("CoT"):
            answer = find_answer(row["output"], "mixed", row["instruction"])
            if answer is not None:
                options_at = row["instruction"].partition("Answer Choices:")[2]
                chosen = re.search(rf"\({re.escape(answer)}\)\s*([^()]*)", options_at)
                stated.setdefault(
                    _key(row["instruction"]), chosen[1] if chosen else answer.strip("<>")
                )
    programs = [row for row in rows if row["source"].startswith("PoT")][: options.rows]
    backend = options.backend or find_backend()
    began = time.monotonic()
    with Jails(backend) as jails:
        ran = jails.run([program_of(row["output"]) for row in programs])
    seconds = time.monotonic() - began
    print(f"{len(ran):,} programs in {seconds:.1f} s by {backend}")
    counts: Counter[tuple[str, str]] = Counter()
    shown = 0
    for row, one in zip(programs, ran, strict=True):
        found = None
        if one.failure is None:
            found = find_printed(one.printed, "number", row["instruction"])
        reference = stated.get(_key(row["instruction"]))
        if found is None:
            verdict = "failed"
        elif reference is None:
            verdict = "ran, no answer stated"
        elif is_equal(found, reference, "number", row["instruction"]):
            verdict = "the stated answer"
        else:
            verdict = "another answer"
        counts[row["source"], verdict] += 1
        if verdict in ("failed", "another answer") and shown < options.show:
            shown += 1
            print(f"  {verdict}: {one.failure or found} against {reference}: "
                  f"{row['instruction'][:140]!r}")  # fmt: skip
    for (source, verdict), count in sorted(counts.items()):
        print(f"{source:24} {verdict:24} {count:6,}")


if __name__ == "__main__":
    main()
