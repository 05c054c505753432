"""The losses of a head, and their gradients, are those of the plain way at any tile."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from smalltolarge.lm.fast import head, layers, products
from smalltolarge.lm.fast.head import token_losses


def case(
    tokens: int, vocabulary: int, biased: bool, scale: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor]:
    random = torch.Generator().manual_seed(tokens * vocabulary)

    def draw(*size: int) -> torch.Tensor:
        return (torch.randn(*size, generator=random) * scale).requires_grad_()

    targets = torch.randint(0, vocabulary, (tokens,), generator=random)
    return draw(tokens, 8), draw(vocabulary, 8), draw(vocabulary) if biased else None, targets


def plain(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, targets: torch.Tensor
) -> torch.Tensor:
    logits = torch.nn.functional.linear(hidden, weight, bias)
    return cross_entropy(logits, targets, reduction="none")


@pytest.fixture(params=[0, 2**40], ids=["oneDNN", "torch's own"], autouse=True)
def _products(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    for work in products._SMALL:
        monkeypatch.setitem(products._SMALL, work, request.param)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    tokens=st.integers(1, 40),
    vocabulary=st.integers(2, 60),
    biased=st.booleans(),
    rows=st.integers(1, 50),
    columns=st.integers(1, 70),
    share=st.floats(0.01, 3),
)
def test_losses_and_gradients_are_those_of_cross_entropy(
    tokens: int, vocabulary: int, biased: bool, rows: int, columns: int, share: float
) -> None:
    hidden, weight, bias, targets = case(tokens, vocabulary, biased)
    leaves = [tensor for tensor in (hidden, weight, bias) if tensor is not None]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(head, "_ROWS", rows)
        patch.setattr(head, "_COLUMNS", columns)
        found = token_losses(hidden, weight, bias, targets)
        with torch.no_grad():
            scored = token_losses(hidden, weight, bias, targets)
        ours = torch.autograd.grad(found.total * share, leaves)
    wanted = plain(hidden, weight, bias, targets)
    theirs = torch.autograd.grad(wanted.sum() * share, leaves)
    torch.testing.assert_close(found.each, wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.total, wanted.sum(), rtol=1e-4, atol=1e-5)
    assert torch.equal(scored.each, found.each)
    for mine, yours in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, yours, rtol=1e-3, atol=1e-4)


def test_huge_logits_neither_overflow_nor_fall_below_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "_COLUMNS", 7)
    hidden, weight, bias, targets = case(30, 50, True, scale=100.0)
    found = token_losses(hidden, weight, bias, targets)
    assert found.each.min() >= 0
    torch.testing.assert_close(
        found.each, plain(hidden, weight, bias, targets), rtol=1e-4, atol=2e-2
    )
    for grad in torch.autograd.grad(found.total, [hidden, weight]):
        assert grad.isfinite().all()


def test_a_sure_token_has_no_loss() -> None:
    hidden = torch.tensor([[60.0, 0.0], [0.0, 60.0]])
    found = token_losses(hidden, torch.eye(2), None, torch.tensor([0, 1]))
    assert found.each.tolist() == [0.0, 0.0]


def test_bfloat16_losses_are_close_to_those_of_float32() -> None:
    hidden, weight, bias, targets = case(30, 50, True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = token_losses(hidden, weight, bias, targets)
    exact = token_losses(hidden, weight, bias, targets)
    assert rounded.each.dtype == torch.float32
    assert 0 < (rounded.each - exact.each).abs().max() < 0.2
    ours = torch.autograd.grad(rounded.total, [hidden, weight])
    theirs = torch.autograd.grad(exact.total, [hidden, weight])
    for mine, yours in zip(ours, theirs, strict=True):
        assert mine.dtype == torch.float32
        assert (mine - yours).abs().max() < 0.1 * yours.abs().max()


def test_a_compiled_reduction_is_the_plain_one() -> None:
    """What runs on CUDA, compiled for the CPU."""
    pytest.importorskip("torch._inductor")
    logits = torch.randn(37, 301)
    compiled = torch.compile(head._exponentials, dynamic=True)
    for dtype, rtol in ((torch.float32, 1e-5), (torch.bfloat16, 1e-2)):
        try:
            found = compiled(logits.to(dtype, copy=True))
        except Exception as error:  # no compiler on this machine
            pytest.skip(f"torch cannot compile here: {error}")
        plain_one = head._exponentials(logits.to(dtype, copy=True))
        for ours, theirs in zip(found, plain_one, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=rtol, atol=1e-5)


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5)])
@pytest.mark.parametrize("biased", [True, False])
def test_a_linear_layer_is_torchs_own(shape: tuple[int, ...], biased: bool) -> None:
    theirs = torch.nn.Linear(5, 4, bias=biased)
    ours = torch.nn.Sequential(torch.nn.Linear(5, 4, bias=biased))
    ours[0].load_state_dict(theirs.state_dict())
    layers.adopt(ours)
    assert type(ours[0]) is layers.Linear
    inputs = torch.randn(shape, requires_grad=True)
    found, wanted = ours(inputs), theirs(inputs)
    torch.testing.assert_close(found, wanted)
    with torch.inference_mode():
        torch.testing.assert_close(ours(inputs), wanted)
    push = torch.randn_like(wanted)
    mine = torch.autograd.grad(found, [inputs, *ours.parameters()], push)
    yours = torch.autograd.grad(wanted, [inputs, *theirs.parameters()], push)
    for one, other in zip(mine, yours, strict=True):
        torch.testing.assert_close(one, other)


def test_layers_of_another_kind_are_left_alone() -> None:
    class Special(torch.nn.Linear):  # type: ignore[misc]
        pass

    model = torch.nn.Sequential(Special(2, 2), torch.nn.ReLU())
    layers.adopt(model)
    assert type(model[0]) is Special
