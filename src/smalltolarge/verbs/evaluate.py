"""A model put to tasks, one after the other, and what came of it.

The run folder of an evaluation holds what every run folder holds, and: ``answers-TASK.jsonl``,
every question with what was answered, found and scored; ``table.md`` and ``table.json``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from smalltolarge import examples as reading
from smalltolarge import store
from smalltolarge.errors import MissingArtifact
from smalltolarge.evaluation import Answer, Exam, Score
from smalltolarge.evaluation.summaries import plain
from smalltolarge.examples.overlap import overlaps_by_name
from smalltolarge.progress import LOADING, Progress, Watch
from smalltolarge.report.evaluation import to_markdown
from smalltolarge.runs import recipe as recipes
from smalltolarge.runs import stages
from smalltolarge.runs.folder import RunFolder
from smalltolarge.runs.recipe import EvaluateRecipe
from smalltolarge.runs.results import Run
from smalltolarge.verbs import given
from smalltolarge.verbs.keywords import Evaluating

if TYPE_CHECKING:
    from smalltolarge.lm import Answerer

log = logging.getLogger("smalltolarge")


def evaluate(
    model: str | PathLike[str],
    tasks: str | Sequence[str],
    *,
    out: str | PathLike[str],
    confirm_run_unsafe_code: bool = False,
    progress: Progress | Watch | None = None,
    **settings: Unpack[Evaluating],
) -> list[Score]:
    """Ask a model the questions of tasks, score its answers, and keep both in the folder ``out``.

    The same call goes on with the question where it stopped.

    Parameters
    ----------
    model : a folder with safetensors, a GGUF file, a hub name, or smollm2-135m
    tasks : names of tasks and groups, FILE.jsonl, or my_package.module:Class
    confirm_run_unsafe_code : run programs without a jail where this machine has none
    settings : fields of ``AskingSettings`` (data, form, ...), ``ScoringSettings`` (trained_on,
        bertscore, ...) and ``ModelSettings``

    Raises
    ------
    RecipeError, MissingArtifact, DataError
        A setting, a file or the model is not as it must be; nothing is asked then.
    RefusedForSafety
        The model's folder would run code, or programs would run and this machine has no jail.
    StaleArtifact
        ``out`` is of other settings, or a file was changed.
    """
    own = {"model": fspath(model), "tasks": [tasks] if isinstance(tasks, str) else list(tasks)}
    recipe = recipes.read(recipes.place({**settings, **own}, EvaluateRecipe), EvaluateRecipe)
    watch = Watch.of(progress)
    return run_evaluate(recipe, given.path(out), watch, unconfined=confirm_run_unsafe_code)


def run_evaluate(
    recipe: EvaluateRecipe, folder: Path, watch: Watch, *, unconfined: bool = False
) -> list[Score]:
    """Ask, score and keep, task by task; what is done is not done again. Raises as ``evaluate``."""
    with stages.hold(recipe, folder) as (run, recipe):
        return _evaluate(run, recipe, unconfined, watch)


def _evaluate(
    run: RunFolder, recipe: EvaluateRecipe, unconfined: bool, watch: Watch
) -> list[Score]:
    exam = Exam(recipe.evaluation)
    inputs, overlaps = _read(recipe, exam, run.facts("load"), watch)
    stages.refuse_changed_inputs(run, inputs)
    done = run.check_all()
    stage_of = {task.name: f"task {task.name}" for task in exam.tasks}
    todo = [task for task in exam.tasks if stage_of[task.name] not in done]
    kept = run.working / "answering"
    if todo:
        exam.confine(unconfined=unconfined)
        answerer = _load(recipe, watch)
        exam.check_room(answerer)
        facts = {"inputs": inputs, "commit": answerer.described.commit, "overlaps": overlaps}
        if "load" not in done:
            stages.lay_down(run, recipe, facts, {})
        for task in todo:
            score, answers = exam.examine(
                task, answerer, progress=watch.progress, check=watch.check, folder=kept
            )
            measures = {**score.measures, **_bertscore(recipe, score, answers, watch)}
            score = replace(score, measures=measures, overlap=overlaps.get(task.name))
            files = {f"answers-{task.name}.jsonl": store.json_lines(map(asdict, answers))}
            jail = exam.backend if "pot" in task.forms(recipe.evaluation.form) else None
            run.commit(stage_of[task.name], files, {"score": score.to_plain(), "jail": jail})
    elif "load" not in done:
        stages.lay_down(run, recipe, run.facts("load") or {}, {})
    scores = [Score.from_plain(Run(run.path).facts(stage)["score"]) for stage in stage_of.values()]
    if todo or not run.is_done("table"):
        run.commit("table", tables(scores), {})
    else:
        log.info("%s is done: there is nothing to do", run.path)
    return scores


def tables(scores: Sequence[Score]) -> dict[str, bytes]:
    """Give the files that show the scores of tasks, by name."""
    plain = [score.to_plain() for score in scores]
    return {"table.json": store.as_json(plain), "table.md": to_markdown(scores).encode()}


def _read(
    recipe: EvaluateRecipe, exam: Exam, begun: Mapping[str, Any] | None, watch: Watch
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Say what is read, and count the training rows that overlap with each task, once for a run."""
    inputs = [*exam.inputs(), *stages.inputs_here([("model", recipe.model)])]
    if not recipe.trained_on:
        return inputs, {}
    rows = reading.load(list(recipe.trained_on), progress=watch.progress, check=watch.check)
    inputs += [asdict(entry) for entry in rows.inputs]
    if begun is not None:
        return inputs, begun.get("overlaps", {})
    found = overlaps_by_name(rows, exam.texts(), recipe.overlap_words, watch.check)
    for name, which in found.items():
        log.info(
            "%s of the %s training rows overlap with %s", f"{len(which):,}", f"{len(rows):,}", name
        )
    return inputs, {name: len(which) for name, which in found.items()}


def _load(recipe: EvaluateRecipe, watch: Watch) -> Answerer:
    with watch.progress.step(LOADING, unit=""):
        from smalltolarge import lm

        return lm.Answerer.load(recipe.model, recipe.answering)


def _bertscore(
    recipe: EvaluateRecipe, score: Score, answers: Sequence[Answer], watch: Watch
) -> Mapping[str, Any]:
    """Score summaries by BERTScore, where it is asked for and its encoder is here."""
    if recipe.bertscore is None or score.measure != "rougeL":
        return {}
    from smalltolarge.lm.bertscore import bertscore, signature

    try:
        with watch.progress.step("BERTScore", len(answers)) as bar:
            each = bertscore(
                [plain(one.found or "") for one in answers],
                [plain(one.reference) for one in answers],
                model=recipe.bertscore,
                device=recipe.answering.device,
                check=watch.check,
                advance=bar.advance,
            )
        signed = signature(recipe.bertscore)
        return {"bertscore": sum(each) / len(each), "bertscore_signature": signed}
    except MissingArtifact as error:
        log.warning("BERTScore skipped: %s", error)
        return {}
