"""Pretrain a small and a large base model on word problems and number facts.

    python benchmarks/base_models.py --out FOLDER [--shape proxy target] [--minutes N]
        [--documents N] [--threads T] [--seed S]

Each becomes a folder that transformers and ``s2l select --proxy FOLDER`` load: a GPT-NeoX model
with tied embeddings and a tokenizer to which every digit is a token. Without an amount they are
those of the results. ``--minutes`` measures how fast the model trains and takes as many documents
as fit; it prints their number, and with that number ``--documents`` gives the same model again.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from corpus import documents, refuse_leaks
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from smalltolarge.examples import Message
from smalltolarge.lm import models as lm_models
from smalltolarge.lm.device import fixed
from smalltolarge.lm.fast.memory import Freed
from smalltolarge.lm.models import Model, scratch_model, untrained_model
from smalltolarge.lm.plan import Order, Plan
from smalltolarge.lm.recording import find_losses
from smalltolarge.lm.rendering import alpaca
from smalltolarge.lm.tokenized import Tokenized
from smalltolarge.lm.tokenizer import END_OF_TEXT, ModelTokenizer, trained_tokenizer
from smalltolarge.lm.tokens import Prepared
from smalltolarge.lm.training import Training, refuse_diverged
from smalltolarge.settings import ProxySettings
from smalltolarge.wordproblems import training_rows

SHAPES: Mapping[str, tuple[int, int, int, float]] = {
    "proxy": (32, 2, 2, 1.0),
    "target": (128, 4, 4, 0.25),
}
"""Width, layers, heads, share of a head that is rotated by its place."""
DOCUMENTS = {"proxy": 130_000, "target": 105_000}
LEARNING_RATES = {"proxy": 1e-2, "target": 2e-3}
VOCABULARY = 512
BATCH = 16
LONGEST = 512
_TRIED_STEPS = 40
_TOLD_EVERY = 250


def main() -> None:
    """Train the models that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shape", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--minutes", type=float)
    amount.add_argument("--documents", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--vocabulary", type=int, default=VOCABULARY)
    given = parser.parse_args()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false" if given.threads == 1 else "true")
    tokenizer = train_tokenizer(given.seed, given.vocabulary)
    with fixed(given.threads, torch.device("cpu")):
        for shape in given.shape:
            pretrain(shape, tokenizer, given)


def pretrain(shape: str, tokenizer: Tokenizer, given: argparse.Namespace) -> None:
    """Train one model and write its folder."""
    rate = given.learning_rate or LEARNING_RATES[shape]
    n = given.documents or DOCUMENTS[shape]
    if given.minutes is not None:
        few = prepare(shape, tokenizer, BATCH * _TRIED_STEPS, rate, given.seed)
        training = Training(few, *_model(few))
        began = time.perf_counter()
        for _ in range(_TRIED_STEPS):
            training.advance()
        steps = 60 * given.minutes * _TRIED_STEPS / (time.perf_counter() - began)
        n = BATCH * round(steps)
    prepared = prepare(shape, tokenizer, n, rate, given.seed)
    plan = prepared.plan
    print(
        f"{shape}: {plan.parameters:,} weights; {n:,} documents, {plan.tokens:,} tokens, "
        f"{plan.steps:,} steps",
        flush=True,
    )
    training = Training(prepared, *_model(prepared))
    began, recent, freed = time.perf_counter(), [], Freed()
    while training.step < plan.steps:
        freed.give_back()
        recent.append(training.advance()[0])
        if training.step % _TOLD_EVERY == 0 or training.step == plan.steps:
            loss, seconds = float(torch.stack(recent).mean()), time.perf_counter() - began
            refuse_diverged(loss, training.step, rate)
            speed = plan.tokens * training.step / plan.steps / seconds
            print(
                f"  step {training.step:,} of {plan.steps:,}  loss {loss:.4f}  {seconds:,.0f} s  "
                f"{speed:,.0f} tokens/s",
                flush=True,
            )
            recent.clear()
    write(training, tokenizer, given.out / shape)


def train_tokenizer(seed: int, vocabulary: int) -> Tokenizer:
    """Train a byte-level BPE on documents and on rows as they are fine-tuned on."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    texts = list(islice(documents(seed), 10_000))
    for row in training_rows(5_000, seed):
        turns = [Message("user", row["instruction"]), Message("assistant", row["output"])]
        texts += [piece.text for piece in alpaca(turns).pieces]
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=[END_OF_TEXT],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    for text in texts:
        if tokenizer.decode(tokenizer.encode(text).ids) != text:
            raise ValueError(f"the tokenizer changes a text: {text!r}")
    return tokenizer


def prepare(shape: str, tokenizer: Tokenizer, n: int, rate: float, seed: int) -> Prepared:
    """Give n documents as examples of which every token is learned."""
    texts = list(islice(documents(seed), n))
    refuse_leaks(texts)
    end = tokenizer.token_to_id(END_OF_TEXT)
    rows = [
        np.array([*encoding.ids, end], dtype=np.int32)[:LONGEST]
        for start in range(0, n, 1000)
        for encoding in tokenizer.encode_batch(texts[start : start + 1000])
    ]
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    learned = np.ones(lengths.sum(), dtype=bool)
    learned[np.cumsum(lengths) - lengths] = False  # nothing predicts a first token
    wanted = ProxySettings(
        proxy="scratch-70m",
        epochs=1.0,
        learning_rate=rate,
        batch_size=BATCH,
        max_length=LONGEST,
        unit_tokens=4096,
        device="cpu",
    ).resolved()
    ids = np.array([b"%032x" % number for number in range(n)])
    order = Order.of(ids, lengths, wanted, seed)
    n_tokens = (lengths - 1).astype(np.int32)
    described = base_model(shape, tokenizer)
    text = tokenizer.to_str()
    known: ModelTokenizer = replace(trained_tokenizer(text), name="base")
    return Prepared(
        settings=wanted,
        seed=seed,
        model=described,
        tokenizer=known,
        template="alpaca",
        tokenized=Tokenized(
            tokens=np.concatenate(rows),
            completion=learned,
            lengths=lengths,
            kept=np.arange(n),
            left_out=(),
            n_truncated=0,
        ),
        made_with={},
        ids=ids,
        digest="",
        order=order,
        plan=Plan.of(order, n_tokens, described.shape, wanted),
    )


def base_model(shape: str, tokenizer: Tokenizer) -> Model:
    """Describe a base model before it is trained."""
    width, layers, heads, rotated = SHAPES[shape]
    found = scratch_model("scratch-70m", tokenizer.get_vocab_size(), LONGEST)
    found.config.update(
        {
            "hidden_size": width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "intermediate_size": 4 * width,
            "rope_parameters": found.config.rope_parameters | {"partial_rotary_factor": rotated},
            "tie_word_embeddings": True,
            "eos_token_id": tokenizer.token_to_id(END_OF_TEXT),
            "use_cache": True,
        }
    )
    return untrained_model(shape, found.config)


def _model(prepared: Prepared) -> tuple[Any, torch.device]:
    device = torch.device("cpu")
    model = lm_models.load(prepared.model, prepared.seed)
    return find_losses(prepared, model, device, bfloat16=False), device


def write(training: Training, tokenizer: Tokenizer, folder: Path) -> None:
    """Write the model and its tokenizer, and read the model again."""
    from transformers import PreTrainedTokenizerFast

    prepared = training.prepared
    model = lm_models.load(prepared.model, prepared.seed)  # its layers and attention are its own
    model.load_state_dict(training.model.state_dict(), strict=True)
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        clean_up_tokenization_spaces=False,
    ).save_pretrained(folder)
    lm_models.load(lm_models.pretrained_model(str(folder), None), 0)
    print(f"  {folder}", flush=True)


if __name__ == "__main__":
    main()
