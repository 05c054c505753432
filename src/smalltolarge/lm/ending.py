"""What a trained model takes along: how its turns end, and the template it was trained with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from smalltolarge.examples import jinja
from smalltolarge.examples.table import Message
from smalltolarge.lm.templates import ChatTemplate
from smalltolarge.lm.tokenizer import ModelTokenizer
from smalltolarge.lm.tokens import Prepared

_ASKED = [Message("user", "What is 2 + 3?"), Message("assistant", "It is 5.")]


def learned_ends(prepared: Prepared) -> list[int]:
    """Give the tokens that the learned turns end in, the most frequent first.

    They are special or added tokens that end more turns than they stand inside of; ordinary text
    is none, and what ``max_length`` cuts off is not looked at.
    """
    tokens, learned = prepared.tokens, prepared.completion
    last = learned.copy()
    last[:-1] &= ~learned[1:]  # the first token of an example is never learned
    inside = learned & ~last
    cut = prepared.tokenized.lengths >= prepared.settings.max_length
    last[prepared.offsets[1:][cut] - 1] = False
    size = prepared.tokenizer.size
    at_end, within = (np.bincount(tokens[at], minlength=size) for at in (last, inside))
    ends = [end for end in special_tokens(prepared.tokenizer) if at_end[end] > within[end]]
    return sorted(ends, key=lambda end: (-at_end[end], end))


def add_ends(generation: Any, ends: Iterable[int | None]) -> None:
    """Have generation stop at ``ends``, too; they come before those it knows."""
    if generation is not None:
        found = _distinct([*ends, *_listed(generation.eos_token_id)])
        if found:
            generation.eos_token_id = found if len(found) > 1 else found[0]


def stop_tokens(model: Any, tokenizer: ModelTokenizer, template: str) -> list[int]:
    """Give the tokens at which an answer is at its end.

    Those of the generation settings, to which training adds what it taught; of the configuration;
    the tokenizer's; and, with the chat template, the one that it ends an answer with.
    """
    special = special_tokens(tokenizer)
    generation = getattr(model.generation_config, "eos_token_id", None)
    config = getattr(model.config.get_text_config(), "eos_token_id", None)
    written = _template_end(tokenizer, special) if template == "chat" else None
    # a configuration that says nothing gets a number from transformers, for any vocabulary
    known = [end for end in _listed(config) if end in special]
    ends = _distinct([tokenizer.eos, written, *_listed(generation), *known])
    return [end for end in ends if 0 <= end < model.config.get_text_config().vocab_size]


def own_template(prepared: Prepared) -> str:
    """Give the Jinja by which other programs write the prompts that were trained on.

    It has what the template was given. Where the tokenizer puts a token before a text (BOS) and the
    template does not, the Jinja does, if the tokens then are those of the training: other programs
    add none to a chat.
    """
    tokenizer, chat = prepared.tokenizer, prepared.tokenizer.chat
    if prepared.template == "chat":
        assert chat is not None
        folding = jinja.FOLD_SYSTEM if chat.fold_system else ""
        template = jinja.defaults(chat.arguments) + folding + chat.template
    else:
        end = "" if tokenizer.eos is None else tokenizer.token(tokenizer.eos)
        template = jinja.headings(prepared.settings.preamble, end)
    begin = "".join(map(tokenizer.token, tokenizer.prefix))
    begun = jinja.written(begin) + template
    try:
        trained_on, _ = prepared.writer.tokens(prepared.writer.rendering(_ASKED))
        text = ChatTemplate(begun, tokenizer.name, tokenizer.special).render(_ASKED)
    except Exception:  # a stranger's template need not take this conversation
        return template
    found = tokenizer.encoder(special=True)([text])[0].ids
    return begun if found[: len(trained_on)] == trained_on.tolist() else template


def _template_end(tokenizer: ModelTokenizer, special: set[int]) -> int | None:
    """Find the first special token that the chat template writes after an answer."""
    assert tokenizer.chat is not None
    try:
        text = tokenizer.chat.render(_ASKED)
    except Exception:  # a stranger's template need not take this conversation
        return None
    _, found, after = text.rpartition(_ASKED[-1].content)
    ids = tokenizer.encoder(special=True)([after])[0].ids if found else []
    return next((token for token in ids if token in special), None)


def special_tokens(tokenizer: ModelTokenizer) -> set[int]:
    """Give the special and added tokens, and the end of text; runs of white space are text."""
    added = Tokenizer.from_str(tokenizer.text).get_added_tokens_decoder()
    marks = {number for number, token in added.items() if token.content.strip()}
    return marks if tokenizer.eos is None else marks | {tokenizer.eos}


def _listed(ends: Any) -> list[Any]:
    return ends if isinstance(ends, list) else [ends]


def _distinct(ends: Iterable[Any]) -> list[int]:
    return list(dict.fromkeys(end for end in ends if isinstance(end, int)))
