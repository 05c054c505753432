"""Methods that look at single losses of the proxy, or at how they change in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from smalltolarge.errors import DataError
from smalltolarge.selection.pool import Evidence, Pool
from smalltolarge.selection.sampling import matched_order, order_by_key, order_by_value
from smalltolarge.selection.selector import Ranking, Selector
from smalltolarge.settings import Within
from smalltolarge.trajectories import Trajectories


@dataclass(frozen=True, kw_only=True)
class ByLoss(Selector):
    """Choose by the losses at one checkpoint: what such methods have in common."""

    needs: ClassVar[frozenset[Evidence]] = frozenset({Evidence.TRAJECTORIES})
    is_random: ClassVar[bool] = False

    reference: Literal["early", "late"] = "late"
    """The checkpoint whose losses count: early, the first after step 0, or late, the last. The
    S2L paper tries both with each such method and keeps the better."""

    # Step 0 is not "early": a model from scratch is then a random guess, whose losses say nothing
    # of an example, and the untouched pretrained model has not seen the form of the task.

    def _column(self, trajectories: Trajectories) -> int:
        if self.reference == "late":
            return len(trajectories.steps) - 1
        return min(int(np.count_nonzero(trajectories.steps == 0)), len(trajectories.steps) - 1)

    def _losses(self, pool: Pool) -> np.ndarray:
        """Give the losses at the reference checkpoint: float32 (n,)."""
        assert pool.trajectories is not None
        losses: np.ndarray = pool.trajectories.losses[:, self._column(pool.trajectories)]
        return losses


@dataclass(frozen=True, kw_only=True)
class LeastConfidence(ByLoss):
    """Choose the completions that the proxy is least sure of: the highest loss first.

    Source: a baseline of the S2L paper, after Bhatt et al., "An Experimental Design Framework for
    Label-Efficient Supervised Finetuning", 2024 (arXiv 2401.06692). Needs trajectories.
    """

    name: ClassVar[str] = "least-confidence"

    def rank(self, pool: Pool, keys: np.ndarray, seed: int) -> Ranking:
        """Order rows by loss, the highest first."""
        return Ranking(order_by_value(-self._losses(pool), order_by_key(keys, pool.ids)))


@dataclass(frozen=True, kw_only=True)
class MiddlePerplexity(ByLoss):
    """Choose the middle of the data by perplexity: the rows around the median first.

    How near a row is to the median is counted in rows, so that as many are above as below, and
    loss and perplexity give the same. Source: a baseline of the S2L paper, after Marion et al.,
    "When Less Is More", 2023 (arXiv 2309.04564). Needs trajectories.
    """

    name: ClassVar[str] = "middle-perplexity"

    def rank(self, pool: Pool, keys: np.ndarray, seed: int) -> Ranking:
        """Order rows by their distance from the middle of the sorted losses, the lower first."""
        ascending = order_by_value(self._losses(pool), order_by_key(keys, pool.ids))
        distance = np.abs(2 * np.arange(len(pool)) - (len(pool) - 1))
        return Ranking(ascending[np.argsort(distance, kind="stable")])


@dataclass(frozen=True, kw_only=True)
class HighLearnability(ByLoss):
    """Choose what is learned most: the largest fall of loss from before to after training.

    Before is the first checkpoint, the untouched model, and after is the reference. Source: a
    baseline of the S2L paper, after Zhou et al., "LoBaSS", 2023 (arXiv 2310.13008). Needs
    trajectories with two checkpoints.
    """

    name: ClassVar[str] = "high-learnability"

    def rank(self, pool: Pool, keys: np.ndarray, seed: int) -> Ranking:
        """Order rows by the fall of their loss, the largest first."""
        assert pool.trajectories is not None
        pool.trajectories.require_training(f"method {self.name!r}")
        if self._column(pool.trajectories) == 0:
            raise DataError(
                f"method {self.name!r} compares the losses before and after training, and the "
                f"first checkpoint, step {pool.trajectories.steps[0]}, would be both: give losses "
                "that begin at step 0, or reference late and at least two checkpoints"
            )
        rise = self._losses(pool).astype(np.float64) - pool.trajectories.losses[:, 0]
        return Ranking(order_by_value(rise, order_by_key(keys, pool.ids)))


@dataclass(frozen=True, kw_only=True)
class ConfidenceCurriculum(ByLoss):
    """Choose from easy to hard alike, and train from easy to hard.

    The rows are drawn at random, evenly over the range of confidence at the reference checkpoint,
    and are put in the order of training from the most to the least confident. Source: a baseline
    of the S2L paper, there chosen while the target trains, after Varshney et al., "Let the Model
    Decide its Curriculum for Multitask Learning", 2022 (arXiv 2205.09898). Needs trajectories,
    and a trainer that keeps the order.
    """

    name: ClassVar[str] = "confidence-curriculum"
    is_random: ClassVar[bool] = True

    bins: Annotated[int, Within(1, 1_000_000_000)] = 50
    """Groups of equal size that the rows are cut into by confidence; each gives the same share."""

    def rank(self, pool: Pool, keys: np.ndarray, seed: int) -> Ranking:
        """Draw in turn from the bins; give every row its place from easy to hard."""
        losses, order = self._losses(pool), order_by_key(keys, pool.ids)
        sequence = np.empty(len(pool), dtype=np.int64)
        sequence[order_by_value(losses, order)] = np.arange(len(pool))
        return Ranking(matched_order(losses, order, self.bins), sequence=sequence)


@dataclass(frozen=True, kw_only=True)
class Variability(Selector):
    """Choose ambiguous examples: those whose probability changes most during training.

    The standard deviation, over all checkpoints after step 0, of the mean token probability,
    exp(-loss). Source: Swayamdipta et al., "Dataset Cartography", EMNLP 2020 (arXiv 2009.10795),
    there for classes. Needs trajectories with two checkpoints after step 0.
    """

    name: ClassVar[str] = "variability"
    needs: ClassVar[frozenset[Evidence]] = frozenset({Evidence.TRAJECTORIES})
    is_random: ClassVar[bool] = False

    def rank(self, pool: Pool, keys: np.ndarray, seed: int) -> Ranking:
        """Order rows by variability, the largest first."""
        assert pool.trajectories is not None
        pool.trajectories.require_training(f"method {self.name!r}")
        columns = np.flatnonzero(pool.trajectories.steps > 0).tolist()
        if len(columns) < 2:
            raise DataError(
                f"method {self.name!r} needs losses at two or more checkpoints after step 0, "
                f"found {len(columns)}: record more checkpoints"
            )
        # A checkpoint a row: sums then run over whole rows, in one order on any machine.
        losses = [pool.trajectories.losses[:, column] for column in columns]
        spread = np.exp(-np.array(losses, dtype=np.float64)).std(axis=0)
        return Ranking(order_by_value(-spread, order_by_key(keys, pool.ids)))


@dataclass(frozen=True, kw_only=True)
class IFD(Selector):
    """Choose completions that the prompt helps least with: instruction-following difficulty.

    The loss after training with the prompt, over the loss without it, the highest first. Where it
    is 1 or more the prompt does not help at all: such rows come last. Source: Li et al., "From
    Quantity to Quality", NAACL 2024 (arXiv 2308.12032). Needs trajectories, and losses without
    the prompt, which cost one more pass over the completions.
    """

    name: ClassVar[str] = "ifd"
    needs: ClassVar[frozenset[Evidence]] = frozenset({Evidence.TRAJECTORIES, Evidence.LOSSES_ALONE})
    is_random: ClassVar[bool] = False

    def rank(self, pool: Pool, keys: np.ndarray, seed: int) -> Ranking:
        """Order rows by the ratio of their losses: below 1 the highest first, then the rest."""
        assert pool.trajectories is not None and pool.losses_alone is not None
        prompted = pool.trajectories.losses[:, -1].astype(np.float64)
        alone = pool.losses_alone.astype(np.float64)
        if not np.isfinite(alone).all():
            raise DataError("losses_alone has values that are not finite: record them again")
        helps = prompted < alone  # then alone is above 0
        ratio = np.full(len(pool), np.inf)
        np.divide(prompted, alone, out=ratio, where=alone > 0)
        return Ranking(order_by_value(np.where(helps, -ratio, ratio), order_by_key(keys, pool.ids)))
