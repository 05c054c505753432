"""A model put to tasks: every question once, whatever happens, and the same in every way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import smalltolarge
from smalltolarge.errors import (
    IntegrityError,
    Interrupted,
    RecipeError,
    RefusedForSafety,
    StaleArtifact,
)
from smalltolarge.evaluation import exam
from smalltolarge.evaluation.tasks import LM_EVAL
from smalltolarge.progress import Watch
from smalltolarge.runs.manifest import as_bytes
from smalltolarge.verbs.verify import verify

from .conftest import Cli

QUESTIONS: list[dict[str, Any]] = [
    {"question": "Ann has 3 pens and buys 4. How many has she?", "answer": 7},
    {"question": "A box holds 12 eggs. How many do 2 boxes hold?", "answer": "24"},
    {"question": "Half of 9 litres is how much?", "answer": 4.5},
    {"question": "Tom is 5. How old is he in 3 years?", "answer": 8},
]
PROGRAM = " Let's write a program."
TAUGHT = [
    (QUESTIONS[0]["question"] + PROGRAM, "print(3 + 4)"),
    (QUESTIONS[1]["question"] + PROGRAM, "print(1 / 0)"),
    (QUESTIONS[1]["question"], "The answer is 24."),
    (QUESTIONS[2]["question"] + PROGRAM, "print(9)"),
    (QUESTIONS[3]["question"] + PROGRAM, "pass"),
    (QUESTIONS[3]["question"], "I do not know."),
]
"""Right by a program, right in words after a program that fails, wrong, and unanswered."""
QUICK: dict[str, Any] = {"threads": 1, "device": "cpu", "max_new_tokens": 16}
TRAINING: dict[str, Any] = {
    "trainer": "own", "epochs": 60, "batch_size": 3, "learning_rate": 1e-2, "template": "alpaca",
    "threads": 1, "device": "cpu",
}  # fmt: skip


def write(file: Path, rows: list[dict[str, Any]]) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model of 0.1 million weights that knows what it was taught, word for word."""
    folder = tmp_path_factory.mktemp("model")
    rows = [{"instruction": asked, "output": answer} for asked, answer in TAUGHT]
    smalltolarge.train("scratch-0.1m", rows, out=folder / "model", **TRAINING)
    return str(folder / "model")


@pytest.fixture
def data(tmp_path: Path) -> str:
    (tmp_path / "eval").mkdir()
    write(tmp_path / "eval" / "svamp.jsonl", QUESTIONS)
    pair = {"findings": "Lungs are clear. No effusion.", "impression": "No acute disease."}
    write(tmp_path / "eval" / "radiology_impression.jsonl", [pair])
    return str(tmp_path / "eval")


def stopping(after: int) -> Callable[[], None]:
    calls: list[None] = []

    def check() -> None:
        calls.append(None)
        if len(calls) == after:
            raise Interrupted("stopped")

    return check


def test_a_model_is_asked_and_scored_and_its_run_verifies(
    model: str, data: str, tmp_path: Path, s2l: Cli
) -> None:
    rows = [{"instruction": QUESTIONS[0]["question"], "output": "7"}, TRAINED_ON]
    command = [
        "evaluate", model, "--task", "svamp", "--task", "radiology_impression", "--data", data,
        "--max-new-tokens", "16", "--threads", "1", "--batch-size", "3", "--out", "results",
        "--trained-on", write(tmp_path / "rows.jsonl", rows),
    ]  # fmt: skip
    first = s2l(*command)
    assert "programs run in: " in first.stderr
    assert "1 of the 2 training rows overlap with svamp" in first.stderr
    assert "svamp, failed programs: 1 ZeroDivisionError, 1 it printed no answer" in first.stdout
    results = tmp_path / "results"
    answers = [json.loads(line) for line in (results / "answers-svamp.jsonl").open()]
    assert [row["question"] for row in answers] == [row["question"] for row in QUESTIONS]
    assert [row["score"] for row in answers] == [1, 1, 0, 0]
    assert [row["form"] for row in answers] == ["pot", "direct", "pot", "direct"]
    assert [len(row["completions"]) for row in answers] == [1, 2, 1, 2]
    assert [row["printed"] for row in answers] == ["7\n", "", "9\n", ""]
    score, summaries = json.loads((results / "table.json").read_text())
    assert (score["value"], score["unanswered"], score["truncated"]) == (0.5, 1, 0)
    assert (score["questions"], score["overlap"]) == (4, 1)
    assert summaries["measures"]["bleu_signature"]
    recipe = yaml.safe_load((results / "recipe.yaml").read_text())
    assert recipe["evaluation"]["batch_size"] == 3
    assert "svamp" in (results / "table.md").read_text()
    again = s2l(*command)
    assert "there is nothing to do" in again.stderr
    assert "overlap with" not in again.stderr  # what is known is not looked for again
    assert again.stdout == first.stdout
    assert "the answers scored again: the same scores" in s2l("verify", "results").stdout
    s2l("report", "results", "--out", "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "50.0% of the answers are right" in page and "ZeroDivisionError" in page
    assert s2l("show", "results").stdout.startswith(first.stdout.partition("\n\nNext")[0])
    file = results / "answers-svamp.jsonl"
    better = file.read_text().replace('"score": 0.0', '"score": 1.0')
    file.write_text(better)
    stages = json.loads((results / "manifest.json").read_text())["stages"]
    digest = hashlib.sha256(better.encode()).hexdigest()
    stages["task svamp"]["outputs"][file.name]["sha256"] = digest
    (results / "manifest.json").write_bytes(as_bytes(stages))
    with pytest.raises(IntegrityError, match="scored again: other scores"):
        verify(results)


def test_the_recipe_of_an_evaluation_gives_it_again_and_with_other_values(
    model: str, data: str, tmp_path: Path, s2l: Cli
) -> None:
    asked = {"tasks": ["svamp"], "data": data, "form": "direct", "max_new_tokens": 16}
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(yaml.safe_dump({"model": model, "evaluation": asked}))
    s2l("evaluate", "--recipe", recipe, "--threads", "1", "--out", "first")
    s2l("evaluate", "--recipe", "first/recipe.yaml", "--out", "second")
    answers = [
        (tmp_path / name / "answers-svamp.jsonl").read_bytes() for name in ("first", "second")
    ]
    assert answers[0] == answers[1]
    more = ["--set", "evaluation.questions=3", "--questions", "2"]
    s2l("evaluate", "--recipe", recipe, *more, "--threads", "1", "--out", "third")
    assert (tmp_path / "third/answers-svamp.jsonl").read_bytes().count(b"\n") == 3
    assert "MODEL: name" in s2l("evaluate", "--task", "svamp", "--out", "x", expect=2).stderr
    assert "--task: name at least one" in s2l("evaluate", model, "--out", "x", expect=2).stderr
    recipe.write_text(yaml.safe_dump({"model": model, "evaluation": {"tasks": ["os:system"]}}))
    refused = s2l("evaluate", "--recipe", recipe, "--out", "x", expect=7).stderr
    assert "names code to run as its task: os:system. Give --task" in refused


TRAINED_ON = {"instruction": "What is the capital of France?", "output": "Paris"}


def test_an_interrupted_evaluation_goes_on_to_the_same_bytes(
    model: str, data: str, tmp_path: Path
) -> None:
    def run(name: str, **more: Any) -> list[smalltolarge.Score]:
        how = QUICK | {"data": data, "batch_size": 1}
        return smalltolarge.evaluate(model, "svamp", out=tmp_path / name, **how, **more)

    whole = run("whole")
    for checks in (3, 20):  # in the first batch, and in a later one
        with pytest.raises(Interrupted):
            run("stopped", progress=Watch(check=stopping(checks)))
    kept = tmp_path / "stopped" / ".working" / "answering" / "svamp-pot"
    assert 0 < len(list(kept.iterdir())) < len(QUESTIONS)
    assert run("stopped") == whole
    for name in ("answers-svamp.jsonl", "table.md", "table.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (
            tmp_path / "stopped" / name
        ).read_bytes()
    assert not (tmp_path / "stopped" / ".working").exists()
    (tmp_path / "stopped" / "answers-svamp.jsonl").write_text("{}\n")
    assert run("stopped") == whole
    assert (tmp_path / "whole/answers-svamp.jsonl").read_bytes() == (
        tmp_path / "stopped/answers-svamp.jsonl"
    ).read_bytes()
    with pytest.raises(StaleArtifact, match='evaluation.form: "combined" there, "cot" now'):
        run("stopped", form="cot")
    write(Path(data) / "svamp.jsonl", QUESTIONS[:2])
    with pytest.raises(StaleArtifact, match=r"the input changed.*\n.*svamp\.jsonl"):
        run("stopped")
    with pytest.raises(IntegrityError, match="not what the run read"):
        verify(tmp_path / "stopped")


def test_evaluate_and_run_ask_and_count_the_same(tmp_path: Path) -> None:
    long = {"question": "many words " * 1500, "answer": 1}
    file = write(tmp_path / "mine.jsonl", [*QUESTIONS, long])
    rows = [{"instruction": asked, "output": answer} for asked, answer in TAUGHT]
    asking = {"tasks": [file], "max_new_tokens": 16, "batch_size": 4}
    recipe = {
        "data": [write(tmp_path / "data.jsonl", rows)],
        "methods": ["random"],
        "budgets": ["50%"],
        "seeds": [0],
        "target": {"target": "scratch-0.1m", **TRAINING},
        "evaluation": asking,
        "keep_targets": True,
    }
    smalltolarge.run(recipe, out=tmp_path / "run")
    target = tmp_path / "run/targets/full-100pct-epochs-0"
    how = {name: value for name, value in asking.items() if name != "tasks"}
    (score,) = smalltolarge.evaluate(str(target), file, out=tmp_path / "results", **QUICK | how)
    arm = json.loads((tmp_path / "run/arm-full-100pct-epochs-0.json").read_text())
    assert arm["scores"]["mine"] == [1, 1, 0, 0, 0]
    assert (arm["truncated"], arm["unanswered"]) == (
        {"mine": score.truncated}, {"mine": score.unanswered},
    )  # fmt: skip
    assert score.truncated >= 1
    assert arm["failed_programs"] == {"mine": score.failed_programs}
    assert (tmp_path / "run/answers-full-100pct-epochs-0.jsonl").read_bytes() == (
        tmp_path / "results/answers-mine.jsonl"
    ).read_bytes()


def test_lm_eval_gives_the_same_scores(model: str, data: str, tmp_path: Path) -> None:
    (score,) = smalltolarge.evaluate(model, "svamp", out=tmp_path / "ours", data=data, **QUICK)
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(
        include_path=str(LM_EVAL), include_defaults=False, metadata={"data": data}
    )
    results = simple_evaluate(
        model="hf", model_args={"pretrained": model}, tasks=["s2l_svamp"], task_manager=manager,
        device="cpu", apply_chat_template=True, gen_kwargs={"max_gen_toks": 16}, bootstrap_iters=0,
    )  # fmt: skip
    found, n = results["results"]["s2l_svamp"], score.questions
    assert found["accuracy,answer"] == score.value == 0.5
    assert found["unanswered,answer"] == score.unanswered / n
    assert found["failed_programs,answer"] == sum(score.failed_programs.values()) / n
    ours = [json.loads(line) for line in (tmp_path / "ours/answers-svamp.jsonl").open()]
    theirs = sorted(results["samples"]["s2l_svamp"], key=lambda row: row["doc_id"])
    assert [row["accuracy"] for row in theirs] == [row["score"] for row in ours]


def test_without_a_jail_words_are_judged_and_programs_refused_before_anything_is_asked(
    model: str, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*, unconfined: bool) -> str:
        raise RefusedForSafety("nothing would confine them")

    monkeypatch.setattr(exam, "find_backend", none)
    how = QUICK | {"data": data}
    with pytest.raises(RefusedForSafety):
        smalltolarge.evaluate(model, "svamp", out=tmp_path / "programs", **how)
    assert not (tmp_path / "programs").exists()
    (score,) = smalltolarge.evaluate(model, "svamp", out=tmp_path / "words", form="direct", **how)
    assert score.questions == 4
    assert score.failed_programs == {}


def test_what_cannot_be_evaluated_is_refused_and_leaves_nothing(
    model: str, data: str, tmp_path: Path
) -> None:
    def run(*tasks: str, **settings: Any) -> None:
        smalltolarge.evaluate(model, tasks, out=tmp_path / "out", **settings)

    with pytest.raises(RecipeError, match="name at least one"):
        run()
    with pytest.raises(RecipeError, match="did you mean max_new_tokens"):
        run("svamp", data=data, max_new_token=3)
    with pytest.raises(RecipeError, match="--max-new-tokens is 4,096, but .* has room for 2,048"):
        run("svamp", data=data, max_new_tokens=4096)
    with pytest.raises(RecipeError, match="batch_size"):
        run("svamp", data=data, batch_size="many")
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "results.md").write_text("mine")
    with pytest.raises(StaleArtifact, match="holds files but no manifest"):
        run("svamp", data=data, **QUICK)
