"""A model put to the tasks, one after the other, and what came of it.

The folder of the results holds for every task ``NAME.jsonl`` (each question, completion and score)
and ``NAME.json`` (the numbers, and all they follow from), and ``results.md``. A task that is there
with the same settings, model and questions is not run again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smalltolarge import examples as reading
from smalltolarge import store
from smalltolarge.errors import (
    IntegrityError,
    MissingArtifact,
    RecipeError,
    StaleArtifact,
)
from smalltolarge.evaluation import jail
from smalltolarge.evaluation.summaries import plain, score_summaries
from smalltolarge.evaluation.task import standard_error
from smalltolarge.evaluation.tasks import Benchmark, find_tasks
from smalltolarge.examples.overlap import Overlap, Questions
from smalltolarge.experiment import Watch
from smalltolarge.outcomes import Score
from smalltolarge.progress import LOADING
from smalltolarge.report.evaluation import to_markdown
from smalltolarge.settings import AskingSettings, ModelSettings

if TYPE_CHECKING:
    from smalltolarge.lm import Answerer

log = logging.getLogger("smalltolarge")


def tasks_folder() -> Path:
    """Give the folder for the ``--include_path`` of lm-eval."""
    return Path(str(resources.files("smalltolarge.evaluation") / "lm_eval_tasks"))


def evaluate(
    model: str,
    names: Sequence[str],
    out: Path,
    *,
    data: str | None = None,
    trained_on: Sequence[str] = (),
    overlap_words: int = 13,
    bertscore: str | None = None,
    unconfined: bool = False,
    asking: AskingSettings | None = None,
    settings: ModelSettings | None = None,
    watch: Watch | None = None,
) -> list[Score]:
    """Ask a model the questions of tasks, score its answers, and write both to ``out``.

    Parameters
    ----------
    model : a folder with safetensors, a GGUF file, a hub name, or smollm2-135m
    names : tasks and groups of ``smalltolarge.evaluation.tasks``
    data : folder of the tasks' files; None takes the hub
    trained_on : files of training rows whose overlap with the questions is counted
    bertscore : an encoder for BERTScore of summaries, by folder or hub name
    unconfined : run programs without a jail where this machine has none

    Raises
    ------
    RecipeError, MissingArtifact, DataError
        A setting, a file or the model is not as it must be; nothing is generated then.
    RefusedForSafety
        The model's folder would run code, or programs would run and this machine has no jail.
    StaleArtifact
        ``out`` holds results of other settings.
    Interrupted
        Raised by ``watch.check``; the same call goes on with the task it was at.
    """
    asking, settings = asking or AskingSettings(), settings or ModelSettings()
    watch = watch or Watch()
    tasks = find_tasks(names)
    if not tasks:
        raise RecipeError("--task: name at least one; s2l tasks lists them")
    asked = {task.name: task.questions(data)[: asking.questions] for task in tasks}
    backend = None
    if any("pot" in task.forms(asking.form) for task in tasks):
        backend = jail.find_backend(unconfined=unconfined)
        log.info("programs run in: %s", backend)
    overlaps = _overlaps(asked, trained_on, overlap_words, watch)
    digest = _model_digest(model)
    made_of = {
        task.name: {
            "model": digest,
            "questions": _digest(asked[task.name]),
            "asking": asdict(asking),
            "settings": asdict(settings),
        }
        for task in tasks
    }
    done = {task.name: _done(out, task, made_of[task.name]) for task in tasks}
    answerer: Answerer | None = None
    scores = []
    for task in tasks:
        score = done[task.name]
        if score is not None:
            log.info("%s is there already", task.name)
        else:
            if answerer is None:
                with watch.progress.step(LOADING, unit=""):
                    from smalltolarge import lm

                    answerer = lm.Answerer.load(model, settings)
            rows, found = _run(task, asked[task.name], answerer, data, unconfined, asking, watch)
            more = _summary_scores(task, rows, bertscore, settings.device, watch)
            score = _score(task, rows, more, overlaps.get(task.name))
            facts = {"backend": backend if "pot" in task.forms(asking.form) else None}
            _write(out, task, rows, score, made_of[task.name] | facts | found)
        scores.append(score)
    store.write_bytes(out / "results.md", to_markdown(scores).encode())
    return scores


def _run(
    task: Benchmark,
    pairs: Sequence[tuple[str, str]],
    answerer: Answerer,
    data: str | None,
    unconfined: bool,
    asking: AskingSettings,
    watch: Watch,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Run one task by the harness; give a row for each question, and what the harness says."""
    try:
        from lm_eval import evaluator
        from lm_eval.tasks import TaskManager, get_task_dict

        from smalltolarge.lm.harness import HarnessModel
    except ModuleNotFoundError as error:
        raise RecipeError(
            f"evaluation needs {error.name}: pip install 'smalltolarge[eval]'"
        ) from error
    forms = task.forms(asking.form)
    name = f"s2l_{task.name.replace('-', '_')}"
    metadata = {
        "form": asking.form,
        "data": data,
        "program_seconds": asking.program_seconds,
        "program_megabytes": asking.program_megabytes,
        "confirm_run_unsafe_code": unconfined,
    }
    theirs = [logging.getLogger(one) for one in ("lm_eval", "lm-eval")]
    levels = [one.level for one in theirs]
    for one in theirs:
        one.setLevel(logging.ERROR)
    try:
        total = len(pairs) * len(forms)
        with watch.progress.step(f"answering {task.name}", total, "answers") as bar:
            model = HarnessModel(
                answerer,
                max_new_tokens=asking.max_new_tokens,
                batch_size=asking.answers_at_once,
                check=watch.check,
                bar=bar,
            )
            manager = TaskManager(
                include_path=str(tasks_folder()), include_defaults=False, metadata=metadata
            )
            found = evaluator.evaluate(
                lm=model,
                task_dict=get_task_dict([name], manager),
                limit=asking.questions,
                log_samples=True,
                bootstrap_iters=0,
                apply_chat_template=True,
            )
    finally:
        for one, level in zip(theirs, levels, strict=True):
            one.setLevel(level)
    samples = sorted(found["samples"][name], key=lambda sample: sample["doc"]["index"])
    rows = [_row(task, sample, model.cut) for sample in samples]
    return rows, {"lm_eval": found["results"][name]}


def _row(task: Benchmark, sample: Mapping[str, Any], cut: set[str]) -> dict[str, Any]:
    doc, read = sample["doc"], sample["filtered_resps"]
    answered = next((i for i, one in enumerate(read) if one["found"] is not None), len(read) - 1)
    found = read[answered]["found"]
    return {
        "task": task.name,
        "question": doc["question"],
        "reference": doc["reference"],
        "form": read[answered]["form"],
        "asked": doc["asked"][answered],
        "completion": sample["resps"][answered][0],
        "found": found,
        "score": sample[task.measure],
        "is_truncated": any(str(arguments[0]) in cut for arguments in sample["arguments"]),
        "failed_program": next((one["failure"] for one in read if one["failure"]), None),
        "completions": [one[0] for one in sample["resps"]],
    }


def _score(
    task: Benchmark, rows: Sequence[Mapping[str, Any]], more: Mapping[str, Any], overlap: int | None
) -> Score:
    values = [row["score"] for row in rows]
    return Score(
        task=task.name,
        measure=task.measure,
        value=sum(values) / len(values),
        error=standard_error(values),
        questions=len(values),
        unanswered=sum(row["found"] is None for row in rows),
        truncated=sum(row["is_truncated"] for row in rows),
        failed_programs=sum(row["failed_program"] is not None for row in rows),
        overlap=overlap,
        more=more,
    )


def _summary_scores(
    task: Benchmark,
    rows: Sequence[Mapping[str, Any]],
    encoder: str | None,
    device: str,
    watch: Watch,
) -> dict[str, Any]:
    if task.kind != "summary":
        return {}
    summaries = [row["found"] or "" for row in rows]
    references = [row["reference"] for row in rows]
    scores = score_summaries(summaries, references)
    found: dict[str, Any] = {
        "rouge1": sum(scores.rouge_1) / len(rows),
        "rouge2": sum(scores.rouge_2) / len(rows),
        "bleu": scores.bleu,
        "bleu_signature": scores.bleu_signature,
    }
    if encoder is None:
        return found
    from smalltolarge.lm.bertscore import bertscore, signature

    try:
        with watch.progress.step("BERTScore", len(rows)) as bar:
            each = bertscore(
                [plain(text) for text in summaries],
                [plain(text) for text in references],
                model=encoder,
                device=device,
                check=watch.check,
                advance=bar.advance,
            )
        found |= {"bertscore": sum(each) / len(each), "bertscore_signature": signature(encoder)}
    except MissingArtifact as error:
        log.warning("BERTScore skipped: %s", error)
    return found


def _overlaps(
    asked: Mapping[str, Sequence[tuple[str, str]]],
    trained_on: Sequence[str],
    n_words: int,
    watch: Watch,
) -> dict[str, int]:
    """Count the training rows that overlap with the questions of each task, and say so."""
    if not trained_on:
        return {}
    rows = reading.load(list(trained_on), progress=watch.progress, check=watch.check)
    sources: list[list[Questions]] = [
        [[(name, [question]) for question, _ in pairs]] for name, pairs in asked.items()
    ]
    hits = Overlap(sources, n_words, watch.check).find(rows, lambda _: None)
    found = {
        name: len({hit.row for hit in hits if hit.source == number})
        for number, name in enumerate(asked)
    }
    for name, count in found.items():
        log.info("%s of the %s training rows overlap with %s", f"{count:,}", f"{len(rows):,}", name)
    return found


def _write(
    out: Path, task: Benchmark, rows: Sequence[Mapping[str, Any]], score: Score, facts: Any
) -> None:
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    content = lines.encode("utf-8", "surrogatepass")
    store.write_bytes(out / f"{task.name}.jsonl", content)
    written = {"answers_sha256": hashlib.sha256(content).hexdigest()}
    plain_score = asdict(score)
    if not math.isfinite(score.error):
        plain_score["error"] = None
    told = json.loads(json.dumps(facts, default=str))
    store.write_json(out / f"{task.name}.json", {"score": plain_score} | told | written)


def _done(out: Path, task: Benchmark, made_of: Mapping[str, Any]) -> Score | None:
    """Give the score that is there already; a file of other settings is never written over."""
    file, answers = out / f"{task.name}.json", out / f"{task.name}.jsonl"
    if not file.is_file():
        return None
    try:
        there = json.loads(file.read_bytes())
    except ValueError as error:
        raise IntegrityError(f"{file} is not JSON ({error}); take it away") from error
    wanted = json.loads(json.dumps(made_of))
    changed = [name for name in wanted if there.get(name) != wanted[name]]
    if changed:
        raise StaleArtifact(
            f"{file} is of other {' and '.join(changed)}. Choose another --out, or take it away."
        )
    if not answers.is_file() or store.digest(answers) != there.get("answers_sha256"):
        return None
    score = there["score"]
    return Score(**{**score, "error": math.nan if score["error"] is None else score["error"]})


def _digest(pairs: Sequence[tuple[str, str]]) -> str:
    return hashlib.sha256(json.dumps(list(pairs)).encode()).hexdigest()


def _model_digest(model: str) -> str:
    path = Path(model).expanduser()
    return store.digest(path) if path.exists() else model
