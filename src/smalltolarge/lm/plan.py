"""What will be run, in which order, and what it costs: decided before any model runs.

Everything here follows from the ids, the token counts, the settings and the seed; the order of the
rows and the machine have no part in it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np

from smalltolarge.settings import ProxySettings, TrainingSettings

T = TypeVar("T")

SHARDS = 8
"""Into how many sums the gradients of a batch go before these are added to each other."""


def keyed_hashes(key: str, ids: Iterable[bytes]) -> np.ndarray:
    """Hash every id under ``key``: 16 bytes each, dtype S16; equal on every machine."""
    secret = hashlib.blake2b(key.encode()).digest()
    return np.array(
        [hashlib.blake2b(name, key=secret, digest_size=16).digest() for name in ids], dtype="S16"
    )


def keyed_number(key: str) -> int:
    """Give a number in [0, 2**63) that follows from ``key`` alone, to seed a generator."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little") >> 1


def cut_into_units(rows: np.ndarray, lengths: np.ndarray, unit_tokens: int) -> list[np.ndarray]:
    """Cut ``rows``, which come longest first, into units of at most ``unit_tokens`` tokens.

    Padding to the longest of the unit is included; a unit has at least one example.
    """
    units, start = [], 0
    for place in range(1, len(rows)):
        if int(lengths[rows[start]]) * (place - start + 1) > unit_tokens:
            units.append(rows[start:place])
            start = place
    units.append(rows[start:])
    return units


def dealt(units: Sequence[T], number: int, of: int) -> Sequence[T]:
    """Give the units of one of so many, in order: every unit is dealt once."""
    return units[number::of]


@dataclass(frozen=True, eq=False)
class Order:
    """Which examples each optimiser step and each unit of work takes, n examples in all."""

    ids: np.ndarray
    """bytes "S" (n,)."""
    lengths: np.ndarray
    """int64 (n,): tokens of each example."""
    rank: np.ndarray
    """int64 (n,): place of each example when sorted by id."""
    batch_size: int
    unit_tokens: int
    whole_epochs: int
    rest: int
    """Examples of the epoch after the whole ones, which is a part of one; 0: there is none."""
    seed: int
    sequence: np.ndarray | None = None
    """int64 (n,): the place of each example in every epoch; None: each epoch is shuffled."""

    @classmethod
    def of(
        cls,
        ids: np.ndarray,
        lengths: np.ndarray,
        settings: TrainingSettings,
        seed: int,
        *,
        steps: int | None = None,
        sequence: np.ndarray | None = None,
    ) -> Order:
        """Make the order of one run; ``settings`` are resolved, ``steps`` go before their epochs.

        ``sequence`` is a place (n,) for every example, smaller ones first.
        """
        n = len(ids)
        rank = np.empty(n, dtype=np.int64)
        rank[np.argsort(ids, kind="stable")] = np.arange(n)
        assert settings.batch_size is not None and settings.unit_tokens is not None
        if steps is None:
            whole = math.floor(settings.epochs)
            rest = round((settings.epochs - whole) * n)
            rest = max(rest, 1) if whole == 0 else rest
        else:
            whole, batches = divmod(steps, -(-n // settings.batch_size))
            rest = batches * settings.batch_size
        if sequence is not None:
            sequence = np.lexsort((rank, sequence)).argsort()
        return cls(
            ids,
            lengths,
            rank,
            settings.batch_size,
            settings.unit_tokens,
            whole,
            rest,
            seed,
            sequence,
        )

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of a whole epoch; its last batch may be short."""
        return -(-len(self.ids) // self.batch_size)

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole training."""
        return self.whole_epochs * self.steps_per_epoch + -(-self.rest // self.batch_size)

    def epoch(self, number: int) -> np.ndarray:
        """Give the rows of one epoch in training order: by a hash of the id, seed and epoch, or
        in the given sequence.
        """
        if self.sequence is not None:
            rows = np.argsort(self.sequence)
        else:
            hashes = keyed_hashes(f"train {self.seed} {number}", self.ids.tolist())
            rows = np.lexsort((self.rank, hashes))
        return rows if number < self.whole_epochs else rows[: self.rest]

    def batches(self) -> Iterator[np.ndarray]:
        """Yield the rows of every optimiser step."""
        for number in range(-(-self.steps // self.steps_per_epoch)):
            rows = self.epoch(number)
            for start in range(0, len(rows), self.batch_size):
                yield rows[start : start + self.batch_size]

    def longest_first(self, rows: np.ndarray) -> list[np.ndarray]:
        """Sort rows by (-length, id) and cut them into units."""
        rows = rows[np.lexsort((self.rank[rows], -self.lengths[rows]))]
        return cut_into_units(rows, self.lengths, self.unit_tokens)

    def scoring_units(self) -> list[np.ndarray]:
        """Give the units in which all examples are scored, longest first."""
        return self.longest_first(np.arange(len(self.ids)))

    def units_of_a_batch(self) -> float:
        """Count the units of an optimiser step, on average over the first epoch."""
        rows = self.epoch(0)
        size = self.batch_size
        batches = [rows[start : start + size] for start in range(0, len(rows), size)]
        return sum(len(self.longest_first(batch)) for batch in batches) / len(batches)

    def over_training(self, amounts: np.ndarray) -> float:
        """Sum a per-example amount over everything the training sees."""
        total = self.whole_epochs * float(amounts.sum())
        if self.rest:
            total += float(amounts[self.epoch(self.whole_epochs)].sum())
        return total


def checkpoint_steps(
    steps: int, checkpoints: int, schedule: Literal["even", "early"] = "even"
) -> tuple[int, ...]:
    """Spread checkpoints over training: step 0 and the last step included, none twice.

    Evenly, or early: at the squares of the even shares, so that half of them fall into the first
    quarter of the training.
    """
    shares = np.linspace(0, 1, checkpoints) ** (2 if schedule == "early" else 1)
    return tuple(np.unique(np.round(steps * shares).astype(int)).tolist())


@dataclass(frozen=True)
class Shape:
    """The sizes of a model that its arithmetic follows from."""

    parameters: int
    """Weights, tied ones counted once."""
    matrix_weights: int
    """Weights of the matrices inside the layers; of a mixture of experts, all of them."""
    head_weights: int
    """Weights of the output head: width x vocabulary."""
    attention_width: int
    """Layers x heads x width of a head."""
    matrices: tuple[tuple[int, int], ...] = ()
    """(m, d) of every matrix inside the layers, each shape once."""

    def forward_flops(self, lengths: np.ndarray, n_tokens: np.ndarray) -> np.ndarray:
        """Floating-point operations of one forward pass of each example, float64 (n,).

        A multiply-add is 2. Counted: the matrices of the layers at every token, the two products
        of causal attention (2 T (T + 1) x width), the output head at completion tokens. Left out:
        norms, activations, softmax, padding. A backward pass is twice a forward pass.
        """
        tokens = lengths.astype(np.float64)
        layers: np.ndarray = 2.0 * self.matrix_weights * tokens
        attention = 2.0 * self.attention_width * tokens * (tokens + 1)
        return layers + attention + 2.0 * self.head_weights * n_tokens.astype(np.float64)


@dataclass(frozen=True)
class Plan:
    """What ``record`` will do, in numbers."""

    rows: int
    """Examples trained on and scored."""
    tokens: int
    """Their tokens, one pass, without padding."""
    completion_tokens: int
    """Those that the loss is taken over."""
    steps: int
    """Optimiser steps."""
    training_tokens: int
    """Tokens over all epochs."""
    checkpoints: tuple[int, ...]
    """Steps at which the loss of every example is recorded; of perturbed copies, their numbers."""
    scoring_units: int
    """Units of work in one scoring."""
    scoring_tokens: int
    """Tokens over all scorings."""
    parameters: int
    """Weights of the proxy."""
    training_flops: float
    """Forward and backward passes of the training (``Shape.forward_flops``, times 3)."""
    scoring_flops: float
    """Forward passes of all scorings."""

    @classmethod
    def of(
        cls, order: Order, n_tokens: np.ndarray, shape: Shape, settings: TrainingSettings
    ) -> Plan:
        """Count what one run takes; only a proxy has checkpoints."""
        flops = shape.forward_flops(order.lengths, n_tokens)
        tokens = int(order.lengths.sum())
        steps: tuple[int, ...] = ()
        if isinstance(settings, ProxySettings) and settings.losses == "free":
            steps = tuple(range(order.steps_per_epoch, order.steps + 1, order.steps_per_epoch))
        elif isinstance(settings, ProxySettings) and settings.losses == "perturbed":
            steps = tuple(range(settings.checkpoints))
        elif isinstance(settings, ProxySettings):
            steps = checkpoint_steps(order.steps, settings.checkpoints, settings.schedule)
        losses = settings.losses if isinstance(settings, ProxySettings) else "free"
        passes = 0 if losses == "free" else len(steps)
        is_trained = losses != "perturbed"
        return cls(
            rows=len(order.ids),
            tokens=tokens,
            completion_tokens=int(n_tokens.sum()),
            steps=order.steps if is_trained else 0,
            training_tokens=int(order.over_training(order.lengths)) if is_trained else 0,
            checkpoints=steps,
            scoring_units=len(order.scoring_units()) if passes else 0,
            scoring_tokens=tokens * passes,
            parameters=shape.parameters,
            training_flops=3.0 * order.over_training(flops) if is_trained else 0.0,
            scoring_flops=float(flops.sum()) * passes,
        )

    def of_saved(self, steps: tuple[int, ...]) -> Plan:
        """Give the plan of scoring models that a training saved after ``steps``, and no more."""
        passes = len(steps)
        return replace(
            self,
            steps=steps[-1],
            checkpoints=steps,
            training_tokens=0,
            training_flops=0.0,
            scoring_tokens=self.tokens * passes,
            scoring_flops=self.scoring_flops / len(self.checkpoints) * passes,
        )
