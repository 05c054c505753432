"""From examples to tokens: what is learned, what is left out and why, and the plan."""

from __future__ import annotations

import hashlib
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tokenizers

from smalltolarge.errors import DataError, RecipeError
from smalltolarge.examples import read_weights
from smalltolarge.examples.table import Examples, Message
from smalltolarge.lm import child
from smalltolarge.lm.checkpoints import saved_steps, steps_of
from smalltolarge.lm.device import settled
from smalltolarge.lm.models import (
    Model,
    pretrained_model,
    scratch_model,
    scratch_shape,
)
from smalltolarge.lm.plan import Order, Plan
from smalltolarge.lm.rendered import CHUNK, Rendered, ahead, place
from smalltolarge.lm.rendering import Render, Rendering, alpaca
from smalltolarge.lm.shelf import Shelf
from smalltolarge.lm.tokenized import NO_COMPLETION, TEMPLATE_LOSS, Collecting, Tokenized
from smalltolarge.lm.tokenizer import (
    TRAINING_BYTES,
    ModelTokenizer,
    check_ids,
    given_tokenizer,
    join,
    train_tokenizer,
    trained_tokenizer,
    training_sample,
    which_template,
)
from smalltolarge.progress import Progress
from smalltolarge.settings import ProxySettings, TargetSettings, TrainingSettings

Settings = TypeVar("Settings", bound=TrainingSettings)

log = logging.getLogger("smalltolarge")

_MOST_LEFT_OUT = 0.05
_TRIED = 100_000
"""Characters of a text that a tokenizer is tried on."""
_LARGE = 2**30
"""Bytes of tokens that are left on the disk and read from there."""
_TOKENS_FOLLOW_FROM = ("template", "preamble", "max_length", "on_truncated", "on_template_loss")


@dataclass(frozen=True, eq=False)
class Writer:
    """How conversations become tokens."""

    settings: TrainingSettings
    tokenizer: ModelTokenizer
    template: str
    """"alpaca" or "chat"."""

    def rendering(self, conversation: Sequence[Message]) -> Rendering:
        """Write a conversation; raises ``DataError`` where the template does not take it."""
        return next(self.render([conversation]))

    @property
    def render(self) -> Render:
        """What writes conversations."""
        return _renderer(self.settings, self.tokenizer, self.template)

    def tokenised(self, examples: Examples) -> Tokenized:
        """Give examples as tokens; raises as ``render``."""
        return _tokenized(
            examples,
            self.settings,
            self.render,
            self.tokenizer,
            self.template,
            Progress(),
            lambda: None,
        )

    def tokens(self, rendering: Rendering) -> tuple[np.ndarray, np.ndarray]:
        """Give its tokens, int32 (l,), uncut, and which of them are learned, bool (l,)."""
        encode = self.tokenizer.encoder(special=self.template == "chat")
        found = encode([piece.text for piece in rendering.pieces])
        return join(rendering.pieces, found, self.tokenizer.prefix, self.tokenizer.eos)


@dataclass(frozen=True, eq=False)
class Prepared:
    """The m examples that will be trained on and scored, as tokens; the others by reason."""

    settings: TrainingSettings
    """Resolved: every default that depends on the model is filled in."""
    seed: int
    model: Model
    tokenizer: ModelTokenizer
    template: str
    """"alpaca" or "chat"."""
    tokenized: Tokenized
    made_with: Mapping[str, str]
    """All that the tokens follow from."""
    ids: np.ndarray
    """bytes "S" (m,)."""
    digest: str
    """Of the tokens and masks by id; the order of the rows does not matter."""
    order: Order
    plan: Plan
    weights: np.ndarray | None = None
    """float64 (m,): how much the completion tokens of each example count in the training loss, 1 on
    average over all of these tokens; None: all count alike."""

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def offsets(self) -> np.ndarray:
        """int64 (m + 1,): example i is tokens[offsets[i]:offsets[i + 1]]."""
        return self.tokenized.offsets

    @property
    def tokens(self) -> np.ndarray:
        """int32 (total,): the tokens of all examples one after the other."""
        return self.tokenized.tokens

    @property
    def completion(self) -> np.ndarray:
        """bool (total,): tokens that the loss is taken over. The first token of an example is
        never one, as nothing predicts it.
        """
        return self.tokenized.completion

    @cached_property
    def n_tokens(self) -> np.ndarray:
        """int32 (m,): completion tokens of each example, at least 1."""
        return self.tokenized.n_tokens

    @property
    def writer(self) -> Writer:
        """How its tokens were made."""
        return Writer(self.settings, self.tokenizer, self.template)

    @property
    def left_out(self) -> tuple[tuple[int, str], ...]:
        """(row number, reason) of every example that is not trained on."""
        return self.tokenized.left_out

    def take(
        self,
        rows: np.ndarray,
        *,
        seed: int | None = None,
        steps: int | None = None,
        sequence: np.ndarray | None = None,
        weights: np.ndarray | None = None,
    ) -> Prepared:
        """Give the training of some of the examples: int64 (b,), increasing rows of the m.

        ``steps`` go before the epochs of the settings; ``sequence`` (b,) is the place of each in
        every epoch, which is shuffled otherwise; ``weights`` (b,), above 0, say how much each
        counts in the loss.
        """
        seed = self.seed if seed is None else seed
        tokenized, ids = self.tokenized.take(rows), self.ids[rows]
        order = Order.of(
            ids, tokenized.lengths, self.settings, seed, steps=steps, sequence=sequence
        )
        weights = None if weights is None else _scaled(weights, tokenized.n_tokens)
        return replace(self._with(tokenized, ids, order), seed=seed, weights=weights)

    @cached_property
    def plan_of_epochs(self) -> Plan:
        """The plan of training for the epochs of the settings, whatever steps they name."""
        return self.take(np.arange(len(self))).plan

    @property
    def forward_flops(self) -> float:
        """Floating-point operations of one forward pass over all examples."""
        flops = self.model.shape.forward_flops(self.order.lengths, self.n_tokens)
        return float(flops.sum())

    def of(self, examples: Examples) -> Prepared:
        """Tokenise other examples in the same way, to score them with the same model.

        Raises
        ------
        DataError
            None of them has a completion token within ``max_length``.
        """
        tokenized = self.writer.tokenised(examples)
        refuse_many_left_out(examples, tokenized, self.settings.max_length)
        ids = examples.ids[tokenized.kept]
        return self._with(
            tokenized, ids, Order.of(ids, tokenized.lengths, self.settings, self.seed)
        )

    def without_prompts(self) -> Prepared:
        """Give the completions alone: of what comes before one, a single token is kept."""
        kept = self.completion.copy()
        kept[:-1] |= self.completion[1:]
        places = np.flatnonzero(kept)
        tokenized = replace(
            self.tokenized,
            tokens=self.tokens[places],
            completion=self.completion[places],
            lengths=np.add.reduceat(kept, self.offsets[:-1], dtype=np.int64),
        )
        return self._with(
            tokenized, self.ids, Order.of(self.ids, tokenized.lengths, self.settings, self.seed)
        )

    def _with(self, tokenized: Tokenized, ids: np.ndarray, order: Order) -> Prepared:
        plan = Plan.of(order, tokenized.n_tokens, self.model.shape, self.settings)
        digest = tokenized.digest(ids)
        return replace(
            self, tokenized=tokenized, ids=ids, digest=digest, order=order, plan=plan, weights=None
        )

    def keep_tokens(self, folder: Path | None) -> Prepared:
        """Write the tokens into ``folder``, if they are not there; large ones are mapped then."""
        shelf = Shelf(folder, self.made_with)
        if folder is None or Tokenized.is_kept_in(shelf):
            return self
        self.tokenized.keep(shelf, self.tokenizer.text)
        if self.tokens.nbytes < _LARGE:
            return self
        kept = Tokenized.kept_in(shelf)
        return self if kept is None else replace(self, tokenized=kept[0])


def prepare(
    examples: Examples,
    settings: TrainingSettings,
    seed: int,
    *,
    folder: Path | None = None,
    progress: Progress | None = None,
    check: Callable[[], None] = lambda: None,
) -> Prepared:
    """Tokenise all examples, decide what is left out, and plan the recording; no model runs.

    Tokens that an earlier recording kept in ``folder`` are used again.

    Raises
    ------
    RecipeError
        A setting does not fit the model.
    DataError
        More than 5 % of the examples have no completion token within ``max_length``, the chat
        template does not take a conversation, or a token is not in the model's vocabulary.
    MissingArtifact, IntegrityError, RefusedForSafety
        The model or the tokenizer is not there, is damaged, or would run code.
    """
    progress = progress or Progress()
    settings, model, given, template = begin(examples, settings, progress)
    render = _renderer(settings, given, template)
    made_with = {
        "rows": _digest(examples.ids.tobytes()),
        "tokenizer": settings.model if given is None else _digest(given.made_of.encode()),
        "template": _digest(given.chat.made_of.encode()) if given and given.chat else "",
        "settings": repr([getattr(settings, name) for name in _TOKENS_FOLLOW_FROM]),
        "tokenizers": tokenizers.__version__,
    }
    known = Tokenized.kept_in(Shelf(folder, made_with))
    if known is None:
        tokenizer = given or tokenizer_of(examples, settings, progress, check)
        tokenized = _tokenized(examples, settings, render, tokenizer, template, progress, check)
    else:
        tokenized, text = known
        tokenizer = given or trained_tokenizer(text)
    refuse_many_left_out(examples, tokenized, settings.max_length)
    if template == "chat" and tokenizer.chat is not None:
        first = next(examples.conversations())
        for note in tokenizer.chat.notes(first, tokenized.dropped, partial(place, examples)):
            log.warning("%s", note)
    if model is None:
        model = scratch_model(settings.model, tokenizer.size, settings.max_length)
    settings = settled(replace(settings, revision=settings.revision or model.commit), model.shape)
    ids = examples.ids[tokenized.kept]
    steps = settings.steps if isinstance(settings, TargetSettings) else None
    order = Order.of(ids, tokenized.lengths, settings, seed, steps=steps)
    plan = Plan.of(order, tokenized.n_tokens, model.shape, settings)
    wanted = settings.checkpoints if isinstance(settings, ProxySettings) else 0
    if isinstance(settings, ProxySettings) and settings.from_checkpoints is not None:
        plan, wanted = plan.of_saved(steps_of(settings)), 0
    if plan.scoring_units and len(plan.checkpoints) < wanted:
        log.warning(
            "%d optimiser steps have room for %d checkpoints, not %d",
            plan.steps,
            len(plan.checkpoints),
            wanted,
        )
    prepared = Prepared(
        settings=settings,
        seed=seed,
        model=model,
        tokenizer=tokenizer,
        template=template,
        tokenized=tokenized,
        made_with=made_with,
        ids=ids,
        digest=tokenized.digest(ids),
        order=order,
        plan=plan,
        weights=_weights(examples, tokenized, settings),
    )
    _check_fit(prepared)
    child.close()
    return prepared


def _weights(
    examples: Examples, tokenized: Tokenized, settings: TrainingSettings
) -> np.ndarray | None:
    """Read the weights that a target's settings name."""
    if not isinstance(settings, TargetSettings) or settings.weights is None:
        return None
    weights = read_weights(examples, settings.weights)[tokenized.kept]
    return _scaled(weights, tokenized.n_tokens)


def _scaled(weights: np.ndarray, n_tokens: np.ndarray) -> np.ndarray | None:
    """Bring weights (m,) to 1 on average over all completion tokens; equal ones are none."""
    if weights.min() == weights.max():
        return None
    total = math.fsum(weights * n_tokens)
    scaled: np.ndarray = weights * (int(n_tokens.sum(dtype=np.int64)) / total)
    return scaled


def begin(
    examples: Examples, settings: Settings, progress: Progress
) -> tuple[Settings, Model | None, ModelTokenizer | None, str]:
    """Resolve the settings, and give the model and the tokenizer that there are already, and the
    template ("alpaca" or "chat"). Raises as ``prepare``.
    """
    # transformers and a fork of ours would otherwise make the tokenizers library warn
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    settings = settings.resolved()
    if not len(examples):
        raise DataError("there are no examples to train on")
    if settings.revision is not None and settings.is_scratch:
        raise RecipeError("revision is for a hub model; one from scratch has none")
    if settings.is_scratch:
        scratch_shape(settings.model)
    model, given = None, None
    with progress.step("checking model", unit=""):
        if isinstance(settings, ProxySettings) and settings.from_checkpoints is not None:
            *_, last = saved_steps(settings.from_checkpoints).values()
            model = pretrained_model(str(last), None)
        elif not settings.is_scratch:
            model = pretrained_model(settings.model, settings.revision)
        if settings.tokenizer is not None or model is not None:
            given = given_tokenizer(settings, model, _first_and_longest(examples))
    return settings, model, given, which_template(settings, given)


def _first_and_longest(examples: Examples) -> list[str]:
    """Give some texts of the examples: those of the first rows, and the longest turn."""
    import pyarrow.compute as pc

    contents = pc.struct_field(pc.list_flatten(examples.table["messages"]), "content")
    longest = int(np.argmax(pc.utf8_length(contents).to_numpy()))
    return [text.as_py()[:_TRIED] for text in (*contents[:16], contents[longest])]


def _tokenized(
    examples: Examples,
    settings: TrainingSettings,
    render: Render,
    tokenizer: ModelTokenizer,
    template: str,
    progress: Progress,
    check: Callable[[], None],
) -> Tokenized:
    rows, rendered = Collecting(settings), Rendered(examples, render, settings.on_template_loss)
    with progress.step("tokenising", len(examples)) as step:
        encode = tokenizer.encoder(special=template == "chat")
        for chunk, encodings in ahead(rendered, encode):
            check()
            for pieces in chunk:
                if pieces is None:
                    rows.leave_out(TEMPLATE_LOSS)
                    continue
                found = [next(encodings) for _ in pieces]
                rows.add(*join(pieces, found, tokenizer.prefix, tokenizer.eos))
            step.advance(len(chunk))
    return rows.finish(rendered.dropped)


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _renderer(
    settings: TrainingSettings, tokenizer: ModelTokenizer | None, template: str
) -> Render:
    """Give what writes conversations, by the name that ``which_template`` gives."""
    if template == "alpaca":
        return lambda conversations: (alpaca(turns, settings.preamble) for turns in conversations)
    assert tokenizer is not None and tokenizer.chat is not None
    return tokenizer.chat.renderings


def tokenizer_of(
    examples: Examples,
    settings: TrainingSettings,
    progress: Progress,
    check: Callable[[], None],
) -> ModelTokenizer:
    """Train the vocabulary of a model from scratch on a sample of the rendered examples."""
    render = _renderer(settings, None, "alpaca")
    with progress.step("vocabulary", len(examples)) as step:
        characters = np.empty(len(examples), dtype=np.int64)
        for row, turns in enumerate(examples.conversations()):
            check()
            characters[row] = sum(len(turn.reasoning) + len(turn.content) for turn in turns)
        sample = training_sample(examples.ids, characters, TRAINING_BYTES)
        check()

        def texts() -> Iterator[str]:
            for start in range(0, len(sample), CHUNK):
                check()
                rows = sample[start : start + CHUNK]
                messages: list[Any] = examples.table["messages"].take(rows).to_pylist()
                given = [[Message(**turn) for turn in turns] for turns in messages]
                for found in render(given):
                    yield "".join(piece.text for piece in found.pieces)
                step.advance(len(rows))

        return train_tokenizer(texts(), scratch_shape(settings.model).vocabulary)


def refuse_many_left_out(examples: Examples, tokenized: Tokenized, max_length: int) -> None:
    """Refuse data of which too much cannot be learned; raises ``DataError``."""
    left_out = tokenized.left_out
    without = [row for row, reason in left_out if reason == NO_COMPLETION]
    if len(without) > _MOST_LEFT_OUT * len(examples) or not len(tokenized.kept):
        first = (without or [left_out[0][0]])[0]
        raise DataError(
            f"{len(without):,} of {len(examples):,} examples have no completion token within "
            f"max_length {max_length}, and {len(left_out) - len(without):,} more are left out "
            f"because it is cut; at most {_MOST_LEFT_OUT:.0%} may have none (the first: "
            f"{place(examples, first)}). Give a larger --max-length."
        )


def _check_fit(prepared: Prepared) -> None:
    """Refuse tokens or positions that the model does not have."""
    model = prepared.model
    check_ids(int(prepared.tokens.max()), model.vocabulary, prepared.tokenizer.name, model.name)
    longest, positions = int(prepared.order.lengths.max()), model.positions
    if positions is not None and longest > positions:
        raise RecipeError(
            f"max_length is {prepared.settings.max_length}, and the longest example has {longest} "
            f"tokens; {model.name} has {positions} positions. Give --max-length {positions}."
        )
