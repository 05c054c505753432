"""Greedy answers of a model, in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tokenizers import Tokenizer

from smalltolarge.errors import RecipeError
from smalltolarge.lm import attention

if TYPE_CHECKING:
    from smalltolarge.lm.tokens import Prepared


@dataclass(frozen=True)
class Completion:
    """What a model answered."""

    text: str
    is_cut: bool
    """Whether the answer had no end within the tokens allowed."""


def generate(
    model: Any,
    prepared: Prepared,
    prompts: list[np.ndarray],
    *,
    max_new_tokens: int,
    batch_size: int,
    bfloat16: bool = False,
    check: Callable[[], None] = lambda: None,
    advance: Callable[[int], None] = lambda prompts: None,
) -> list[Completion]:
    """Answer every prompt, int32 (l,), with the likeliest token at each place.

    Prompts of like length share a batch, padded on the left.

    Raises
    ------
    RecipeError
        A prompt leaves no place for an answer.
    """
    longest = max(map(len, prompts), default=0)
    positions = prepared.model.positions
    if positions is not None and longest + max_new_tokens > positions:
        raise RecipeError(
            f"max_new_tokens is {max_new_tokens}, and the longest question has {longest} tokens; "
            f"{prepared.model.name} has {positions} positions. Ask for at most "
            f"{max(positions - longest, 0)} new tokens."
        )
    eos = prepared.tokenizer.eos
    tokenizer = Tokenizer.from_str(prepared.tokenizer.text)
    answers: list[Completion | None] = [None] * len(prompts)
    order = sorted(range(len(prompts)), key=lambda row: -len(prompts[row]))
    device = next(model.parameters()).device
    with (
        _answering(model),
        torch.inference_mode(),
        torch.autocast(device.type, dtype=torch.bfloat16, enabled=bfloat16),
    ):
        for start in range(0, len(order), batch_size):
            check()
            rows = order[start : start + batch_size]
            width = len(prompts[rows[0]])
            tokens = torch.zeros((len(rows), width), dtype=torch.int64)
            mask = torch.zeros((len(rows), width), dtype=torch.int64)
            for place, row in enumerate(rows):
                own = torch.from_numpy(prompts[row].astype(np.int64))
                tokens[place, width - len(own) :] = own
                mask[place, width - len(own) :] = 1
            found = model.generate(
                input_ids=tokens.to(device),
                attention_mask=mask.to(device),
                max_new_tokens=max_new_tokens,
                do_sample=False,
                num_beams=1,
                use_cache=True,
                eos_token_id=eos,
                pad_token_id=0 if eos is None else eos,
            )
            for row, ids in zip(rows, found[:, width:].tolist(), strict=True):
                ended = eos in ids
                answer = ids[: ids.index(eos)] if ended else ids
                answers[row] = Completion(tokenizer.decode(answer), not ended)
            advance(len(rows))
    return [answer for answer in answers if answer is not None]


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
