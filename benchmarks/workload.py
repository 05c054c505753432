"""Rows, models, alternation and the machine's limit, for the benchmarks of the proxy."""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smalltolarge import wordproblems
from smalltolarge.examples import load
from smalltolarge.lm.device import unit_tokens, uses_bfloat16
from smalltolarge.lm.fast import products
from smalltolarge.lm.models import Model, scratch_model, untrained_model
from smalltolarge.lm.plan import Order, Plan
from smalltolarge.lm.tokenized import Tokenized
from smalltolarge.lm.tokenizer import ModelTokenizer
from smalltolarge.lm.tokens import Prepared, prepare
from smalltolarge.settings import ProxySettings


def _gpt_neox(width: int, layers: int, heads: int, vocabulary: int) -> dict[str, Any]:
    usual: dict[str, Any] = scratch_model("scratch-70m", vocabulary, 512).config.to_dict()
    return usual | {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "vocab_size": vocabulary,
    }


def _grouped(
    kind: str, width: int, layers: int, heads: tuple[int, int], inner: int, vocabulary: int
) -> dict[str, Any]:
    """Give a shape whose keys and values have fewer heads, with SwiGLU and tied embeddings."""
    return {
        "model_type": kind,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads[0],
        "num_key_value_heads": heads[1],
        "intermediate_size": inner,
        "vocab_size": vocabulary,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_type": "default", "rope_theta": 100000.0},
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": None,
    }


MODELS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "0.1m": partial(_gpt_neox, 32, 2, 2, 1024),
    "0.5m": partial(_gpt_neox, 64, 2, 2, 2048),
    "1m": partial(_gpt_neox, 128, 2, 4, 2048),
    "2m": partial(_gpt_neox, 128, 6, 4, 4096),
    "9m": partial(_gpt_neox, 256, 6, 8, 8192),
    "70m": partial(_gpt_neox, 512, 6, 8, 50304),
    "410m": partial(_gpt_neox, 1024, 24, 16, 50304),
    "0.1m-llama": partial(_grouped, "llama", 48, 2, (3, 1), 128, 1024),
    "0.1m-qwen2": partial(_grouped, "qwen2", 64, 2, (4, 2), 128, 1024),
    "135m-llama": partial(_grouped, "llama", 576, 30, (9, 3), 1536, 49152),
    "120m-qwen2": partial(_grouped, "qwen2", 896, 6, (14, 2), 4864, 32768),
}
"""transformers' configurations by name: 70m and 410m are the shapes of Pythia, 135m-llama that of
SmolLM2-135M."""


def is_large(model: str) -> bool:
    """Whether a CPU scores a few hundred rows at most in a benchmark."""
    return model not in MODELS or int(model.partition("m")[0].partition(".")[0]) >= 70


def proxy(model: str) -> Model:
    """Describe a model of ``MODELS``, with random weights."""
    from transformers import AutoConfig

    return untrained_model(model, AutoConfig.for_model(**MODELS[model]()))


LENGTHS = {"mathematics": (4.05, 0.44, 4.16, 0.83), "mathinstruct": (4.3, 0.5, 4.9, 0.7)}
"""Mean and spread of the logarithm of the tokens of prompts, and of completions.

"mathematics" was measured on 54,159 rows in Pythia's tokens; "mathinstruct" is chosen so that rows
have the mean of MathInstruct, 248 tokens of which 164 are completion.
"""


def rows(
    n: int,
    model: str,
    length: float | None = None,
    seed: int = 0,
    lengths: str = "mathematics",
    **settings: Any,
) -> Prepared:
    """Make n rows of random tokens, with the log-normal ``LENGTHS``, cut at 512 together.

    ``length`` makes all rows that long instead, the half of each a completion. Of a model that is
    not one of ``MODELS`` but the name of a real one the rows are word problems in its own tokens.
    """
    if model not in MODELS:
        return _word_problems(n, model, seed, **settings)
    random = np.random.default_rng(seed)
    prompt, prompt_spread, completion, completion_spread = LENGTHS[lengths]
    prompts = np.exp(random.normal(prompt, prompt_spread, n)).astype(np.int64) + 1
    completions = np.exp(random.normal(completion, completion_spread, n)).astype(np.int64) + 1
    if length is not None:
        prompts[:], completions[:] = length // 2, length - length // 2
    prompts = np.minimum(prompts, 480)
    totals = np.minimum(prompts + completions, max(512, length or 0))
    offsets = np.concatenate([[0], np.cumsum(totals)])
    place = np.arange(offsets[-1]) - np.repeat(offsets[:-1], totals)
    ids = np.array([b"%032x" % number for number in random.permutation(n)])
    wanted = ProxySettings(proxy="scratch-70m", **settings).resolved()
    wanted = replace(wanted, unit_tokens=unit_tokens(wanted))
    n_tokens = (totals - prompts).astype(np.int32)
    order = Order.of(ids, totals, wanted, seed)
    described = proxy(model)
    return Prepared(
        settings=wanted,
        seed=seed,
        model=described,
        tokenizer=ModelTokenizer("random tokens", "", described.vocabulary, None, (), None),
        template="alpaca",
        tokenized=Tokenized(
            tokens=random.integers(0, described.vocabulary, offsets[-1]).astype(np.int32),
            completion=place >= np.repeat(prompts, totals),
            lengths=totals,
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


def _word_problems(n: int, model: str, seed: int, **settings: Any) -> Prepared:
    from datasets import Dataset

    examples = load(Dataset.from_list(list(wordproblems.training_rows(n, seed))))
    return prepare(examples, ProxySettings(proxy=model, precision="float32", **settings), seed)


def one_at_a_time(
    model: Any, prepared: Prepared, seconds: float = math.inf, dtype: torch.dtype | None = None
) -> np.ndarray:
    """Score as the method's first implementation does: a forward pass with labels per example.

    All logits of an example; no batch; in float32, or under autocast to ``dtype``. float32 (m,):
    the losses of as many examples as are done within ``seconds``, of all without.
    """
    model.eval()
    found = np.empty(len(prepared), dtype=np.float32)
    began = time.perf_counter()
    device = next(model.parameters()).device
    with torch.no_grad(), torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
        for row in range(len(prepared)):
            if time.perf_counter() - began > seconds:
                return found[:row]
            part = slice(prepared.offsets[row], prepared.offsets[row + 1])
            tokens = torch.from_numpy(prepared.tokens[part].astype(np.int64))
            labels = tokens.clone()
            labels[torch.from_numpy(~prepared.completion[part])] = -100
            loss = model(input_ids=tokens[None].to(device), labels=labels[None].to(device)).loss
            found[row] = loss.item()
    return found


def peak_flops(
    device: torch.device, dtype: torch.dtype | None = None, size: int | None = None
) -> float:
    """Measure the fastest matrix product in a precision there, in FLOP/s; by default in that of a
    recording with precision auto on any model, of matrices as large as a device is fastest with.
    """
    if dtype is None:
        dtype = torch.bfloat16 if uses_bfloat16("auto", device) else torch.float32
    size = size or (2048 if device.type == "cpu" else 8192)
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    ways: list[Callable[[], Any]] = [lambda: left @ right.t()]
    if device.type == "cpu" and dtype == torch.float32 and products.onednn_works():
        ways.append(lambda: products.by_onednn(left, right))
    best = min(seconds for way in ways for seconds in timed(way, 10, device))
    return 2 * size**3 / best


def timed(work: Callable[[], Any], repeats: int, device: torch.device) -> list[float]:
    """Time some work, after one run that is not counted."""
    return alternating({"": work}, repeats, device)[""]


def alternating(
    ways: Mapping[str, Callable[[], Any]], repeats: int, device: torch.device
) -> dict[str, list[float]]:
    """Time several ways in turn, so that what else the machine does meets all of them.

    The first run of each is not counted.
    """
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats + 1):
        for name, work in ways.items():
            began = time.perf_counter()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize()
            found[name].append(time.perf_counter() - began)
    return {name: seconds[1:] for name, seconds in found.items()}


def spread(seconds: Sequence[float]) -> str:
    """Write the median and the range."""
    return f"{statistics.median(seconds):8.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"


def machine(device: torch.device, threads: int) -> str:
    """Say what is measured on."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    known = Path("/proc/cpuinfo")
    lines = known.read_text(encoding="utf-8").splitlines() if known.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (
        f"{names[0] if names else platform.machine()}, {threads} of {os.cpu_count()} cores, "
        f"{torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}"
    )


def arguments(description: str | None, **more: Any) -> argparse.Namespace:
    """Read the options that all benchmarks have; ``more`` are further ones and their defaults."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--quick", action="store_true", help="fewer rows, one repeat, the last of --threads"
    )
    for name, default in more.items():
        first, many = (default[0], "*") if isinstance(default, list) else (default, None)
        parser.add_argument(f"--{name}", default=default, nargs=many, type=type(first))
    return parser.parse_args()
