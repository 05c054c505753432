"""Questions put to a model, and its greedy answers, in batches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from smalltolarge.errors import DataError, RecipeError, printable
from smalltolarge.examples.table import Message
from smalltolarge.lm import attention, models
from smalltolarge.lm.device import find_device, fixed, uses_bfloat16
from smalltolarge.lm.ending import stop_tokens
from smalltolarge.lm.memory import giving_back
from smalltolarge.lm.models import Model
from smalltolarge.lm.rendering import alpaca
from smalltolarge.lm.tokenizer import ModelTokenizer, check_ids, given_tokenizer, which_template
from smalltolarge.progress import Step
from smalltolarge.settings import ModelSettings, cores

log = logging.getLogger("smalltolarge")


@dataclass(frozen=True)
class Completion:
    """What a model answered."""

    text: str
    is_cut: bool
    """Whether the answer had no end within the tokens allowed."""


@dataclass(frozen=True, eq=False)
class Answerer:
    """A model in memory, and how questions are put to it."""

    model: Any
    described: Model
    tokenizer: ModelTokenizer
    template: str
    """"alpaca" or "chat"."""
    settings: ModelSettings

    @classmethod
    def load(cls, name: str, settings: ModelSettings) -> Answerer:
        """Load a pretrained model, from a folder or the hub, once its folder is known to be safe.

        Raises
        ------
        RecipeError
            A setting does not fit the model.
        MissingArtifact, IntegrityError, RefusedForSafety, DataError
            The model is not there, is damaged, would run code, or predicts no next token.
        """
        described = models.pretrained_model(name, settings.revision)
        tokenizer = given_tokenizer(settings, described)
        template = which_template(settings, tokenizer)
        if template == "chat":
            assert tokenizer.chat is not None
            tokenizer.chat.probe([Message("user", "What is 2 + 3?"), Message("assistant", "5")])
        check_ids(tokenizer.size - 1, described.vocabulary, tokenizer.name, name)
        model = models.load(described, seed=0)
        return cls(model.to(find_device(settings.device)), described, tokenizer, template, settings)

    def prompts(self, conversations: Sequence[Sequence[Message]]) -> list[np.ndarray]:
        """Give the tokens, int32 (l,), after which the model answers each conversation.

        Raises
        ------
        DataError
            The chat template does not take a conversation.
        """
        tokenizer, chat = self.tokenizer, self.tokenizer.chat
        if self.template == "chat":
            assert chat is not None
            try:
                texts = [[chat.render(turns, prompt=True)] for turns in conversations]
            except Exception as error:  # whatever a stranger's template may raise
                raise DataError(
                    f"the chat template of {chat.name} does not take a question "
                    f"({printable(str(error), 200)}). Give --template alpaca."
                ) from error
        else:
            ending = Message("assistant", "")
            texts = [
                [piece.text for piece in alpaca([*turns, ending], self.settings.preamble).pieces]
                for turns in conversations
            ]
        encode = tokenizer.encoder(special=self.template == "chat")
        prefix, eos = list(tokenizer.prefix), [] if tokenizer.eos is None else [tokenizer.eos]
        prompts = []
        for parts in texts:
            ids: list[int] = []
            for found in encode(parts):
                ids += (eos if ids else []) + found.ids
            begins = ids[: len(prefix)] == prefix
            prompts.append(np.array(ids if begins else prefix + ids, dtype=np.int32))
        return prompts

    def fitting(self, prompts: Sequence[np.ndarray], max_new_tokens: int) -> list[bool]:
        """Say which prompts, int32 (l,) each, leave room for an answer of so many tokens."""
        positions = self.described.positions
        return [positions is None or len(ids) + max_new_tokens <= positions for ids in prompts]

    def check_room(self, prompts: Sequence[np.ndarray], max_new_tokens: int, task: str) -> None:
        """Refuse a length of answers that leaves room for no prompt; warn where for some.

        Raises
        ------
        RecipeError
            No prompt fits beside an answer of ``max_new_tokens``.
        """
        fits = self.fitting(prompts, max_new_tokens)
        if all(fits):
            return
        positions = self.described.positions
        assert positions is not None
        lengths = [len(ids) for ids in prompts]
        for_all, for_any = positions - max(lengths), positions - min(lengths)
        told = (
            f"--max-new-tokens is {max_new_tokens:,}, but {self.described.name} has room for "
            f"{positions:,} tokens, a prompt and its answer together. That leaves "
            f"{max(positions - max_new_tokens, 0):,} for the prompt, and those of {task} have "
            f"{min(lengths):,} to {max(lengths):,}."
        )
        if for_any < 1:
            advice = "Take a model with more positions."
        elif for_all < 1:
            advice = f"At most {for_any:,} new tokens leave room for its shortest prompts."
        else:
            advice = f"Give {for_all:,} or less, and all of them fit."
        if not any(fits):
            raise RecipeError(f"{told} {advice}")
        log.warning(
            "%s %d of %d prompts do not fit: they count as unanswered and truncated. %s",
            told, fits.count(False), len(fits), advice,
        )  # fmt: skip

    def answers(
        self,
        conversations: Sequence[Sequence[Message]],
        *,
        max_new_tokens: int,
        batch_size: int,
        check: Callable[[], None] = lambda: None,
        bar: Step | None = None,
    ) -> list[Completion]:
        """Answer conversations that end before an answer; see ``prompts`` and ``continuations``."""
        return self.continuations(
            self.prompts(conversations),
            max_new_tokens=max_new_tokens,
            batch_size=batch_size,
            check=check,
            bar=bar,
        )

    def continuations(
        self,
        prompts: Sequence[np.ndarray],
        *,
        max_new_tokens: int,
        batch_size: int,
        check: Callable[[], None] = lambda: None,
        bar: Step | None = None,
    ) -> list[Completion]:
        """Go on with prompts, int32 (l,) each, by the likeliest token at each place.

        Prompts of like length share a batch, padded on the left. ``check`` is called before every
        token of a batch; ``bar`` counts the prompts.

        Raises
        ------
        RecipeError
            A prompt leaves no place for an answer.
        """
        self._check_room(max(map(len, prompts), default=0), max_new_tokens)
        check, bar = giving_back(check), bar or Step()
        device = find_device(self.settings.device)
        bfloat16 = uses_bfloat16(self.settings.precision, device)
        answers: list[Completion | None] = [None] * len(prompts)
        order = sorted(range(len(prompts)), key=lambda row: -len(prompts[row]))
        tokenizer = Tokenizer.from_str(self.tokenizer.text)
        with (
            fixed(self.settings.threads or cores(), device),
            _answering(self.model),
            torch.inference_mode(),
            torch.autocast(device.type, dtype=torch.bfloat16, enabled=bfloat16),
        ):
            for start in range(0, len(order), batch_size):
                rows = order[start : start + batch_size]
                batch = [prompts[row] for row in rows]
                with bar.part(Step(total=max_new_tokens, unit="tokens")) as part:
                    found = self._continued(batch, max_new_tokens, device, check, part)
                for row, (ids, is_cut) in zip(rows, found, strict=True):
                    answers[row] = Completion(tokenizer.decode(ids), is_cut)
                bar.advance(len(rows))
        return [answer for answer in answers if answer is not None]

    def _continued(
        self,
        prompts: list[np.ndarray],
        max_new_tokens: int,
        device: torch.device,
        check: Callable[[], None],
        part: Step,
    ) -> list[tuple[list[int], bool]]:
        """Give the tokens that follow each prompt, up to the first that ends an answer."""
        width = max(map(len, prompts))
        tokens = torch.zeros((len(prompts), width), dtype=torch.int64)
        mask = torch.zeros((len(prompts), width), dtype=torch.int64)
        for place, prompt in enumerate(prompts):
            tokens[place, width - len(prompt) :] = torch.from_numpy(prompt.astype(np.int64))
            mask[place, width - len(prompt) :] = 1
        ends = stop_tokens(self.model, self.tokenizer, self.template)

        def after_token(tokens: torch.Tensor, scores: Any, **more: Any) -> torch.Tensor:
            part.advance()
            check()
            return torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)

        check()
        found = self.model.generate(
            input_ids=tokens.to(device),
            attention_mask=mask.to(device),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            # a model's own generation settings are not greedy decoding
            repetition_penalty=1.0,
            no_repeat_ngram_size=0,
            use_cache=True,
            eos_token_id=ends or None,
            pad_token_id=ends[0] if ends else 0,
            stopping_criteria=[after_token],
        )
        answers = []
        for ids in found[:, width:].tolist():
            end = next((place for place, token in enumerate(ids) if token in ends), None)
            answers.append((ids[:end], end is None))
        return answers

    def _check_room(self, longest: int, max_new_tokens: int) -> None:
        positions = self.described.positions
        if positions is not None and longest + max_new_tokens > positions:
            raise RecipeError(
                f"max_new_tokens is {max_new_tokens}, and the longest question has {longest} "
                f"tokens; {self.described.name} has {positions} positions. Ask for at most "
                f"{max(positions - longest, 0)} new tokens."
            )


@contextmanager
def _answering(model: Any) -> Iterator[None]:
    """Bring a model into evaluation mode, with an attention that knows a cache."""
    training = model.training
    model.eval()
    try:
        with attention.own(model):
            yield
    finally:
        model.train(training)
