"""Full fine-tuning of a proxy, one optimiser step at a time, and its state as plain tensors."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from smalltolarge.errors import DataError, IntegrityError
from smalltolarge.lm.fast.units import Unit
from smalltolarge.lm.losses import Losses, naming_memory
from smalltolarge.lm.plan import SHARDS, dealt, keyed_number
from smalltolarge.lm.world import World
from smalltolarge.progress import Step

if TYPE_CHECKING:
    from smalltolarge.lm.tokens import Prepared


def learning_rate(step: int, steps: int, warmup: float, peak: float) -> float:
    """Give the rate of one step, counted from 0: a linear rise, then a cosine to 0.

    The rise takes ceil(warmup x steps) steps, the last of them at the peak.
    """
    rise = math.ceil(warmup * steps)
    if step < rise:
        return peak * (step + 1) / rise
    return peak * 0.5 * (1.0 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


ByUnit = list[tuple[np.ndarray, torch.Tensor]]
"""For each unit of a step, its rows and the losses of their completion tokens."""
_LOSS_EVERY = 20
"""Steps. To bring a loss off the device is to wait for it."""
_RECENT = "recent losses"
_SAY_EVERY = 10.0
"""Seconds after which a person is told a loss of fewer steps."""


class Training:
    """A model being trained: AdamW over the batches that ``prepared`` orders, in every process of
    ``world`` alike.
    """

    def __init__(
        self,
        prepared: Prepared,
        losses: Losses,
        device: torch.device,
        world: World | None = None,
    ) -> None:
        self.prepared, self.losses, self.device = prepared, losses, device
        self.world = world or World()
        self.model = losses.model
        self.step = 0
        self.train_loss = math.nan
        """Mean over the last steps."""
        self.all_reduced = 0
        """Steps whose gradients were added in another order than that of one process."""
        self.recent: list[torch.Tensor] = []
        """Losses of the steps since then."""
        settings = prepared.settings
        weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        self.weights = weights
        groups = [
            {"params": [w for w in weights if w.ndim > 1], "weight_decay": settings.weight_decay},
            {"params": [w for w in weights if w.ndim <= 1], "weight_decay": 0.0},
        ]
        self.fused = device.type in ("cpu", "cuda")
        self.optimiser = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=0.0,
            betas=(0.9, 0.999),
            eps=1e-8,
            fused=self.fused,
        )
        self._epoch: tuple[int, np.ndarray] | None = None

    def batch(self, step: int) -> np.ndarray:
        """Give the rows of one optimiser step."""
        order = self.prepared.order
        number, place = divmod(step, order.steps_per_epoch)
        if self._epoch is None or self._epoch[0] != number:
            self._epoch = (number, order.epoch(number))
        start = place * order.batch_size
        return self._epoch[1][start : start + order.batch_size]

    def run_to(
        self, last: int, bar: Step, check: Callable[[], None], done: Callable[[ByUnit], None]
    ) -> None:
        """Train until ``last`` steps are done.

        ``check`` is called before every unit and may raise: what was done of the step is lost
        then, and ``state`` is that after the step before. ``done`` is called after every step with
        the losses of its units.

        Raises
        ------
        DataError
            The loss is no number any more.
        """
        rate = self.prepared.settings.learning_rate or 0.0
        said = time.monotonic()
        while self.step < last:
            with bar.part(Step(total=len(self.batch(self.step)))) as part:
                loss, by_unit = self.advance(check, part)
            self.recent.append(loss)
            note = ""
            if self.step % _LOSS_EVERY == 0 or self.step == last:
                self.train_loss = float(torch.stack(self.recent).mean())
                refuse_diverged(self.train_loss, self.step, rate)
                self.recent.clear()
                note, said = f"loss {self.train_loss:.3f}", time.monotonic()
            elif time.monotonic() - said > _SAY_EVERY:
                mean = float(torch.stack(self.recent).mean())
                note, said = f"loss {mean:.3f}", time.monotonic()
            bar.advance(1, note)
            done(by_unit)

    def advance(
        self, check: Callable[[], None] = lambda: None, part: Step | None = None
    ) -> tuple[torch.Tensor, ByUnit]:
        """Do one optimiser step; ``part`` counts its rows.

        Gives the mean loss of its batch, and for each of its units the rows and the losses of
        their completion tokens before the step; all losses on the device.

        The loss is the sum over the batch's completion tokens over their number; where examples
        are weighted, each token's times the weight of its example (and none by token is given).
        The units are
        dealt to ``SHARDS`` shards: inside a shard their gradients are added in order, and the
        shards by a tree, so that 1, 2, 4 and 8 processes give the same bits (``_add_up``). Random
        numbers (dropout) follow from the seed, the step and the unit.
        """
        prepared, settings, world = self.prepared, self.prepared.settings, self.world
        rows = self.batch(self.step)
        n_tokens = int(prepared.n_tokens[rows].sum())
        assert settings.learning_rate is not None
        rate = learning_rate(
            self.step, prepared.plan.steps, settings.warmup, settings.learning_rate
        )
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.model.train()
        self.optimiser.zero_grad(set_to_none=True)
        part = part or Step()
        units = prepared.order.longest_first(rows)
        lengths = [int(prepared.n_tokens[unit].sum()) for unit in units]
        found = torch.zeros(len(units) + n_tokens, device=self.device)
        totals, *each = found.split([len(units), *lengths])

        def learn(number: int) -> None:
            world.check(check)
            torch.manual_seed(keyed_number(f"unit {prepared.seed} {self.step} {number}"))
            unit = units[number]
            with naming_memory(prepared, unit):
                laid_out = Unit.of(prepared, unit, self.device)
                if prepared.weights is None:
                    losses = self.losses(laid_out)
                    total = losses.total
                    each[number].copy_(losses.each)
                else:
                    of_tokens = np.repeat(prepared.weights[unit], prepared.n_tokens[unit])
                    factors = torch.from_numpy(of_tokens.astype(np.float32)).to(self.device)
                    total = self.losses.weighted(laid_out, factors)
                (total / n_tokens).backward()
            totals[number] = total.detach()
            part.advance(len(unit))

        numbers = dealt(range(len(units)), world.rank, world.size)
        shards = SHARDS // world.size if world.is_exact else 1
        self._add_up([dealt(numbers, shard, shards) for shard in range(shards)], learn)
        for _ in range(len(numbers), len(dealt(range(len(units)), 0, world.size))):
            world.check(check)  # as often as the others
        world.add_gradients(self.weights)
        world.whole(found)
        torch.nn.utils.clip_grad_norm_(self.weights, settings.max_grad_norm)
        self.optimiser.step()
        self.step += 1
        self.all_reduced += not world.is_exact
        total = torch.zeros((), device=self.device)
        for loss in totals:
            total += loss
        return total / n_tokens, list(zip(units, each, strict=True))

    def _add_up(self, shards: Sequence[Sequence[int]], learn: Callable[[int], None]) -> None:
        """Leave the sum of the gradients of units, by number in shards, in the weights.

        The even shards are added up, the odd ones likewise, and then the two. ``learn`` adds the
        gradient of a unit to what is there, so nothing is held beside it where one is left to add.
        """
        if len(shards) == 1:
            for number in shards[0]:
                learn(number)
            return
        self._add_up(shards[::2], learn)
        odd = shards[1::2]
        if sum(map(len, odd)) <= 1:
            for shard in odd:
                for number in shard:
                    learn(number)
            return
        even = [weight.grad for weight in self.weights]
        self.optimiser.zero_grad(set_to_none=True)
        self._add_up(odd, learn)
        for weight, gradient in zip(self.weights, even, strict=True):
            if gradient is not None:
                weight.grad = gradient if weight.grad is None else gradient.add_(weight.grad)

    def weights_now(self) -> dict[str, torch.Tensor]:
        """Give the weights as tensors on the CPU; tied weights once, by their first name."""
        return weights_of(self.model)

    def state(self) -> dict[str, torch.Tensor]:
        """Give weights, moments and the last losses as tensors on the CPU; tied weights once."""
        tensors = {f"model.{name}": tensor for name, tensor in self.weights_now().items()}
        for name, weight in self.model.named_parameters():
            moments = self.optimiser.state.get(weight, {})
            for kind in ("exp_avg", "exp_avg_sq"):
                if kind in moments:
                    tensors[f"{kind}.{name}"] = moments[kind]
        if self.recent:
            tensors[_RECENT] = torch.stack(self.recent)
        return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}

    def restore(self, tensors: dict[str, torch.Tensor], step: int) -> None:
        """Take up the state of an earlier process; every weight must be there.

        Raises
        ------
        IntegrityError
            A weight is missing or is one too many.
        """
        self.recent = list(tensors.pop(_RECENT, torch.empty(0)).to(self.device))
        try:
            weights = {
                name.removeprefix("model."): tensor
                for name, tensor in tensors.items()
                if name.startswith("model.")
            }
            load_weights(self.model, weights)
            parameters = dict(self.model.named_parameters())
            moments: dict[str, dict[str, torch.Tensor]] = {}
            for key, tensor in tensors.items():
                kind, name = key.split(".", 1)
                if kind != "model":
                    target = parameters[name]
                    moments.setdefault(name, {})[kind] = tensor.to(target.device).clone()
        except (KeyError, RuntimeError) as error:
            raise IntegrityError(f"the state does not fit the model: {error}") from error
        count_on = self.device if self.fused else torch.device("cpu")
        for name, kinds in moments.items():
            count = torch.tensor(float(step), dtype=torch.float32, device=count_on)
            self.optimiser.state[parameters[name]] = {"step": count, **kinds}
        self.step = step


def weights_of(model: Any) -> dict[str, torch.Tensor]:
    """Give the weights of a model as tensors on the CPU; tied weights once, by their first name."""
    state = model.state_dict()
    return {
        name: state[name].detach().cpu().contiguous()
        for name, first in _aliases(model).items()
        if name == first
    }


def load_weights(model: Any, weights: Mapping[str, torch.Tensor]) -> None:
    """Put weights in that ``Training.weights_now`` gave; every one must be there.

    Raises
    ------
    KeyError, RuntimeError
        They are not those of this model.
    """
    aliases = _aliases(model)
    model.load_state_dict({name: weights[first] for name, first in aliases.items()}, strict=True)


def _aliases(model: Any) -> dict[str, str]:
    """Map every name of the state dict to the first name of the same memory."""
    first: dict[tuple[int, tuple[int, ...]], str] = {}
    return {
        name: first.setdefault((tensor.data_ptr(), tuple(tensor.shape)), name)
        for name, tensor in model.state_dict().items()
    }


def refuse_diverged(loss: float, step: int, rate: float) -> None:
    """Stop a training whose loss is no number any more.

    Raises
    ------
    DataError
        ``loss`` is not finite.
    """
    if not math.isfinite(loss):
        raise DataError(
            f"the model diverged: its training loss is {loss} by step {step}, at a peak learning "
            f"rate of {rate:g}. Give a lower --learning-rate."
        )
