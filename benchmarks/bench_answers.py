"""How often an answer is judged as it must be, beside math-verify where that is installed.

    python benchmarks/bench_answers.py [FILE.jsonl] [--task math] [--rows N]
        [--groups styles rewritten misses outside programs] [--show-wrong NAME] [--no-math-verify]

FILE has a question (``question`` or ``problem``) and a gold answer (``answer``, or ``solution``
whose last box or text after ``####`` it is) in every line; without one, the questions are those of
``s2l sample-data``. ``--task`` says how its answers are read and compared, ``--rows N`` takes N of
them by a keyed hash, the same at every call. Every gold answer is told in plain styles, written in
equal forms, and changed into near misses; the verdict follows from how that was done, never from
what is measured:

* styles: right answers in plain styles;
* rewritten: right answers in another form, boxed or after "The answer is";
* misses: other answers, told in the same two ways, and completions that take the right one back;
* outside: a number outside ``$``, after solution text with formulas;
* programs: programs that print the answer, with all around them, run in the jail.

``--show-wrong NAME`` prints what is judged wrongly: of a group, of one of its dresses (the names
that ``--by-dress`` prints), or of ``all``; ``--json`` prints one object instead of the table.

    python benchmarks/bench_answers.py --fuzz 4670

times hostile completions instead, see ``hostile.py``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hostile
from answer_dresses import OUTSIDE, PAIRS, PROGRAMS, SLIPS, STYLES, Row, dressed, fields, working_of
from answer_misses import MISSES
from answer_rewrites import REWRITES, Form
from answer_shapes import parts, split

from smalltolarge import wordproblems
from smalltolarge.evaluation.answers import find_answer, find_printed
from smalltolarge.evaluation.completions import program_of, spoken
from smalltolarge.evaluation.equivalence import Kind, is_equal
from smalltolarge.jail import Jails, find_backend

KINDS: Mapping[str, Kind] = {
    "gsm8k": "number",
    "math": "latex",
    "mathematics": "mixed",
    "numglue": "numglue",
    "simuleq": "unknowns",
    "svamp": "number",
}
GROUPS = {
    "styles": "right answers in plain styles",
    "rewritten": "right answers rewritten",
    "misses": "near misses",
    "outside": "a number outside $",
    "programs": "programs, whole completion",
}
TELLINGS = ("$\\boxed{{{}}}$", "The answer is {}.")


@dataclass(frozen=True)
class Case:
    """A completion and the verdict that it must get."""

    group: str
    dress: str
    row: Row
    completion: str
    is_right: bool


@dataclass
class Tally:
    """What a judge made of a group of cases."""

    judged: Counter[str] = field(default_factory=Counter)
    well: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def share(self) -> float:
        return self.well.total() / max(self.judged.total(), 1)


def last_box(solution: str) -> str | None:
    """Give what the last box of a solution holds; None: it has none, or several that differ."""
    found = set()
    for part in solution.replace(r"\fbox", r"\boxed").split(r"\boxed")[1:]:
        if not part.startswith("{"):
            found.add(part.split("$")[0].strip(" ."))
            continue
        depth = 0
        for place, sign in enumerate(part):
            depth += (sign == "{") - (sign == "}")
            if depth == 0:
                found.add(part[1:place])
                break
    return " ".join(found.pop().split()) if len(found) == 1 else None


def read(path: Path | None, kind: Kind) -> tuple[list[Row], int]:
    """Read the rows of a file, and how many were left out for want of one clear gold answer."""
    if path is None:
        given: Iterable[dict[str, Any]] = [
            {"question": row["question"], "answer": row["answer"]}
            for rows in wordproblems.task_rows(seed=0, size=50).values()
            for row in rows
        ]
    else:
        given = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows, left_out = [], 0
    for row in given:
        question = str(row.get("question", row.get("problem")))
        answer, solution = row.get("answer"), row.get("solution")
        if answer is None and solution is not None:
            answer = last_box(solution)
        if answer is None or (kind == "latex" and not is_whole_formula(str(answer))):
            left_out += 1
            continue
        gold = str(answer).rpartition("####")[2].strip()
        rows.append(Row(question, gold, kind, working_of(question, solution, kind == "latex")))
    return rows, left_out


def is_whole_formula(text: str) -> bool:
    return text.count("{") == text.count("}") and bool(text.strip()) and len(split(text, "$")) == 1


def sample(rows: list[Row], n: int | None) -> list[Row]:
    """Take n rows by a keyed hash of the question."""
    if n is None:
        return rows
    key = b"bench_answers"
    return sorted(rows, key=lambda row: hashlib.blake2b(row.question.encode(), key=key).digest())[
        :n
    ]


def cases(row: Row, groups: Iterable[str]) -> Iterator[Case]:
    """Give all completions that are made of a row."""
    wrongs = written(MISSES, row)
    wrong = row.draw("wrong").choice([*wrongs.values()][:3]) if wrongs else None
    given = fields(row, wrong)
    templates = {
        "styles": {**STYLES, **(PAIRS if row.kind == "unknowns" else {})},
        "outside": OUTSIDE,
        "programs": PROGRAMS,
        "misses": {
            name: one
            for name, one in SLIPS.items()
            if row.kind != "unknowns" or name not in ("one or the other", "between")
        },
    }
    for group in groups:
        for name, template in templates.get(group, {}).items():
            if (told := dressed(template, given)) is not None:
                yield Case(group, name, row, told, group != "misses")
        if group == "misses":
            for name, text in wrongs.items():
                yield Case(group, name, row, stated(row, name, text), False)
        if group == "rewritten":
            for name, text in written(REWRITES, row).items():
                yield Case(group, name, row, stated(row, name, text), True)


def written(forms: Mapping[str, str | Form], row: Row) -> dict[str, str]:
    """Give all texts other than the gold one that a row has of a table of forms."""
    given = parts(row)
    found = {
        name: dressed(form, given) if isinstance(form, str) else form(row)
        for name, form in forms.items()
    }
    return {name: text for name, text in found.items() if text not in (None, row.gold)}


def stated(row: Row, name: str, answer: str) -> str:
    telling = row.draw(name).choice(TELLINGS)
    return telling.format(answer if "boxed" in telling else row.told(answer))


def ours(case: Case) -> tuple[str | None, bool]:
    """Give the answer found and whether it is judged right."""
    row = case.row
    found = find_answer(spoken(case.completion), row.kind, row.question)
    return found, found is not None and is_equal(found, row.gold, row.kind, row.question)


def math_verify() -> Callable[[Case], tuple[str | None, bool]] | None:
    """Give math-verify as a judge, with its own defaults, where it is installed."""
    try:
        from math_verify import parse, verify
    except ImportError:
        return None
    for package in ("math_verify", "latex2sympy2_extended"):
        logging.getLogger(package).setLevel(logging.CRITICAL)

    def judge(case: Case) -> tuple[str | None, bool]:
        gold = parse(rf"$\boxed{{{case.row.gold}}}$")
        found = parse(case.completion)
        return str(found[-1]) if found else None, bool(verify(gold, found))

    return judge


def judge_programs(programs: list[Case], say: Callable[[Case, str | None, bool], None]) -> float:
    """Run the programs of completions, and judge what they print."""
    began = time.perf_counter()
    with Jails(find_backend()) as jails:
        ran = jails.run([program_of(case.completion) for case in programs])
    for case, one in zip(programs, ran, strict=True):
        row, found = case.row, None
        if one.failure is None:
            found = find_printed(one.printed, row.kind, row.question)
        is_right = found is not None and is_equal(found, row.gold, row.kind, row.question)
        say(case, found if one.failure is None else one.failure, is_right)
    return time.perf_counter() - began


def measure(rows: list[Row], groups: list[str], *, beside: bool, shown: str) -> dict[str, Any]:
    """Judge all cases of all rows; give a tally for every group and judge."""
    judges: dict[str, Callable[[Case], tuple[str | None, bool]]] = {"ours": ours}
    if beside and (other := math_verify()) is not None:
        judges["math-verify"] = other
    tallies = {(judge, group): Tally() for judge in judges for group in groups}
    programs: list[Case] = []

    def say(case: Case, found: str | None, is_right: bool, judge: str = "ours") -> None:
        tally = tallies[judge, case.group]
        tally.judged[case.dress] += 1
        tally.well[case.dress] += is_right == case.is_right
        if (
            judge == "ours"
            and is_right != case.is_right
            and shown in ("all", case.group, case.dress)
        ):
            print(
                json.dumps(
                    {
                        "group": case.group,
                        "dress": case.dress,
                        "judged": is_right,
                        "found": found,
                        "gold": case.row.gold,
                        "completion": case.completion,
                        "question": case.row.question,
                    },
                    ensure_ascii=False,
                )
            )

    for row in rows:
        for case in cases(row, groups):
            if case.group == "programs":
                programs.append(case)
                continue
            for name, judge in judges.items():
                began = time.perf_counter()
                found, is_right = judge(case)
                tallies[name, case.group].seconds += time.perf_counter() - began
                say(case, found, is_right, name)
    if programs:
        tallies["ours", "programs"].seconds = judge_programs(programs, say)
    return {
        group: {
            judge: {
                "share": tallies[judge, group].share,
                "right": tallies[judge, group].well.total(),
                "cases": tallies[judge, group].judged.total(),
                "seconds per thousand": 1e3
                * tallies[judge, group].seconds
                / tallies[judge, group].judged.total(),
                "dresses": {
                    dress: [tallies[judge, group].well[dress], count]
                    for dress, count in tallies[judge, group].judged.items()
                },
            }
            for judge in judges
            if tallies[judge, group].judged
        }
        for group in groups
    }


def show(found: dict[str, Any], *, by_dress: bool) -> None:
    """Print the table, and the dresses that are not always judged well."""
    names = list(dict.fromkeys(name for judged in found.values() for name in judged))
    print(f"{'':<32}" + "".join(f"{name:>34}" for name in names))
    for group, judged in found.items():
        told = "".join(
            f"{100 * one['share']:8.2f}% {one['right']:,} of {one['cases']:,}".rjust(26)
            + f"{one['seconds per thousand']:6.2f} s".rjust(8)
            for one in judged.values()
        )
        print(f"{GROUPS[group]:<32}{told}")
    print("(share judged as it must be; seconds for a thousand)")
    for group, judged in found.items():
        for dress, (well, count) in judged.get("ours", {"dresses": {}})["dresses"].items():
            if well < count or by_dress:
                print(f"  {group:<10} {dress:<40} {well:6,} of {count:6,}")


def main() -> None:
    """Print the table, what fails, or the times of hostile completions."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--task", choices=sorted(KINDS), default="gsm8k")
    parser.add_argument("--rows", type=int, help="at most so many, by a keyed hash")
    parser.add_argument("--groups", nargs="+", choices=list(GROUPS), default=[*GROUPS][:-1])
    parser.add_argument("--show-wrong", default="", metavar="NAME")
    parser.add_argument(
        "--by-dress", action="store_true", help="all dresses, not only failing ones"
    )
    parser.add_argument("--no-math-verify", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--fuzz", type=int, metavar="N")
    given = parser.parse_args()
    if given.fuzz is not None:
        hostile.main(given.fuzz)
        return
    rows, left_out = read(given.file, KINDS[given.task])
    chosen = sample(rows, given.rows)
    found = measure(chosen, given.groups, beside=not given.no_math_verify, shown=given.show_wrong)
    if given.json:
        print(json.dumps(found))
        return
    print(f"{len(chosen):,} of {len(rows):,} questions; {left_out:,} without one clear gold answer")
    show(found, by_dress=given.by_dress)


if __name__ == "__main__":
    main()
