"""Our tasks as lm-evaluation-harness runs them: what the YAML in ``lm_eval_tasks`` names.

Settings come as its ``--metadata``, see ``harness_settings``; shots (``--num_fewshot``) from the
train split, see ``showable``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from lm_eval.api.filter import Filter
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask

from smalltolarge.errors import MissingArtifact, RecipeError
from smalltolarge.evaluation.completions import program_of
from smalltolarge.evaluation.exam import read_answer, showable
from smalltolarge.evaluation.harness_settings import DATA_OPTION, HarnessSettings, read_settings
from smalltolarge.evaluation.questions import DATA_OPTION as OUR_OPTION
from smalltolarge.evaluation.summaries import bleu, rouge
from smalltolarge.evaluation.task import Question, Task
from smalltolarge.evaluation.tasks import TASKS
from smalltolarge.jail import Jails, Ran, find_backend

_BENEATH = {
    "alpaca": ("### Instruction:\n", "\n\n### Response:\n"),
    "plain": ("Question: ", "\nAnswer:\n"),
}
"""What stands before and after a question where no chat template writes it."""
_NEXT_QUESTION = "\n\nQuestion: "
"""What a base model goes on with after its answer when it was shown several."""


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


@contextmanager
def _by_their_option() -> Iterator[None]:
    """Name lm-eval's way to give the folder of data where ours is asked for."""
    try:
        yield
    except MissingArtifact as error:
        raise MissingArtifact(str(error).replace(OUR_OPTION, DATA_OPTION)) from error


def judge(doc: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Score the first answer found among the forms."""
    task = TASKS[doc["task"]]
    found = next((one["found"] for one in results if one["found"] is not None), None)
    scores: dict[str, Any] = {"unanswered": float(found is None)}
    if task.measure == "rougeL":
        scores |= rouge(found or "", doc["reference"])
        scores["bleu"] = (found or "", doc["reference"])
        return scores
    scores["accuracy"] = 0.0 if found is None else task.score(found, _question(doc))
    scores["failed_programs"] = float(any(one["failure"] is not None for one in results))
    return scores


def corpus_bleu(pairs: Sequence[tuple[str, str]]) -> float:
    """Give BLEU, 0 to 100, of all summaries together."""
    return bleu([found for found, _ in pairs], [wanted for _, wanted in pairs])[0]


def _metrics(task: Task) -> list[dict[str, Any]]:
    is_summary = task.measure == "rougeL"
    good = ["rougeL", "rouge1", "rouge2"] if is_summary else ["accuracy"]
    bad = ["unanswered"] if is_summary else ["unanswered", "failed_programs"]
    metrics: list[dict[str, Any]] = [
        {"metric": name, "aggregation": "mean", "higher_is_better": name in good}
        for name in good + bad
    ]
    if is_summary:
        metrics.append({"metric": "bleu", "aggregation": corpus_bleu, "higher_is_better": True})
    return metrics


class HarnessTask(ConfigurableTask):  # type: ignore[misc]
    """A task whose questions may be asked in several forms, each with shots of its own."""

    def __init__(self, config: dict[str, Any]) -> None:
        settings = {name: value for name, value in config.items() if name != "class"}
        self.benchmark = TASKS[settings["dataset_kwargs"]["benchmark"]]
        self.settings: HarnessSettings = read_settings(settings["task"], settings["metadata"])
        super().__init__(config={**settings, "metric_list": _metrics(self.benchmark)})

    def download(self, dataset_kwargs: Any = None, **_: Any) -> None:
        """Read the questions, as the harness's documents."""
        from datasets import Dataset

        task, settings = self.benchmark, self.settings
        forms = task.forms(settings.form)
        with _by_their_option():
            self.questions = task.questions(settings.data)
        if "pot" in forms:  # refused now, not after all is generated
            find_backend(unconfined=settings.confirm_run_unsafe_code)
        jail = {
            "seconds": float(settings.program_seconds),
            "megabytes": settings.program_megabytes,
            "unconfined": settings.confirm_run_unsafe_code,
        }
        rows = [
            {
                "index": index,
                "task": task.name,
                "question": question.text,
                "reference": question.reference,
                "forms": list(forms),
                "asked": [task.ask(question, form) for form in forms],
                "jail": jail,
            }
            for index, question in enumerate(self.questions)
        ]
        self.dataset = {"test": Dataset.from_list(rows)}

    def build_all_requests(self, *, cache_requests: bool = False, **given: Any) -> None:
        """Write all prompts, anew: lm-eval's cache of them does not know its ``--metadata``."""
        super().build_all_requests(**given)

    def fewshot_docs(self) -> None:
        """Give none: shots are read where they are asked for, by ``showable``."""

    @cached_property
    def shots(self) -> list[Question]:
        """All that may be shown."""
        forms = self.benchmark.forms(self.settings.form)
        with _by_their_option():
            return showable(self.benchmark, forms, self.settings.data, self.questions)

    def fewshot_context(self, doc: Any, num_fewshot: int = 0, **given: Any) -> list[str]:
        """Write for each form of a question what the model goes on from.

        Raises
        ------
        MissingArtifact, DataError
            Shots are asked for, and there is no train split, or it cannot be read.
        RecipeError
            There are fewer shots than asked for, or the settings contradict each other.
        """
        if num_fewshot > len(self.shots if num_fewshot else ()):
            raise RecipeError(
                f"{self.config.task}: --num_fewshot is {num_fewshot}, and the train split has "
                f"{len(self.shots)} rows to show"
            )
        shots = self.fewshot_rnd.sample(self.shots, num_fewshot) if num_fewshot else []
        chat = given.get("chat_template") if given.get("apply_chat_template") else None
        if chat is not None and self.settings.template is not None:
            raise RecipeError(
                f"{self.config.task}: --metadata template is {self.settings.template}, and "
                "--apply_chat_template writes prompts by the model's own: give one of the two"
            )
        task, contexts = self.benchmark, []
        for form, asked in zip(doc["forms"], doc["asked"], strict=True):
            shown = [(task.ask(shot, form), task.show(shot, form) or "") for shot in shots]
            turns = [*shown, (asked, "")]
            contexts.append(
                self._written(
                    turns, given.get("system_instruction"), chat, given.get("fewshot_as_multiturn")
                )
            )
        return contexts

    def _written(
        self,
        turns: Sequence[tuple[str, str]],
        system: str | None,
        chat: Callable[[list[dict[str, str]]], str] | None,
        multiturn: bool | None,
    ) -> str:
        """Write questions and answers, and a question without one, as one prompt."""
        if chat is not None and multiturn:
            messages = [
                {"role": role, "content": text}
                for turn in turns
                for role, text in zip(("user", "assistant"), turn, strict=True)
            ][:-1]
        else:
            kind = self.settings.template or ("plain" if len(turns) > 1 else "")
            before, after = _BENEATH.get(kind, ("", ""))
            text = "\n\n".join(f"{before}{asked}{after}{answer}" for asked, answer in turns)
            messages = [{"role": "user", "content": text.rstrip("\n") if kind == "plain" else text}]
        if system:
            messages.insert(0, {"role": "system", "content": system})
        if chat is not None:
            return chat(messages)
        return "\n\n".join(message["content"] for message in messages)

    def construct_requests(self, doc: Any, ctx: Sequence[str], **given: Any) -> list[Any]:
        """Make a request of each form's context."""
        arguments = dict(self.config.generation_kwargs)
        in_plain = self.settings.template is None and not given.get("apply_chat_template")
        if self.config.num_fewshot and in_plain:
            until = arguments["until"]
            arguments["until"] = [*([until] if isinstance(until, str) else until), _NEXT_QUESTION]
        return [
            Instance(
                request_type=self.OUTPUT_TYPE,
                doc=doc,
                arguments=(context, dict(arguments)),
                idx=number,
                metadata=given["metadata"],
            )
            for number, context in enumerate(ctx)
        ]
