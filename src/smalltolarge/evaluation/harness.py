"""Our tasks as lm-evaluation-harness runs them: what the YAML in ``lm_eval_tasks`` names.

Settings come as its ``--metadata``: ``form`` (direct, cot, pot, combined), ``data`` (a folder of
files; without it, the hub), ``template`` ("alpaca" writes prompts under headings, for a base model
without a chat template), ``program_seconds``, ``program_megabytes`` and
``confirm_run_unsafe_code``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lm_eval.api.filter import Filter
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask

from smalltolarge.evaluation.completions import program_of
from smalltolarge.evaluation.exam import read_answer
from smalltolarge.evaluation.jail import Jails, Ran, find_backend
from smalltolarge.evaluation.summaries import bleu, rouge
from smalltolarge.evaluation.task import Question
from smalltolarge.evaluation.tasks import TASKS, Summaries


def load(**metadata: Any) -> dict[str, Any]:
    """Give the questions of a task as the harness's documents."""
    from datasets import Dataset

    task = TASKS[str(metadata["benchmark"])]
    forms = task.forms(str(metadata.get("form", "combined")))
    questions = task.questions(metadata.get("data"))
    jail: dict[str, Any] = {
        "seconds": float(metadata.get("program_seconds", 10.0)),
        "megabytes": int(metadata.get("program_megabytes", 512)),
        "unconfined": bool(metadata.get("confirm_run_unsafe_code", False)),
    }
    if "pot" in forms:
        find_backend(unconfined=jail["unconfined"])  # refused now, not after all is generated
    rows = []
    for index, question in enumerate(questions):
        asked = [task.ask(question, form) for form in forms]
        if metadata.get("template") == "alpaca":
            asked = [f"### Instruction:\n{text}\n\n### Response:\n" for text in asked]
        rows.append(
            {
                "index": index,
                "task": task.name,
                "question": question.text,
                "reference": question.reference,
                "forms": list(forms),
                "asked": asked,
                "jail": jail,
            }
        )
    return {"test": Dataset.from_list(rows)}


def prompt(doc: Mapping[str, Any]) -> str:
    """Give what is asked first."""
    return str(doc["asked"][0])


def reference(doc: Mapping[str, Any]) -> str:
    """Give the right answer."""
    return str(doc["reference"])


class Read(Filter):  # type: ignore[misc]
    """From completions to answers; all programs are run together, in a jail."""

    def apply(self, resps: Any, docs: Any) -> list[dict[str, Any]]:
        """Give, for every completion, the answer found and why its program failed."""
        turns: dict[int, int] = {}
        asked = []
        for responses, doc in zip(resps, docs, strict=True):
            turn = turns.get(doc["index"], 0)
            turns[doc["index"]] = turn + 1
            asked.append((str(responses[0]), doc, doc["forms"][turn]))
        programs = [program_of(text) for text, _, form in asked if form == "pot"]
        ran = iter(_run(programs, asked[0][1]["jail"]) if programs else [])
        return [_read(*one, next(ran) if one[2] == "pot" else None) for one in asked]


def _run(programs: list[str], jail: Mapping[str, Any]) -> list[Ran]:
    backend = find_backend(unconfined=jail["unconfined"])
    with Jails(backend, seconds=jail["seconds"], megabytes=jail["megabytes"]) as jails:
        return jails.run(programs)


def _read(text: str, doc: Mapping[str, Any], form: str, ran: Ran | None) -> dict[str, Any]:
    found, failure = read_answer(TASKS[doc["task"]], text, _question(doc), ran)
    return {"form": form, "found": found, "failure": failure}


def _question(doc: Mapping[str, Any]) -> Question:
    return Question(doc["question"], doc["reference"])


def judge(doc: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Score the first answer found among the forms."""
    task = TASKS[doc["task"]]
    found = next((one["found"] for one in results if one["found"] is not None), None)
    scores: dict[str, Any] = {"unanswered": float(found is None)}
    if isinstance(task, Summaries):
        scores |= rouge(found or "", doc["reference"])
        scores["bleu"] = (found or "", doc["reference"])
        return scores
    scores["accuracy"] = 0.0 if found is None else task.score(found, _question(doc))
    scores["failed_programs"] = float(any(one["failure"] is not None for one in results))
    return scores


def corpus_bleu(pairs: Sequence[tuple[str, str]]) -> float:
    """Give BLEU, 0 to 100, of all summaries together."""
    return bleu([found for found, _ in pairs], [wanted for _, wanted in pairs])[0]


class HarnessTask(ConfigurableTask):  # type: ignore[misc]
    """A task whose questions may be asked in several forms."""

    def __init__(self, config: dict[str, Any]) -> None:
        settings = {name: value for name, value in config.items() if name != "class"}
        summary = isinstance(TASKS[settings["metadata"]["benchmark"]], Summaries)
        means = ["unanswered", "accuracy", "failed_programs"]
        if summary:
            means = ["unanswered", "rougeL", "rouge1", "rouge2"]
        metrics: list[dict[str, Any]] = [
            {"metric": name, "aggregation": "mean", "higher_is_better": name in means[1:2]}
            for name in means
        ]
        if summary:
            metrics.append({"metric": "bleu", "aggregation": corpus_bleu, "higher_is_better": True})
        super().__init__(config={**settings, "metric_list": metrics})

    def construct_requests(self, doc: Any, ctx: Any, **given: Any) -> list[Any]:
        """Make a request for each form: the context of the first, with what it asks replaced."""
        chat = given.pop("chat_template", None)
        with_chat = given.pop("apply_chat_template", False)
        contexts = [ctx]
        for text in doc["asked"][1:]:
            turn = [{"role": "user", "content": text}]
            contexts.append(chat(turn) if with_chat and chat is not None else text)
        return [
            Instance(
                request_type=self.OUTPUT_TYPE,
                doc=doc,
                arguments=(context, dict(self.config.generation_kwargs)),
                idx=number,
                **given,
            )
            for number, context in enumerate(contexts)
        ]
