"""Rows, models, alternation and the machine's limit, for the benchmarks of the proxy."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from smalltolarge.lm import products
from smalltolarge.lm.device import unit_tokens, uses_bfloat16
from smalltolarge.lm.models import Model, scratch_model, shape_of
from smalltolarge.lm.plan import Order, Plan
from smalltolarge.lm.tokenized import Tokenized
from smalltolarge.lm.tokenizer import ModelTokenizer
from smalltolarge.lm.tokens import Prepared
from smalltolarge.settings import ProxySettings

MODELS: Mapping[str, tuple[int, int, int, int]] = {
    "0.1m": (32, 2, 2, 1024),
    "0.5m": (64, 2, 2, 2048),
    "1m": (128, 2, 4, 2048),
    "2m": (128, 6, 4, 4096),
    "9m": (256, 6, 8, 8192),
    "70m": (512, 6, 8, 50304),
    "410m": (1024, 24, 16, 50304),
}
"""GPT-NeoX shapes: width, layers, heads, vocabulary. 70m and 410m are those of Pythia."""


def proxy(model: str) -> Model:
    """Describe a model of ``MODELS``, with random weights."""
    width, layers, heads, vocabulary = MODELS[model]
    found = scratch_model("scratch-70m", vocabulary, 512)
    found.config.update(
        {
            "hidden_size": width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "intermediate_size": 4 * width,
        }
    )
    return replace(found, name=model)


def rows(
    n: int, model: str, length: float | None = None, seed: int = 0, **settings: Any
) -> Prepared:
    """Make n rows of random tokens, as long as rows of mathematics in Pythia's tokens.

    Prompt and completion are log-normal: prompts with median 58 and spread 0.44, completions with
    median 64 and spread 0.83, measured on 54,159 rows; cut at 512 together. ``length`` makes all
    rows that long instead, the half of each a completion.
    """
    random = np.random.default_rng(seed)
    prompts = np.exp(random.normal(4.05, 0.44, n)).astype(np.int64) + 1
    completions = np.exp(random.normal(4.16, 0.83, n)).astype(np.int64) + 1
    if length is not None:
        prompts[:], completions[:] = length // 2, length - length // 2
    prompts = np.minimum(prompts, 480)
    lengths = np.minimum(prompts + completions, max(512, length or 0))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    place = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    ids = np.array([b"%032x" % number for number in random.permutation(n)])
    wanted = ProxySettings(proxy="scratch-70m", **settings).resolved()
    wanted = replace(wanted, unit_tokens=unit_tokens(wanted))
    n_tokens = (lengths - prompts).astype(np.int32)
    order = Order.of(ids, lengths, wanted, seed)
    described = proxy(model)
    return Prepared(
        settings=wanted,
        seed=seed,
        model=described,
        tokenizer=ModelTokenizer("random tokens", "", described.vocabulary, None, (), None),
        template="alpaca",
        tokenized=Tokenized(
            tokens=random.integers(0, described.vocabulary, offsets[-1]).astype(np.int32),
            completion=place >= np.repeat(prompts, lengths),
            lengths=lengths,
            kept=np.arange(n),
            left_out=(),
            n_truncated=0,
        ),
        made_with={},
        ids=ids,
        digest="",
        order=order,
        plan=Plan.of(order, n_tokens, shape_of(described), wanted),
    )


def one_at_a_time(model: Any, prepared: Prepared) -> np.ndarray:
    """Score as the method's first implementation does: a forward pass with labels per example.

    All logits of an example, in float32; no batch. float32 (n,).
    """
    model.eval()
    found = np.empty(len(prepared), dtype=np.float32)
    device = next(model.parameters()).device
    with torch.no_grad():
        for row in range(len(prepared)):
            part = slice(prepared.offsets[row], prepared.offsets[row + 1])
            tokens = torch.from_numpy(prepared.tokens[part].astype(np.int64))
            labels = tokens.clone()
            labels[torch.from_numpy(~prepared.completion[part])] = -100
            loss = model(input_ids=tokens[None].to(device), labels=labels[None].to(device)).loss
            found[row] = loss.item()
    return found


def peak_flops(device: torch.device, dtype: torch.dtype | None = None) -> float:
    """Measure the fastest matrix product in a precision there, in FLOP/s; by default in that of a
    recording with precision auto on any model.
    """
    if dtype is None:
        dtype = torch.bfloat16 if uses_bfloat16("auto", device) else torch.float32
    size = 2048 if device.type == "cpu" else 8192
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
    return (
        f"{platform.machine()}, {threads} of {os.cpu_count()} cores, "
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
