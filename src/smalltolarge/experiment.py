"""The order of the stages; the only file that knows all of them.

A run folder holds: ``recipe.yaml`` (every setting), ``environment.json``, ``manifest.json`` (the
stages done, with the digests of what they read and wrote), ``excluded.jsonl``,
``trajectories.parquet``, ``tokenizer.json`` of a scratch proxy, ``selection.parquet`` and
``clusters.parquet``; ``proxy/`` only while a recording goes on.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smalltolarge import examples as reading
from smalltolarge import outputs, store
from smalltolarge import recipe as recipes
from smalltolarge.errors import (
    BudgetError,
    DataError,
    IntegrityError,
    RecipeError,
    StaleArtifact,
)
from smalltolarge.examples import Examples
from smalltolarge.progress import Progress
from smalltolarge.recipe import RecordRecipe, SelectRecipe
from smalltolarge.results import (
    Run,
    cluster_table,
    reasons,
    selection_facts,
    selection_table,
)
from smalltolarge.selection import Budget, Pool
from smalltolarge.settings import ProxySettings, cores
from smalltolarge.trajectories import Trajectories

if TYPE_CHECKING:
    from smalltolarge.lm import Prepared

log = logging.getLogger("smalltolarge")

_VERSIONS = (
    "smalltolarge", "datasets", "faiss-cpu", "numpy", "pyarrow", "safetensors", "tokenizers",
    "torch", "transformers",
)  # fmt: skip
_VARIABLES = ("CUDA_VISIBLE_DEVICES", "HF_HUB_OFFLINE", "OMP_NUM_THREADS")


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Watch:
    """Who looks on while a run goes: what is shown, and what may stop it."""

    progress: Progress = field(default_factory=Progress)
    check: Callable[[], None] = _nothing
    """Called often; raises ``Interrupted`` when the run is to stop."""


def run_select(
    recipe: SelectRecipe, out: Path | None, folder: Path, watch: Watch, *, overwrite: bool = False
) -> Run:
    """Read, record, select and write, each stage once; what is done is not done again.

    ``out`` is ``subset`` with the suffix of the input when it is None.

    Raises
    ------
    RecipeError, DataError, BudgetError
        The settings or the data do not allow it; nothing has been trained then.
    StaleArtifact
        ``folder`` or ``out`` belongs to something else.
    """
    recipe = recipe.resolved()
    budget = Budget.parse(recipe.budget)
    with _run(recipe, folder) as run:
        read, facts = _load(run, recipe, watch)
        budget.least_rows(len(read))
        out = out or Path(f"subset{reading.usual_suffix(read)}")
        reading.check_output(read, out)
        outputs.check_output(run, recipe, facts, out, overwrite)
        examples, trajectories = read, None
        if recipe.proxy is not None:
            recorded = _record(run, recipe, read, facts, watch, budget)
            examples, trajectories = join(read, recorded)
        else:
            if recipe.trajectories is not None:
                examples, trajectories = join(read, Trajectories.from_parquet(recipe.trajectories))
            n_tokens = None if trajectories is None else trajectories.n_tokens
            check_budget(budget, len(examples), n_tokens)
            _begin(run, recipe, read, facts)
        chosen = _select(run, recipe, examples, trajectories, watch)
        outputs.write_once(
            run, out, len(chosen), lambda: reading.write_subset(examples, chosen, out)
        )
    return Run.open(folder)


def run_record(
    recipe: RecordRecipe, out: Path, folder: Path, watch: Watch, *, overwrite: bool = False
) -> Run:
    """Read and record, and write the trajectories to ``out``. Raises as ``run_select``."""
    recipe = recipe.resolved()
    outputs.require_parquet(out)
    with _run(recipe, folder) as run:
        examples, facts = _load(run, recipe, watch)
        recorded = run.path / "trajectories.parquet"
        in_place = out.resolve() == recorded.resolve()
        if not in_place:
            outputs.check_output(run, recipe, facts, out, overwrite)
        found = _record(run, recipe, examples, facts, watch, Budget.parse("100%"))
        make = _nothing if in_place else lambda: store.write_bytes(out, recorded.read_bytes())
        outputs.write_once(run, out, len(found), make)
    return Run.open(folder)


def plan(recipe: RecordRecipe, out: Path | None, watch: Watch) -> tuple[Examples, Prepared | None]:
    """Read and tokenise, and say what a run would do; nothing is trained or written."""
    recipe = recipe.resolved()
    examples = load(recipe, watch)
    if out is not None:
        outputs.refuse_input(_inputs(recipe, examples), recipe, out)
    prepared, n_tokens, rows = None, None, len(examples)
    if recipe.proxy is not None:
        prepared = prepare(examples, recipe.proxy, recipe.seed, watch)
        n_tokens, rows = prepared.n_tokens, len(prepared)
    if isinstance(recipe, SelectRecipe):
        if out is not None:
            reading.check_output(examples, out)
        if recipe.trajectories is not None:
            given = Trajectories.from_parquet(recipe.trajectories)
            examples, joined = join(examples, given)
            n_tokens, rows = joined.n_tokens, len(joined)
        check_budget(Budget.parse(recipe.budget), rows, n_tokens)
    return examples, prepared


def write_examples(
    recipe: RecordRecipe, out: Path | None, watch: Watch, *, overwrite: bool = False
) -> Examples:
    """Read and check data; with ``out``, write the table of examples as Parquet."""
    examples = load(recipe, watch)
    if out is not None:
        outputs.require_parquet(out)
        outputs.refuse_input(_inputs(recipe, examples), recipe, out)
        if out.exists() and not overwrite:
            raise StaleArtifact(f"{out} exists. Choose another --out, or pass --overwrite.")
        store.write_parquet(out, examples.table)
    return examples


@contextmanager
def _run(recipe: RecordRecipe, folder: Path) -> Iterator[store.RunFolder]:
    old = folder / "recipe.yaml"
    found = recipes.read_yaml(old) if old.is_file() else None
    with store.RunFolder.hold(folder, recipes.to_plain(recipe), found) as run:
        yield run


def _environment() -> dict[str, Any]:
    versions: dict[str, str | None] = {}
    for name in _VERSIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": cores(),
        "versions": versions,
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }


def load(recipe: RecordRecipe, watch: Watch) -> Examples:
    """Read and check the data of a recipe, and say what it was taken for."""
    source = recipe.data[0] if len(recipe.data) == 1 else list(recipe.data)
    examples = reading.load(
        source, settings=recipe.reading, progress=watch.progress, check=watch.check
    )
    log.info("%s", reading.describe(examples))
    return examples


def _load(
    run: store.RunFolder, recipe: RecordRecipe, watch: Watch
) -> tuple[Examples, dict[str, Any]]:
    """Read the data; give it, and what is to be said of it in the manifest."""
    began = time.monotonic()
    examples = load(recipe, watch)
    facts: dict[str, Any] = {
        "inputs": _inputs(recipe, examples),
        "format": examples.format,
        "columns": dict(examples.columns),
        "read": examples.n_read,
        "used": len(examples),
        "excluded": reasons(examples),
        "seconds": round(time.monotonic() - began, 3),
    }
    before = run.facts("load")
    if before is not None:
        _refuse_changed_inputs(run.path, before.get("inputs", []), facts["inputs"])
    return examples, facts


def _inputs(recipe: RecordRecipe, examples: Examples) -> list[dict[str, Any]]:
    """Say what is read, with sizes and digests: the data, and given trajectories."""
    inputs = [asdict(entry) for entry in examples.inputs]
    given = recipe.trajectories if isinstance(recipe, SelectRecipe) else None
    if given is not None and Path(given).is_file():
        size, sha256 = Path(given).stat().st_size, store.digest(Path(given))
        inputs.append({"path": given, "kind": "trajectories", "size": size, "sha256": sha256})
    return inputs


def _begin(
    run: store.RunFolder, recipe: RecordRecipe, examples: Examples, facts: Mapping[str, Any]
) -> None:
    """Lay down what the run is, now that its data and its budget are known to be good."""
    if run.is_done("load"):
        return
    store.write_bytes(run.path / "recipe.yaml", recipes.to_yaml(recipe).encode())
    store.write_json(run.path / "environment.json", _environment())
    lines = [json.dumps(row, ensure_ascii=False) for row in examples.excluded.to_pylist()]
    store.write_bytes(run.path / "excluded.jsonl", "".join(f"{line}\n" for line in lines).encode())
    run.commit("load", ["excluded.jsonl"], facts)


def _refuse_changed_inputs(
    folder: Path, before: list[dict[str, Any]], now: list[dict[str, Any]]
) -> None:
    then = {entry["path"]: entry for entry in before}
    today = {entry["path"]: entry for entry in now}
    changes = [
        f"  {path}: {_content(then.get(path))} then, {_content(today.get(path))} now"
        for path in [*then, *(path for path in today if path not in then)]
        if then.get(path) != today.get(path)
    ]
    if changes:
        raise StaleArtifact(
            f"the input changed since the run in {folder} began:\n" + "\n".join(changes) + "\n"
            "Put the old input back, or begin another run with --run."
        )


def _content(entry: dict[str, Any] | None) -> str:
    return "absent" if entry is None else f"{entry['size']:,} bytes (sha256 {entry['sha256'][:12]})"


def join(examples: Examples, trajectories: Trajectories) -> tuple[Examples, Trajectories]:
    """Bring examples and trajectories to the same rows, by id.

    Examples that were left out when the losses were recorded are excluded here with the reason
    given there; trajectories of no example are ignored, aloud.

    Raises
    ------
    DataError
        An example has no trajectory, and recording did not leave it out.
    """
    left_out = trajectories.origin.get("left_out", {})
    gone = np.isin(examples.ids, np.array([name.encode() for name in left_out], dtype="S"))
    examples = examples.without(
        {row: left_out[examples.ids[row].decode()] for row in np.flatnonzero(gone).tolist()}
    )
    if len(examples) == 0:
        raise DataError("no example has a trajectory")
    joined = trajectories.align(examples.ids)
    if len(trajectories) > len(joined):
        log.warning(
            "%s trajectories belong to no example and are ignored",
            f"{len(trajectories) - len(joined):,}",
        )
    return examples, joined


def prepare(
    examples: Examples, proxy: ProxySettings, seed: int, watch: Watch, folder: Path | None = None
) -> Prepared:
    """Tokenise and plan with a proxy; the first call into the room that imports torch."""
    try:
        from smalltolarge import lm
    except ModuleNotFoundError as error:
        raise RecipeError(
            f"training a proxy needs the package {error.name!r}: pip install 'smalltolarge[proxy]'"
        ) from error
    return lm.prepare(
        examples, proxy, seed, folder=folder, progress=watch.progress, check=watch.check
    )


def check_budget(budget: Budget, rows: int, n_tokens: np.ndarray | None) -> None:
    """Refuse, before any training, a budget that no order of the rows could meet."""
    budget.least_rows(rows)
    if budget.unit == "tokens":
        shortest_first = np.arange(rows) if n_tokens is None else np.argsort(n_tokens)
        budget.rows(shortest_first, n_tokens)


def record(
    examples: Examples, prepared: Prepared, folder: Path | None, watch: Watch
) -> tuple[Trajectories, dict[str, Any]]:
    """Record what was prepared; the trajectories remember which examples were left out, and why."""
    from smalltolarge import lm

    recording = lm.record(prepared, folder=folder, progress=watch.progress, check=watch.check)
    left_out: dict[str, str] = {
        examples.ids[row].decode(): reason for row, reason in prepared.left_out
    }
    trajectories = recording.trajectories
    facts = dict(recording.facts) | {
        "left_out": dict(sorted(Counter(left_out.values()).items())),
        "truncated": prepared.tokenized.n_truncated,
    }
    return replace(trajectories, origin={**trajectories.origin, "left_out": left_out}), facts


def _record(
    run: store.RunFolder,
    recipe: RecordRecipe,
    examples: Examples,
    read_facts: Mapping[str, Any],
    watch: Watch,
    budget: Budget,
) -> Trajectories:
    file = run.path / "trajectories.parquet"
    if run.is_done("record"):
        _begin(run, recipe, examples, read_facts)
    else:
        assert recipe.proxy is not None
        began = time.monotonic()
        kept = run.path / "proxy"
        prepared = prepare(examples, recipe.proxy, recipe.seed, watch, kept)
        check_budget(budget, len(prepared), prepared.n_tokens)
        _begin(run, recipe, examples, read_facts)
        preparing = time.monotonic() - began
        trajectories, facts = record(examples, prepared, kept, watch)
        trajectories.to_parquet(file)
        files = [file.name]
        if recipe.proxy.is_scratch:
            tokenizer = run.path / "tokenizer.json"
            store.write_bytes(tokenizer, prepared.tokenizer.text.encode())
            files.append(tokenizer.name)
        seconds = {
            "seconds": round(time.monotonic() - began, 3),
            "seconds_preparing": round(preparing, 3),
        }
        run.commit("record", files, facts | seconds)
    store.remove_folder(run.path / "proxy")
    return Trajectories.from_parquet(file)


def _select(
    run: store.RunFolder,
    recipe: SelectRecipe,
    examples: Examples,
    trajectories: Trajectories | None,
    watch: Watch,
) -> np.ndarray:
    """Choose rows of ``examples``, or read back the choice made earlier. int64 (b,)."""
    if run.is_done("select"):
        table = Run(run.path).selection()
        chosen = set(table.filter(table["selected"])["id"].to_pylist())
        rows = [row for row, name in enumerate(examples.ids.tolist()) if name.decode() in chosen]
        if len(rows) != len(chosen):
            raise IntegrityError(f"{run.path}/selection.parquet chooses rows that the data lacks")
        return np.array(rows, dtype=np.int64)
    began = time.monotonic()
    pool = Pool.of(examples, trajectories)
    with watch.progress.step("clustering", len(examples)) as step:
        try:
            selection = recipe.selector().select(pool, recipe.budget, recipe.seed)
        except BudgetError as error:
            raise BudgetError(f"{error}.{store.kept_losses(run.path)}") from error
        step.advance(len(examples))
    watch.check()
    store.write_parquet(run.path / "selection.parquet", selection_table(examples, selection))
    files = ["selection.parquet"]
    if selection.labels is not None and trajectories is not None:
        table = cluster_table(selection, trajectories, examples.sources())
        store.write_parquet(run.path / "clusters.parquet", table)
        files.append("clusters.parquet")
    facts = selection_facts(examples, selection, trajectories)
    run.commit("select", files, facts | {"seconds": round(time.monotonic() - began, 3)})
    return selection.indices
