"""The compute multiplier: what random rows would need for the score of an arm."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from smalltolarge.runs.multiplier import Multiplier, Trained, multipliers


def trained(tokens: float, *shares: float, questions: int = 100) -> Trained:
    """A kind of target with these shares of right answers, a run each."""
    ranks = np.arange(questions) / questions
    return Trained(tokens, [np.array([[ranks < share for share in shares]], dtype=float)])


CURVE = [trained(400, 0.6), trained(100, 0.2), trained(200, 0.4)]


def of(arm: Trained, curve: Sequence[Trained] = CURVE) -> Multiplier:
    return multipliers(curve, [arm])[0]


def test_a_score_of_random_with_twice_the_training_is_a_multiplier_of_two() -> None:
    assert of(trained(100, 0.4)).value == pytest.approx(2)
    assert of(trained(200, 0.4)).value == pytest.approx(1)
    assert of(trained(100, 0.3)).value == pytest.approx(math.sqrt(2))
    assert of(trained(400, 0.3)).value == pytest.approx(math.sqrt(2) / 4)
    assert of(trained(100, 0.6)).bound == ""


def test_beyond_the_training_of_random_there_are_bounds() -> None:
    above, below = of(trained(100, 0.9)), of(trained(100, 0.1))
    assert (above.value, above.bound, above.high) == (4, ">=", math.inf)
    assert (below.value, below.bound, below.low) == (1, "<=", 0)


def test_of_a_curve_that_falls_somewhere_the_least_training_counts() -> None:
    curve = [trained(100, 0.2), trained(200, 0.5), trained(400, 0.3), trained(800, 0.6)]
    assert of(trained(100, 0.4), curve).value == pytest.approx(2 ** (2 / 3))
    assert of(trained(100, 0.5), curve).value == pytest.approx(2)
    assert of(trained(100, 0.6), curve).value == pytest.approx(8)
    falls = [trained(100, 0.5), trained(800, 0.2)]
    assert (of(trained(100, 0.5), falls).value, of(trained(100, 0.5), falls).bound) == (1, "<=")
    flat = [trained(100, 0.0), trained(200, 0.0)]
    assert (of(trained(100, 0.0), flat).value, of(trained(100, 0.0), flat).bound) == (1, "<=")


def test_the_interval_holds_what_is_true_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(25):
        hard = rng.normal(0, 1.2, 150)  # of the questions, for all

        levels = np.array([-2, -1, 0, 1, 0])  # the last of an arm, which random has at 8 tokens
        logits = levels[:, None, None] + rng.normal(0, 0.1, (5, 3, 1)) - hard
        right = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))) * 1.0
        points = [Trained(t, [each[None]]) for t, each in zip((2, 4, 8, 16, 4), right, strict=True)]
        found = of(points[-1], points[:-1])
        hits += found.low <= 2 <= found.high
    assert hits >= 20  # of 25; one of 19 or fewer in a thousand


def test_one_run_and_one_number_have_no_interval() -> None:
    curve = [Trained(100, [np.array([[[-2.0]]])]), Trained(200, [np.array([[[-1.0]]])])]
    found = of(Trained(100, [np.array([[[-1.5]]])]), curve)
    assert found.value == pytest.approx(math.sqrt(2))
    assert math.isnan(found.low) and math.isnan(found.high)
