"""What ``s2l inspect`` says is what the losses, clusters and gradients of a run are."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from rich.console import Console

import smalltolarge
from smalltolarge.errors import DataError, IntegrityError, MissingArtifact, StaleArtifact
from smalltolarge.lm import models, prepare
from smalltolarge.lm.gradients import Gradients, Sketch
from smalltolarge.lm.recording import find_losses
from smalltolarge.progress import Progress, Watch
from smalltolarge.report.inspection import show_inspection
from smalltolarge.runs import recipe as recipes
from smalltolarge.runs.recipe import RecordRecipe, SelectRecipe
from smalltolarge.runs.results import Run
from smalltolarge.selection import S2L, Pool
from smalltolarge.selection.diagnostics import Inspection, adjusted_rand, cosines
from smalltolarge.settings import ProxySettings
from smalltolarge.verbs.inspect import inspect
from smalltolarge.verbs.record import run_record
from smalltolarge.verbs.select import run_select
from smalltolarge.verbs.verify import verify

from .conftest import Cli
from .lm_samples import SMALL, examples_of, model_folder, sums

CPU = torch.device("cpu")
CAPPED = SMALL | {"num_key_value_heads": 2, "head_dim": 8, "final_logit_softcapping": 3.0}
QUICK: dict[str, Any] = {"epochs": 1, "checkpoints": 2, "threads": 1}
"""Settings of a recording of a second."""


def recipe(kind: type[Any], **settings: Any) -> Any:
    """Give a recipe for ``data.jsonl``."""
    return recipes.read(recipes.place({"data": ["data.jsonl"], **settings}, kind), kind)


@pytest.fixture(params=["packed", "own logits"])
def gradients(request: pytest.FixtureRequest, tmp_path: Path) -> Gradients:
    """Gradients of a tiny model whose losses are taken in this way."""
    proxy = "scratch-0.1m"
    if request.param == "own logits":
        proxy = str(model_folder(tmp_path / "model", transformers.Gemma2Config(**CAPPED)))
    settings = ProxySettings(proxy=proxy, threads=1, device="cpu", unit_tokens=256)
    prepared = prepare(examples_of(sums(12)), settings, 0)
    losses = find_losses(prepared, models.load(prepared.model, 0), CPU, False)
    assert losses.way == request.param
    return Gradients(prepared, losses, CPU)


@pytest.fixture
def here(finished: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a finished run is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_gradients_of_examples_add_up_to_that_of_all(gradients: Gradients) -> None:
    rows = np.array([1, 2, 3, 5, 8, 9, 10])
    with Progress().step("gradients") as step:
        each = gradients.each(rows, step)
        assert each.shape == (7, gradients.parameters)
        scale = np.abs(each).max()
        assert np.allclose(gradients.mean(rows, step), each.mean(axis=0), atol=1e-4 * scale)
        shares = np.arange(1.0, 8) / 28
        assert np.allclose(gradients.mean(rows, step, shares), shares @ each, atol=1e-4 * scale)


def test_a_gradient_is_that_of_the_mean_loss_of_the_completion(gradients: Gradients) -> None:
    with Progress().step("gradients") as step:
        (own,) = gradients.each(np.array([4]), step)
    prepared, model = gradients.prepared, gradients.losses.model
    rows = slice(prepared.offsets[4], prepared.offsets[5])
    tokens = torch.from_numpy(prepared.tokens[rows].astype(np.int64))
    wanted = torch.from_numpy(prepared.completion[rows].copy())[1:]
    fresh = models.load(prepared.model, 0)
    fresh.load_state_dict(model.state_dict())
    fresh.eval()
    logits = fresh(input_ids=tokens[None, :-1], use_cache=False).logits[0].float()
    torch.nn.functional.cross_entropy(logits[wanted], tokens[1:][wanted]).backward()
    theirs = torch.cat([weight.grad.flatten() for weight in fresh.parameters()]).numpy()
    assert np.allclose(own, theirs, atol=1e-4 * np.abs(theirs).max())


def test_a_sketch_keeps_cosines_and_is_the_same_again() -> None:
    generator = torch.Generator().manual_seed(0)
    common = torch.randn(100_000, generator=generator)
    vectors = torch.stack(
        [torch.randn(100_000, generator=generator) + w * common for w in (0, 0.3, 1, 3)]
    )
    vectors[:, :500] *= 20  # some weights have far larger gradients than others
    sketched = [torch.stack([Sketch(100_000, 8191, CPU)(v) for v in vectors]) for _ in range(2)]
    assert torch.equal(*sketched)
    assert np.allclose(cosines(sketched[0].numpy()), cosines(vectors.numpy()), atol=0.05)


def test_gradients_of_a_large_model_are_sketched(gradients: Gradients) -> None:
    rows = np.arange(6)
    with Progress().step("gradients") as step:
        each = gradients.each(rows, step)
        sketched = gradients.each(rows, step, whole=1000, sketched=8191)
    assert sketched.shape == (6, 8191)
    assert np.allclose(cosines(sketched), cosines(each), atol=0.06)


def test_inspect_prints_all_parts_and_leaves_the_run_as_it_is(
    finished: str, tmp_path: Path, s2l: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "runs/subset/manifest.json"
    before = json.loads(file.read_bytes())["stages"]
    shown = s2l("inspect", "runs/subset", "--threads", "1", "--sample", "60").stdout
    headings = [line for line in shown.splitlines() if line[:1].isdigit() and line.endswith("?")]
    assert [line[:2] for line in headings] == ["1.", "2.", "3.", "4.", "5.", "6.", "7."]
    assert shown.count("Read: ") == 7
    assert all(len(line) <= 80 for line in shown.splitlines())
    plain = json.loads((tmp_path / "runs/subset/inspection.json").read_bytes())
    assert plain["gradients"]["rows"] == 24
    assert plain["gradients"]["sample"] == 60
    after = json.loads(file.read_bytes())["stages"]
    assert after.pop("inspection")["outputs"].keys() == {"inspection.json"}
    assert after == before
    monkeypatch.chdir(tmp_path)
    verify("runs/subset")
    with (tmp_path / "runs/subset/inspection.json").open("a") as inspection:
        inspection.write(" ")
    with pytest.raises(IntegrityError, match=r"inspection\.json is missing or not"):
        verify("runs/subset")


def test_the_clusters_looked_at_are_those_of_the_run(here: Path) -> None:
    found = inspect("runs/subset", gradients=False, seeds=2)
    run = Run.open("runs/subset")
    table = run.selection()
    sizes = np.bincount(table["cluster"].to_numpy())
    assert (found.clusters.smallest, found.clusters.largest) == (sizes.min(), sizes.max())
    assert found.clusters.clusters == 5
    assert found.settings["clusters"] == 5
    assert set(found.clusters.over_clusters) == {"2", "10"}
    ids = np.array(table["id"].to_pylist(), dtype="S")
    pool = Pool(ids=ids, trajectories=run.trajectories().align(ids))
    other = S2L(clusters=5).select(pool, 24, seed=1).labels
    assert other is not None
    assert found.clusters.over_seeds == adjusted_rand(table["cluster"].to_numpy(), other)
    origins = found.origins
    assert 1 < origins.even <= origins.even_by_source + 1e-9 <= origins.sources + 2e-9
    sources = [str(source) for source in smalltolarge.load("data.jsonl").sources()]
    chosen = Counter(np.array(sources)[table["selected"].to_numpy(zero_copy_only=False)].tolist())
    above = {name: chosen[name] - 24 * count / 120 for name, count in Counter(sources).items()}
    shifts = [shift.chosen - shift.by_share for shift in origins.shifts]
    assert shifts == pytest.approx([above[str(shift.source)] for shift in origins.shifts])
    assert shifts == sorted(shifts, reverse=True)
    assert (shifts[0], shifts[-1]) == pytest.approx((max(above.values()), min(above.values())))
    assert found.gradients is None
    kept = json.loads((run.path / "inspection.json").read_bytes())
    assert kept["clusters"]["seeds"] == [0, 1]
    assert Inspection.from_plain(kept).origins == found.origins
    for wrong in (None, {**kept["origins"], "shifts": [5]}):
        with pytest.raises(TypeError):
            Inspection.from_plain({**kept, "origins": wrong})


def test_without_gradients_neither_data_nor_proxy_is_needed(here: Path) -> None:
    (here / "data.jsonl").unlink()
    (here / "runs/subset/proxy.safetensors").unlink()
    inspect("runs/subset", gradients=False)
    with pytest.raises(IntegrityError, match="proxy.safetensors is missing"):
        inspect("runs/subset")


def test_data_that_are_gone_or_changed_are_named(here: Path) -> None:
    lines = (here / "data.jsonl").read_text().splitlines(keepends=True)
    (here / "data.jsonl").write_text("".join(lines[1:]))
    with pytest.raises(StaleArtifact, match="some of its examples are gone"):
        inspect("runs/subset")
    (here / "data.jsonl").unlink()
    with pytest.raises(MissingArtifact, match="data.jsonl.*is not here"):
        inspect("runs/subset")


def test_a_folder_without_a_recording_is_answered_clearly(here: Path, s2l: Cli) -> None:
    chosen = recipe(SelectRecipe, method="random", budget="5")
    run_select(chosen, Path("r.jsonl"), Path("runs/r"), Watch())
    done = s2l("inspect", "runs/r", expect=4)
    assert "runs/r recorded no losses: there is nothing to inspect" in done.stderr
    with pytest.raises(MissingArtifact, match="not a run folder"):
        inspect(".")


def test_two_recordings_with_different_proxies_compare(here: Path) -> None:
    recorded = recipe(RecordRecipe, proxy="scratch-0.5m", **QUICK)
    run_record(recorded, Path("small.parquet"), Path("runs/small"), Watch())
    found = inspect("runs/small", target="runs/subset", gradients=False, seeds=1)
    shown = io.StringIO()
    show_inspection(found, Console(file=shown, width=80))
    assert "The run selected nothing: S2L at 11% is looked at in its place." in shown.getvalue()
    assert "runs/subset, 120 examples in both" in shown.getvalue()
    assert found.clusters.over_seeds is None
    found = inspect("runs/subset", target="small.parquet", gradients=False)
    assert found.agreement is not None
    assert found.agreement.last is not None
    assert 0.3 < found.agreement.last < 1
    itself = inspect("runs/subset", target="runs/subset", gradients=False).agreement
    assert itself is not None
    assert itself.last == pytest.approx(1)
    assert itself.clusters == 1


def test_losses_of_other_examples_are_no_target(here: Path) -> None:
    other = smalltolarge.Trajectories(
        losses=np.ones((2, 2), dtype=np.float32), steps=np.array([0, 1]), ids=np.array(["a", "b"])
    )
    other.to_parquet("other.parquet")
    with pytest.raises(DataError, match="losses of 0 of the examples"):
        inspect("runs/subset", target="other.parquet", gradients=False)


def test_the_subset_of_everything_has_no_gradient_error(here: Path) -> None:
    chosen = recipe(SelectRecipe, budget="100%", clusters=5, proxy="scratch-0.1m", **QUICK)
    run_select(chosen, Path("all.jsonl"), Path("runs/all"), Watch())
    found = inspect("runs/all", sample=10, seeds=1).gradients
    assert found is not None
    assert found.error == pytest.approx(0, abs=1e-5)
    assert found.weighted_error == pytest.approx(0, abs=1e-5)
    assert max(found.random_errors) == pytest.approx(0, abs=1e-5)
