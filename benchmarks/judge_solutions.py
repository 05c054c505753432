"""How often the answer found here is judged as the data set judged it.

    python benchmarks/judge_solutions.py PATH

PATH is a JSON Lines file with ``question``, ``ground_truth`` (ending in ``A: X``) and, for each of
several models, a ``solution`` with ``is_correct``. Prints the agreement of every model and each
disagreement, and the time of a judgement.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from smalltolarge.evaluation.answers import find_answer
from smalltolarge.evaluation.equivalence import is_equal


def main(path: Path) -> None:
    """Judge all solutions."""
    agreed: dict[str, list[bool]] = {}
    seconds = 0.0
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            row = json.loads(line)
            question, reference = row["question"], row["ground_truth"].rsplit("A:", 1)[1].strip()
            for model, judged in row.items():
                if not isinstance(judged, dict):
                    continue
                start = time.perf_counter()
                found = find_answer(judged["solution"], "number", question)
                ours = found is not None and is_equal(found, reference, "number", question)
                seconds += time.perf_counter() - start
                agreed.setdefault(model, []).append(ours == judged["is_correct"])
                if ours != judged["is_correct"]:
                    print(
                        f"question {number}, {model}: reference {reference!r}, found {found!r}, "
                        f"is_correct {judged['is_correct']}, ours {ours}; "
                        f"ends {judged['solution'][-70:]!r}"
                    )
    for model, same in agreed.items():
        print(f"{model:20} {sum(same):5} of {len(same)} agree ({sum(same) / len(same):.2%})")
    judgements = sum(map(len, agreed.values()))
    print(f"{seconds / judgements * 1e6:.0f} microseconds a judgement")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
