"""The arms of a comparison: a way of choosing, and a target trained and scored for it.

The run folder of a comparison holds what every run folder holds, and: ``ranking-NAME.parquet``, all
rows in the order a method and seed want them (its budgets are beginnings of it); ``arm-NAME.json``
and ``answers-NAME.jsonl``, what a target cost, scored and answered; ``table.md``, ``table.csv`` and
``table.json``; ``targets/`` where they are kept. What belongs to a proxy of another seed than the
recipe's has it at the end of its name.
"""

from __future__ import annotations

import difflib
import itertools
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from smalltolarge import examples as reading
from smalltolarge import store
from smalltolarge.errors import IntegrityError, InUse, MissingArtifact, RecipeError, printable
from smalltolarge.evaluation import Answer, Exam, Score
from smalltolarge.examples import Examples
from smalltolarge.examples.overlap import Questions, questions_of
from smalltolarge.progress import NotedProgress, Step, Watch
from smalltolarge.runs.folder import PAUSE, RunFolder, waiting
from smalltolarge.runs.outcomes import NOTHING, Arm, ArmResult, Table, tabulate
from smalltolarge.runs.paired import rounded
from smalltolarge.runs.recipe import FULL, THE_PROXY, UNTUNED, CompareRecipe, Method, Proxy
from smalltolarge.runs.results import Run
from smalltolarge.runs.shapes import ARM
from smalltolarge.runs.stages import joined, warn_of_pruned
from smalltolarge.selection import Budget, Pool, columns
from smalltolarge.settings import EvaluationSettings

if TYPE_CHECKING:
    from smalltolarge.lm import Prepared, Target

log = logging.getLogger("smalltolarge")

_LONGEST_PAUSE = 5.0
"""Seconds between two looks at the arms that other processes do."""


def list_arms(recipe: CompareRecipe) -> Iterator[Arm]:
    """Give all arms, those first that make the first row of the table; untuned is there once."""
    for choice in recipe.choices:
        if choice.method == UNTUNED:
            yield Arm(choice.label, NOTHING, recipe.seeds[0], recipe.equal[0])
    for seed in recipe.seeds:
        for equal in recipe.equal:
            for choice in recipe.choices:
                if choice.method == FULL:
                    yield Arm(choice.label, "100%", seed, equal)
            for budget in recipe.budgets:
                for choice in recipe.choices:
                    if choice.method not in (FULL, UNTUNED):
                        for proxy in recipe.proxies_of(choice) or (THE_PROXY,):
                            yield Arm(choice.label, budget, seed, equal, proxy.seed)


def proxy_of(choice: Method, arm: Arm) -> Proxy:
    """Give the proxy that an arm of a method is ranked by; that without a name where none is."""
    return Proxy(choice.proxy, arm.proxy_seed)


def find_arms(recipe: CompareRecipe, wanted: Sequence[str | int] | None) -> list[Arm]:
    """Give the arms that are named, or numbered from 1 as ``list_arms`` gives them; None: all.

    Raises
    ------
    RecipeError
        There is no such arm.
    """
    arms = list(list_arms(recipe))
    if wanted is None:
        return arms
    known = {arm.name: arm for arm in arms}
    known |= {str(number): arm for number, arm in enumerate(arms, 1)}
    for name in wanted:
        if str(name) not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise RecipeError(
                f"there is no arm {printable(name)!r}; {hint}--list-arms lists them: 1 to "
                f"{len(arms):,}, and their names"
            )
    return [known[str(name)] for name in wanted]


def missing_arms(run: Run, recipe: CompareRecipe) -> list[Arm]:
    """Give the arms that are not done, in the order in which they are run."""
    return [arm for arm in list_arms(recipe) if arm.stage not in run.stages]


class ArmThere(NamedTuple):
    """An arm of a comparison, its number from 1, and whether it is done."""

    number: int
    arm: Arm
    is_done: bool


def arms_there(recipe: CompareRecipe, folder: Path) -> list[ArmThere]:
    """List all arms, in the order in which they are run; ``folder`` need not be there.

    Raises
    ------
    StaleArtifact
        It has a run with other settings.
    """
    joined(recipe.resolved(), folder)
    done = Run(folder).stages
    arms = find_arms(recipe, None)
    return [ArmThere(number, arm, arm.stage in done) for number, arm in enumerate(arms, 1)]


@dataclass(frozen=True, eq=False)
class Ranked:
    """All rows of a pool as a method and a seed want them."""

    order: np.ndarray
    sequence: np.ndarray | None = None
    groups: np.ndarray | None = None
    """int (n,): what was drawn from, where it was from groups."""
    seconds: float = 0.0


class Arms:
    """The arms of a comparison, done one after the other, by one process or several."""

    def __init__(
        self,
        run: RunFolder,
        recipe: CompareRecipe,
        pools: Mapping[Proxy, Pool],
        prepared: Prepared,
        scorer: Scorer,
        overlaps: Mapping[str, np.ndarray],
        watch: Watch,
        *,
        wait: bool = True,
    ) -> None:
        self.run, self.recipe, self.pools = run, recipe, pools
        pool = self.pool = pools[THE_PROXY]
        self.scorer, self.overlaps, self.watch, self.wait = scorer, overlaps, watch, wait
        self.all = list(list_arms(recipe))
        self._choices = {choice.label: choice for choice in recipe.choices}
        self._ranked: dict[str, Ranked] = {}
        # What the proxy could not use, or the target cannot, is trained on by no arm.
        self.usable = np.isin(pool.ids, prepared.ids)
        self.prepared = prepared.take(np.flatnonzero(np.isin(prepared.ids, pool.ids)))
        lost = len(pool) - len(self.prepared)
        if lost:
            log.warning("%d rows are too long for the target and take no part", lost)

    def do(self, arms: Sequence[Arm]) -> None:
        """Do those of the arms that no other process does, then those that others gave up.

        Raises
        ------
        InUse
            Another process does one, and there is to be no waiting.
        """
        left = [arm for arm in arms if self.run.facts(arm.stage) is None]
        done = len(arms) - len(left)
        with self.watch.progress.step("arms", len(arms), "arms", done=done) as bar:
            while left:
                left = [arm for arm in left if not self._is_done_now(arm, bar)]
                if left:
                    self.watch.check()
                    time.sleep(min(PAUSE * len(left), _LONGEST_PAUSE))

    def _is_done_now(self, arm: Arm, bar: Step) -> bool:
        """Do an arm, unless it is done; False where another process does it."""
        try:
            with self.run.claim(arm.stage) as place:
                if not self.run.is_done(arm.stage):
                    self._do(arm, NotedProgress(bar, arm.name), place)
        except InUse:
            if not self.wait:
                raise
            return False
        bar.advance(1)
        return True

    def _do(self, arm: Arm, progress: NotedProgress, place: Path) -> None:
        """Rank, train, score, and keep what came of it; what is temporary is in ``place``."""
        from smalltolarge import lm

        ranked = self._rank(arm)
        if arm.budget == NOTHING:
            every = np.arange(len(self.prepared))
            target = lm.untrained(self.prepared.take(every, seed=arm.seed))
            ids = self.prepared.ids[:0]
        else:
            chosen = self._chosen(arm, ranked)
            steps = None
            if arm.equal == "steps":
                whole = self.prepared.plan_of_epochs
                steps = self.recipe.target.steps or whole.steps
            sequence = None if ranked.sequence is None else ranked.sequence[chosen]
            weights = None
            if self._choices[arm.method].weighted and ranked.groups is not None:
                weights = columns.weights(ranked.groups[self.usable], chosen)
            prepared = self.prepared.take(
                chosen, seed=arm.seed, steps=steps, sequence=sequence, weights=weights
            )
            target = lm.train(
                prepared, folder=place / "target", progress=progress, check=self.watch.check
            )
            ids = prepared.ids
        began = time.monotonic()
        results, losses = self.scorer.score(target, progress, place / "answering")
        facts = target.facts
        result = ArmResult(
            arm=arm,
            rows=len(ids),
            steps=int(facts["steps"]),
            tokens=int(facts["tokens"]),
            flops=float(facts["flops"]),
            seconds=round(float(facts["seconds"]), 3),
            seconds_selecting=ranked.seconds,
            seconds_evaluating=round(time.monotonic() - began, 3),
            train_loss=facts["train_loss"],
            scores={score.task: [one.score for one in answers] for score, answers in results},
            unanswered={score.task: score.unanswered for score, _ in results},
            truncated={score.task: score.truncated for score, _ in results},
            failed_programs={score.task: score.failed_programs for score, _ in results},
            measures={score.task: score.measures for score, _ in results},
            losses=losses,
        )
        shared = {
            name: int(np.isin(overlapping, ids).sum())
            for name, overlapping in self.overlaps.items()
        }
        self._keep(
            arm,
            result,
            [one for _, answers in results for one in answers],
            target,
            {"overlaps": shared},
        )

    def keep_rankings(self, *, lost: bool = False) -> None:
        """Make all rankings, or those ``lost`` of arms that are done."""
        for arm in self.all:
            if not lost or self.run.facts(arm.stage) is not None:
                self._rank(arm)

    def _keep(
        self,
        arm: Arm,
        result: ArmResult,
        answers: list[Answer],
        target: Target,
        facts: Mapping[str, Any],
    ) -> None:
        plain = result.to_plain()
        seconds = {name: plain.pop(name) for name in list(plain) if name.startswith("seconds")}
        files: dict[str, store.Content] = {f"arm-{arm.name}.json": store.as_json(plain)}
        if answers:
            files[f"answers-{arm.name}.jsonl"] = store.json_lines(map(asdict, answers))
        if self.recipe.keep_targets:
            files[f"targets/{arm.name}"] = target.save
        self.run.commit(arm.stage, files, {**facts, **seconds})

    def _chosen(self, arm: Arm, ranked: Ranked) -> np.ndarray:
        """Give the rows of an arm among those prepared, int64 (b,), increasing."""
        order = ranked.order
        chosen = np.zeros(len(self.pool), dtype=bool)
        chosen[order[: Budget.parse(arm.budget).least_rows(len(order))]] = True
        return np.flatnonzero(chosen[self.usable])

    def _rank(self, arm: Arm) -> Ranked:
        """Order all rows as a method and the seeds want them; it is made once, and kept."""
        key = arm.ranking
        if key not in self._ranked:
            selector = self._choices[arm.method].selector()
            if selector is None:
                self._ranked[key] = Ranked(np.arange(len(self.pool)))
                return self._ranked[key]
            stage, file = f"ranking {key}", f"ranking-{key}.parquet"
            if not self.run.is_done(stage):
                with waiting(lambda: self.run.claim(stage), self.watch, wait=self.wait):
                    if not self.run.is_done(stage):
                        began = time.monotonic()
                        pool = self.pools[proxy_of(self._choices[arm.method], arm)]
                        selection = selector.select(pool, len(pool), arm.seed)
                        seconds = round(time.monotonic() - began, 3)
                        for budget in self.recipe.budgets:
                            taken = Budget.parse(budget).least_rows(len(pool))
                            warn_of_pruned(selection.pruned, len(pool), taken, arm.method)
                        table = ranking_table(pool, selection)
                        write = partial(store.write_parquet, table=table)
                        self.run.commit(stage, {file: write}, {"seconds": seconds})
            ranked = read_ranking(self.run.path / file, self.pool.ids)
            if ranked.sequence is not None:
                ranked = replace(ranked, sequence=ranked.sequence[self.usable])
            seconds = (self.run.facts(stage) or {}).get("seconds", 0.0)
            self._ranked[key] = replace(ranked, seconds=seconds)
        return self._ranked[key]


def ranking_table(pool: Pool, selection: Any) -> Any:
    import pyarrow as pa

    rank = np.empty(len(pool), dtype=np.int64)
    rank[selection.order] = np.arange(len(pool))
    found: dict[str, Any] = {
        "id": pa.array(pool.ids.tolist(), pa.binary()).cast(pa.string()),
        "rank": rank,
    }
    if selection.labels is not None:
        found["cluster"] = selection.labels
    if selection.groups is not None:
        found["group"] = selection.groups
    if selection.sequence is not None:
        found["sequence"] = selection.sequence
    return pa.table(found)


def read_ranking(file: Path, ids: np.ndarray) -> Ranked:
    """Read what ``ranking_table`` made of the pool ``ids`` (n,).

    Raises
    ------
    IntegrityError
        It ranks other rows, or not each of them once.
    """
    table = store.read_parquet(file)
    found = {
        name: table[name].to_numpy()
        for name in ("rank", "sequence", "cluster", "group")
        if name in table.column_names
        and str(table[name].type) in ("int32", "int64")
        and table[name].null_count == 0
    }
    names = table["id"].to_pylist() if "id" in table.column_names else []
    whole = [name.decode() for name in ids.tolist()] == names
    if not whole or not np.array_equal(np.sort(found.get("rank", [])), np.arange(len(ids))):
        raise IntegrityError(f"{file} is no ranking of the rows of this run")
    groups = found.get("group", found.get("cluster"))
    if groups is not None and groups.min() < 0:
        raise IntegrityError(f"{file} has groups below 0")
    return Ranked(np.argsort(found["rank"]), found.get("sequence"), groups)


class Scorer:
    """The questions and held-out data of a comparison, read once."""

    def __init__(self, settings: EvaluationSettings, exam: Exam, watch: Watch) -> None:
        self.settings, self.exam, self.watch = settings, exam, watch
        self.held_out: dict[str, Examples] = {}
        for name in settings.held_out:
            self._hold_out(Path(name).name.partition(".")[0], name)
        self.solved: set[str] = set()
        """The tasks whose questions all have a worked solution."""
        for name, questions in exam.questions.items():
            if all(question.solution is not None for question in questions):
                rows = [
                    {"prompt": one.text, "completion": one.solution, "source": one.source}
                    for one in questions
                ]
                self._hold_out(name, rows)
                self.solved.add(name)
        self._prepared: dict[str, Prepared] = {}

    def _hold_out(self, name: str, source: str | list[dict[str, Any]]) -> None:
        if name in self.held_out:
            raise RecipeError(f"evaluation: two sets of held-out data are named {printable(name)}")
        found = reading.load(source, check=self.watch.check)
        if found.split is not None:
            raise RecipeError(
                f"evaluation: held-out {printable(source, 200)} has the splits "
                f"{', '.join(map(printable, found.split.among))}. Name the files of one."
            )
        self.held_out[name] = found

    def asked(self) -> dict[str, list[Questions]]:
        """Give the questions of every task, and the prompts of held-out data, by name."""
        found = self.exam.texts()
        for name, examples in self.held_out.items():
            if name not in self.solved:
                label = f"{name} (held out)" if name in found else name
                found[label] = list(questions_of(examples))
        return found

    def check_room(self, prepared: Prepared) -> None:
        """Refuse, before any training, answers that the target has no positions for."""
        from smalltolarge import lm

        asked = (prepared.model, prepared.tokenizer, prepared.template, prepared.settings)
        self.exam.check_room(lm.Answerer(None, *asked))

    def score(
        self, target: Target, progress: NotedProgress, kept: Path
    ) -> tuple[list[tuple[Score, list[Answer]]], dict[str, dict[str, list[float]]]]:
        """Score a target on everything; completions are kept while it goes on."""
        answerer = target.answerer
        results = [
            self.exam.examine(
                task, answerer, progress=progress, check=self.watch.check, folder=kept
            )
            for task in self.exam.tasks
        ]
        losses = {}
        for name, examples in self.held_out.items():
            if name not in self._prepared:
                self._prepared[name] = target.prepared.of(examples)
            prepared = self._prepared[name]
            with progress.step(f"scoring {name}", len(prepared)) as bar:
                each = target.losses(prepared, check=self.watch.check, advance=bar.advance)
            losses[name] = _by_source(examples, prepared.ids, each)
        return results, losses


def _by_source(examples: Examples, ids: np.ndarray, losses: np.ndarray) -> dict[str, list[float]]:
    """Part losses (m,) of the examples ``ids`` by their source."""
    of = dict(zip(examples.ids.tolist(), examples.sources(), strict=True))
    found: dict[str, list[float]] = {}
    for name, loss in zip(ids.tolist(), losses.tolist(), strict=True):
        found.setdefault(str(of[name]), []).append(rounded(loss))
    return found


def read_results(run: Run) -> list[ArmResult]:
    """Read the results of all arms that are done, in the order in which they are run."""
    recipe = run.recipe
    assert isinstance(recipe, CompareRecipe)
    stages = run.stages
    return [
        ArmResult.from_plain(run.json(f"arm-{arm.name}.json", ARM) | stages[arm.stage]["measured"])
        for arm in list_arms(recipe)
        if arm.stage in stages
    ]


def read_table(run: Run) -> Table:
    """Make the table of a comparison from the arms that are done.

    Raises
    ------
    MissingArtifact
        None is done, or it is the run folder of something else.
    """
    recipe = run.recipe
    if not isinstance(recipe, CompareRecipe):
        raise MissingArtifact(f"{run.path} is not the run folder of a comparison")
    results = read_results(run)
    if not results:
        raise MissingArtifact(f"{run.path}: no arm is done yet")
    return make_table(run, recipe, results)


def make_table(run: Run, recipe: CompareRecipe, results: list[ArmResult]) -> Table:
    """Put the results of arms into one table."""
    costs: dict[str, dict[str, float]] = {}
    names = dict.fromkeys(proxy.name for proxy in recipe.trained)
    for name, stage in itertools.product(names, ("record", "embeddings", "losses_alone")):
        stages = [proxy.own(stage) for proxy in recipe.trained if proxy.name == name]
        facts = [run.facts(one) for one in stages if one in run.stages]
        for kind in ("flops", "seconds"):
            if given := [float(one[kind]) for one in facts if kind in one]:
                cost = costs.setdefault(name, {"flops": 0.0, "seconds": 0.0})
                cost[kind] += sum(given) / len(given)
    needs = {one.label: one.proxy if one.needs_proxy else None for one in recipe.choices}
    labels = {choice.method: choice.label for choice in reversed(recipe.choices)}
    always = (labels[method] for method in ("random", FULL))
    try:
        return tabulate(results, needs, costs, *always)
    except (ArithmeticError, LookupError, ValueError) as error:
        raise IntegrityError(f"{run.path}: the results of its arms do not fit together") from error
