"""Questions put to a model, and its greedy answers, in batches."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from tokenizers import Tokenizer

from smalltolarge import store
from smalltolarge.errors import DataError, OutOfSpace, RecipeError, printable
from smalltolarge.examples.table import Message
from smalltolarge.lm import child, models
from smalltolarge.lm.device import Machine, find_device
from smalltolarge.lm.ending import stop_tokens
from smalltolarge.lm.fast import attention
from smalltolarge.lm.fast.memory import giving_back
from smalltolarge.lm.models import Model
from smalltolarge.lm.rendering import alpaca
from smalltolarge.lm.tokenizer import ModelTokenizer, check_ids, given_tokenizer, which_template
from smalltolarge.progress import Step
from smalltolarge.settings import ModelSettings

log = logging.getLogger("smalltolarge")

_USUAL_BATCH = {"cuda": 256}
"""Prompts of a batch where nobody says how many; fewer where they do not fit."""
_SMALL_BATCH = 32


@dataclass(frozen=True)
class Completion:
    """What a model answered."""

    text: str
    is_truncated: bool
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
        check_ids(tokenizer.size - 1, described.vocabulary, tokenizer.name, name)
        model = models.load(described, seed=0)
        return cls(model.to(find_device(settings.device)), described, tokenizer, template, settings)

    def prompts(self, conversations: Sequence[Sequence[Message]]) -> list[np.ndarray]:
        """Give the tokens, int32 (l,), after which the model answers each conversation.

        Raises
        ------
        DataError
            The chat template does not take a conversation.
        RefusedForSafety
            It does not finish one.
        """
        tokenizer, chat = self.tokenizer, self.tokenizer.chat
        if self.template == "chat":
            assert chat is not None
            try:
                texts = [[text] for text in chat.prompts(conversations)]
            except DataError as error:
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

    def check_room(self, prompts: Sequence[np.ndarray], max_new_tokens: int, task: str) -> None:
        """Refuse a length of answers that leaves room for no prompt; warn where for some.

        Raises
        ------
        RecipeError
            No prompt fits beside an answer of ``max_new_tokens``.
        """
        positions = self.described.positions
        lengths = [len(ids) for ids in prompts]
        if positions is None or max(lengths) + max_new_tokens <= positions:
            return
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
        without = sum(length + max_new_tokens > positions for length in lengths)
        if without == len(prompts):
            raise RecipeError(f"{told} {advice}")
        log.warning(
            "%s %d of %d prompts do not fit: they count as unanswered and truncated. %s",
            told, without, len(prompts), advice,
        )  # fmt: skip

    @cached_property
    def _decoder(self) -> Tokenizer:
        return Tokenizer.from_str(self.tokenizer.text)

    def answers(
        self,
        conversations: Sequence[Sequence[Message]],
        *,
        max_new_tokens: int,
        batch_size: int | Literal["auto"],
        check: Callable[[], None] = lambda: None,
        bar: Step | None = None,
        folder: Path | None = None,
    ) -> list[Completion]:
        """Answer conversations that end before an answer, by the likeliest token at each place.

        Prompts of like length share a batch, padded on the left; "auto" makes batches smaller when
        memory runs out. A prompt that leaves no room for ``max_new_tokens`` is not answered: its
        completion is empty and truncated. With a ``folder``, every batch is kept there once it is
        done, and the same call goes on from there. ``check`` is called before every token of a
        batch; ``bar`` counts the prompts.

        Raises
        ------
        DataError
            The chat template does not take a conversation.
        OutOfSpace
            The memory does not suffice for a batch.
        """
        prompts = self.prompts(conversations)
        check, bar = giving_back(check), bar or Step()
        machine = Machine.of(self.settings)
        device = machine.device
        answers = [Completion("", True)] * len(prompts)
        rows = self._with_room(prompts, max_new_tokens)
        bar.advance(len(prompts) - len(rows))
        size = batch_size
        if size == "auto":
            size = _USUAL_BATCH.get(device.type, _SMALL_BATCH)
        done = 0
        with (
            machine.fixed(),
            _answering(self.model),
            torch.inference_mode(),
            torch.autocast(device.type, dtype=torch.bfloat16, enabled=machine.bfloat16),
        ):
            while done < len(rows):
                kept = None if folder is None else folder / f"{done:08d}.json"
                waiting = [prompts[row] for row in rows[done:]]
                found = _kept(kept, waiting, max_new_tokens)
                if found is None:
                    batch = waiting[:size]
                    with bar.part(Step(total=max_new_tokens, unit="tokens")) as part:
                        found = self._continued(batch, max_new_tokens, device, check, part)
                    if found is None:
                        if batch_size != "auto" or size == 1:
                            raise OutOfSpace(
                                f"out of memory with {len(batch)} prompts in a batch. Give a "
                                "smaller --batch-size, or auto."
                            )
                        size = len(batch) // 2 or 1
                        log.info("out of memory: %d prompts in a batch from here on", size)
                        continue
                    if kept is not None:
                        _keep(kept, batch, max_new_tokens, found)
                for row, completion in zip(rows[done:], found, strict=False):
                    answers[row] = completion
                done += len(found)
                bar.advance(len(found))
        child.close()
        return answers

    def _with_room(self, prompts: Sequence[np.ndarray], max_new_tokens: int) -> list[int]:
        """List the prompts that leave room for an answer, the longest first."""
        positions = self.described.positions
        rows = sorted(range(len(prompts)), key=lambda row: -len(prompts[row]))
        if positions is None:
            return rows
        return [row for row in rows if len(prompts[row]) + max_new_tokens <= positions]

    def _continued(
        self,
        prompts: list[np.ndarray],
        max_new_tokens: int,
        device: torch.device,
        check: Callable[[], None],
        part: Step,
    ) -> list[Completion] | None:
        """Give what follows each prompt, up to the first token that ends an answer.

        None where the memory does not suffice.
        """
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
        try:
            found = self.model.generate(
                input_ids=tokens.to(device),
                attention_mask=mask.to(device),
                max_new_tokens=max_new_tokens,
                do_sample=False,
                num_beams=1,
                use_cache=True,
                eos_token_id=ends or None,
                pad_token_id=ends[0] if ends else 0,
                stopping_criteria=[after_token],
            )
        except torch.OutOfMemoryError:
            return None  # what it held is given back only once the error is gone
        answers = []
        for ids in found[:, width:].tolist():
            end = next((place for place, token in enumerate(ids) if token in ends), None)
            answers.append(Completion(self._decoder.decode(ids[:end]), end is None))
        return answers


def _digest(prompts: Sequence[np.ndarray], max_new_tokens: int) -> str:
    """Tell a batch from every other, by all that its answers follow from beside the model."""
    told = hashlib.sha256(str(max_new_tokens).encode())
    for prompt in prompts:
        told.update(f" {len(prompt)} ".encode() + prompt.tobytes())
    return told.hexdigest()


def _keep(
    file: Path, prompts: Sequence[np.ndarray], max_new_tokens: int, found: Sequence[Completion]
) -> None:
    answers = [[one.text, one.is_truncated] for one in found]
    store.write_json(file, {"of": _digest(prompts, max_new_tokens), "answers": answers})


def _kept(
    file: Path | None, waiting: Sequence[np.ndarray], max_new_tokens: int
) -> list[Completion] | None:
    """Read a batch that was kept; None where there is none of these prompts."""
    if file is None or not file.is_file():
        return None
    try:
        there = json.loads(file.read_bytes())
        found = [Completion(text, is_truncated) for text, is_truncated in there["answers"]]
        same = there["of"] == _digest(waiting[: len(found)], max_new_tokens)
    except (ValueError, KeyError, TypeError):
        same = False
    if not same:
        log.warning("%s is not what was kept there; the batch is answered again", file)
        return None
    return found


@contextmanager
def _answering(model: Any) -> Iterator[None]:
    """Bring a model into evaluation mode, with an attention that knows a cache.

    Of its own generation settings only the ends are followed: the others are not greedy decoding.
    """
    from transformers import GenerationConfig

    training, settings = model.training, model.generation_config
    model.eval()
    model.generation_config = GenerationConfig()
    model.generation_config.eos_token_id = getattr(settings, "eos_token_id", None)
    try:
        with attention.own(model):
            yield
    finally:
        model.generation_config = settings
        model.train(training)
