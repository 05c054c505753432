"""A model of ours as lm-evaluation-harness wants one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from lm_eval.api.model import LM

from smalltolarge.errors import RecipeError
from smalltolarge.examples.table import Message
from smalltolarge.lm.generation import Answerer
from smalltolarge.progress import Step


class HarnessModel(LM):  # type: ignore[misc]
    """Answers the harness's requests greedily, and remembers which answers had no end.

    A context is a conversation as JSON, so that the prompt is written here, token by token as in
    training, by the template that the settings name.
    """

    def __init__(
        self,
        answerer: Answerer,
        *,
        max_new_tokens: int,
        batch_size: int,
        check: Callable[[], None] = lambda: None,
        bar: Step | None = None,
    ) -> None:
        super().__init__()
        self.answerer = answerer
        self.max_new_tokens, self.batch_size = max_new_tokens, batch_size
        self.check, self.bar = check, bar
        self.cut: set[str] = set()
        """Contexts whose answer reached the length limit."""

    @property
    def tokenizer_name(self) -> str:
        """Name of the tokenizer."""
        return self.answerer.tokenizer.name

    def chat_template(self, chat_template: bool | str = False) -> str:
        """Name how prompts are written."""
        return self.answerer.template

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Give a conversation as JSON."""
        return json.dumps(chat_history, ensure_ascii=False)

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Answer all requests; what follows a stop sequence is dropped."""
        contexts = [str(request.args[0]) for request in requests]
        found = self.answerer.answers(
            [_conversation(context) for context in contexts],
            max_new_tokens=self.max_new_tokens,
            batch_size=self.batch_size,
            check=self.check,
            bar=self.bar,
        )
        texts = []
        for context, request, completion in zip(contexts, requests, found, strict=True):
            text = _until(completion.text, request.args[1])
            if completion.is_truncated and text == completion.text:
                self.cut.add(context)
            texts.append(text)
        return texts

    def loglikelihood(self, requests: list[Any]) -> list[Any]:
        """Refuse: our tasks generate."""
        raise RecipeError("only tasks that generate text run here; run others with lm-eval itself")

    def loglikelihood_rolling(self, requests: list[Any]) -> list[Any]:
        """Refuse: our tasks generate."""
        return self.loglikelihood(requests)


def _conversation(context: str) -> list[Message]:
    turns = json.loads(context)
    return [Message(turn["role"], turn["content"]) for turn in turns]


def _until(text: str, arguments: Mapping[str, Any]) -> str:
    for stop in arguments.get("until", []):
        text = text.partition(stop)[0]
    return text
