"""Recordings: the same bytes from any order of rows and after any interruption."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from smalltolarge import settings
from smalltolarge.errors import (
    DataError,
    IntegrityError,
    Interrupted,
    MissingArtifact,
    RecipeError,
    RefusedForSafety,
)
from smalltolarge.examples import Message
from smalltolarge.lm import Prepared, Recording, prepare, record
from smalltolarge.lm.models import load as load_model
from smalltolarge.lm.recording import perturb
from smalltolarge.selection import S2L, HighLearnability, Pool, Variability
from smalltolarge.settings import ProxySettings
from smalltolarge.trajectories import Trajectories

from .lm_samples import SMALL, examples_of, model_folder, sums, tokenizer_folder
from .processes import forks

ROWS = 60


def prepared_with(n: int = ROWS, *, reverse: bool = False, **settings: Any) -> Prepared:
    defaults = {"epochs": 2, "batch_size": 8, "checkpoints": 4, "unit_tokens": 600, "threads": 1}
    rows = sums(n)[::-1] if reverse else sums(n)
    return prepare(examples_of(rows), ProxySettings(**(defaults | settings)), 3)


def file_of(trajectories: Trajectories, folder: Path) -> bytes:
    trajectories.to_parquet(folder / "t.parquet")
    return (folder / "t.parquet").read_bytes()


def stopping_after(calls: int) -> Callable[[], None]:
    left = calls

    def check() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Interrupted("stopped")

    return check


@pytest.fixture(scope="module")
def whole() -> Trajectories:
    return record(prepared_with()).trajectories


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    small: dict[str, Any] = {
        "vocab_size": 384,
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 4,
        "n_positions": 256,
    }
    return {
        "tied, with dropout": model_folder(root / "gpt2", transformers.GPT2Config(**small)),
        "gpt_neox": model_folder(root / "neox", transformers.GPTNeoXConfig(**SMALL)),
    }


def test_losses_are_recorded_from_the_untouched_model_to_the_last_step(whole: Trajectories) -> None:
    assert whole.steps.tolist() == [0, 5, 11, 16]
    assert whole.losses.shape == (ROWS, 4)
    assert abs(whole.losses[:, 0].mean() - np.log(384)) < 0.5
    assert (whole.losses[:, -1] < whole.losses[:, 0]).all()


def test_an_early_schedule_has_half_of_its_checkpoints_in_the_first_quarter() -> None:
    early = prepared_with(schedule="early", checkpoints=5, batch_size=1).plan
    even = prepared_with(checkpoints=5, batch_size=1).plan
    assert even.checkpoints == (0, 30, 60, 90, 120)
    assert early.checkpoints == (0, 8, 30, 68, 120)
    assert early.scoring_flops == even.scoring_flops


def test_one_prepared_set_is_recorded_again_to_the_same_bytes(tmp_path: Path) -> None:
    prepared = prepared_with()
    first, second = record(prepared).trajectories, record(prepared).trajectories
    assert file_of(first, tmp_path) == file_of(second, tmp_path)


FREE: dict[str, Any] = {"losses": "free", "epochs": 3}


@pytest.fixture(scope="module")
def free() -> Trajectories:
    return record(prepared_with(**FREE)).trajectories


def test_free_losses_are_those_of_the_training_passes(free: Trajectories) -> None:
    assert free.steps.tolist() == [8, 16, 24]
    prepared = prepared_with(**FREE)
    assert prepared.plan.scoring_flops == prepared.plan.scoring_tokens == 0
    untouched = record(prepared_with()).trajectories.losses[:, 0]
    first_batch = prepared.order.epoch(0)[:8]
    np.testing.assert_allclose(free.losses[first_batch, 0], untouched[first_batch], rtol=1e-5)
    assert (free.losses[:, 2] < free.losses[:, 0]).all()


@pytest.mark.parametrize("calls", [0, 5, 11, 19, 23])
def test_free_losses_are_the_same_bytes_after_a_stop(
    calls: int, free: Trajectories, tmp_path: Path
) -> None:
    folder, prepared = tmp_path / "state", prepared_with(**FREE)
    with pytest.raises(Interrupted):
        record(prepared, folder=folder, check=stopping_after(calls))
    done = record(prepared, folder=folder)
    assert file_of(done.trajectories, tmp_path) == file_of(free, tmp_path)
    assert done.facts["seconds_scoring"] == 0


def test_free_losses_of_a_lost_checkpoint_are_made_again(
    free: Trajectories, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record(prepared_with(**FREE), folder=tmp_path / "state")
    (tmp_path / "state" / "losses-1.safetensors").unlink()
    done = record(prepared_with(**FREE), folder=tmp_path / "state").trajectories
    assert file_of(done, tmp_path) == file_of(free, tmp_path)
    assert "the training begins again" in caplog.text


def test_a_training_that_begins_again_has_the_loss_of_one_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prepared = prepared_with(checkpoints=2)
    with pytest.raises(Interrupted):
        record(prepared, folder=tmp_path / "state", check=stopping_after(14))
    (tmp_path / "state" / "losses-0.safetensors").unlink()
    done = record(prepared, folder=tmp_path / "state")
    assert "the training begins again" in caplog.text
    assert done.facts["train_loss"] == record(prepared).facts["train_loss"]


def test_free_losses_want_whole_epochs() -> None:
    with pytest.raises(RecipeError, match="epochs is 2.5: free losses are those of whole epochs"):
        ProxySettings(losses="free", epochs=2.5)


@pytest.fixture(scope="module")
def perturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Prepared, Recording]:
    config = transformers.GPTNeoXConfig(**SMALL, tie_word_embeddings=True)
    folder = model_folder(tmp_path_factory.mktemp("pretrained") / "model", config)
    prepared = prepared_with(20, proxy=str(folder), losses="perturbed", checkpoints=3)
    return prepared, record(prepared)


def test_perturbed_losses_are_of_the_proxy_and_of_copies_with_noise_of_the_size_that_was_asked_for(
    perturbed: tuple[Prepared, Recording],
) -> None:
    prepared, found = perturbed
    assert found.trajectories.steps.tolist() == [0, 1, 2] and not found.trajectories.is_of_training
    plan = prepared.plan
    assert plan.steps == plan.training_tokens == plan.training_flops == 0
    assert plan.scoring_tokens == 3 * plan.tokens and found.facts["flops"] == plan.scoring_flops
    assert isinstance(prepared.settings, ProxySettings)
    scored = replace(prepared.settings, losses="scored")
    untouched = record(prepare(examples_of(sums(20)), scored, 3))
    losses = found.trajectories.losses
    assert np.array_equal(losses[:, 0], untouched.trajectories.losses[:, 0])
    assert (np.ptp(losses, axis=1) > 0).all()
    own = load_model(prepared.model, 3).state_dict()
    for name, weight in found.weights.items():  # what embeddings and gradients are of
        assert torch.equal(weight, own[name])
    little = replace(prepared, settings=replace(prepared.settings, perturbation=1e-6))
    assert np.abs(record(little).trajectories.losses - losses[:, :1]).max() < 1e-3
    model = load_model(prepared.model, 3)
    perturb(model, {name: w.detach().clone() for name, w in model.named_parameters()}, 3, 1, 0.25)
    for name, weight in model.named_parameters():
        noise, size = weight.detach() - own[name], own[name].square().mean().sqrt()
        assert float(noise.std(unbiased=False)) == pytest.approx(0.25 * float(size), rel=0.4)


@pytest.mark.parametrize("calls", [1, 3, 5])
def test_perturbed_losses_are_the_same_bytes_after_a_stop_and_in_any_order_of_the_rows(
    calls: int, perturbed: tuple[Prepared, Recording], tmp_path: Path
) -> None:
    prepared, found = perturbed
    folder = tmp_path / "state"
    with pytest.raises(Interrupted):
        record(prepared, folder=folder, check=stopping_after(calls))
    assert not (folder / "state.safetensors").exists()
    done = record(prepared, folder=folder)
    assert file_of(done.trajectories, tmp_path) == file_of(found.trajectories, tmp_path)
    if calls == 1:
        mirrored = prepare(examples_of(sums(20)[::-1]), prepared.settings, 3)
        again = record(mirrored).trajectories.align(found.trajectories.ids)
        assert np.array_equal(again.losses, found.trajectories.losses)


def test_perturbed_losses_want_a_pretrained_proxy_and_methods_that_look_at_no_training(
    perturbed: tuple[Prepared, Recording],
) -> None:
    with pytest.raises(RecipeError, match="proxy scratch is built from scratch and knows nothing"):
        ProxySettings(losses="perturbed")
    trajectories = perturbed[1].trajectories
    pool = Pool(ids=trajectories.ids, trajectories=trajectories)
    assert len(S2L(clusters=4).select(pool, 5)) == 5
    for selector in (S2L(prune_slope=0), HighLearnability(), Variability()):
        with pytest.raises(DataError, match="these are of perturbed copies of one model"):
            selector.select(pool, 5)


def test_a_unit_is_larger_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    from smalltolarge.lm import device

    assert device.unit_tokens(ProxySettings(device="cpu")) == 4096
    monkeypatch.setattr(device, "find_device", lambda name: torch.device("cuda"))
    assert device.unit_tokens(ProxySettings()) == 16384
    assert device.unit_tokens(ProxySettings(unit_tokens=100)) == 100


def test_few_steps_have_few_checkpoints(caplog: pytest.LogCaptureFixture) -> None:
    trajectories = record(prepared_with(9, epochs=1)).trajectories
    assert trajectories.steps.tolist() == [0, 1, 2]
    assert "2 optimiser steps have room for 3 checkpoints, not 4" in caplog.text


def test_the_same_bytes_twice(whole: Trajectories, tmp_path: Path) -> None:
    state = torch.random.get_rng_state()
    threads = torch.get_num_threads()
    again = record(prepared_with()).trajectories
    assert file_of(again, tmp_path) == file_of(whole, tmp_path)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_shuffled_rows_have_the_same_losses(whole: Trajectories) -> None:
    shuffled = record(prepared_with(reverse=True)).trajectories
    assert shuffled.ids.tolist() == whole.ids[::-1].tolist()
    assert shuffled.losses.tobytes() == whole.losses[::-1].tobytes()
    assert shuffled.align(whole.ids).origin == whole.origin


def test_another_seed_gives_other_weights_and_another_order(whole: Trajectories) -> None:
    prepared = prepare(examples_of(sums(ROWS)), prepared_with().settings, 4)
    assert prepared.order.epoch(0).tolist() != prepared_with().order.epoch(0).tolist()
    assert (record(prepared).trajectories.losses != whole.losses).all()


@pytest.mark.parametrize("calls", [0, 5, 11, 19, 27])
def test_stopped_and_continued_gives_the_same_bytes(
    calls: int, whole: Trajectories, tmp_path: Path
) -> None:
    folder = tmp_path / "state"
    stops = 0
    for _ in range(20):
        try:
            done = record(prepared_with(), folder=folder, check=stopping_after(calls + stops))
            break
        except Interrupted:
            stops += 1
    else:
        pytest.fail("no progress")
    assert stops
    assert file_of(done.trajectories, tmp_path) == file_of(whole, tmp_path)
    files = sorted(path.name for path in folder.iterdir())
    losses = [f"losses-{k}.safetensors" for k in range(4)]
    assert files == [*losses, "state.safetensors", "tokens.safetensors"]


@pytest.mark.parametrize("family", ["tied, with dropout", "gpt_neox"])
def test_pretrained_models_go_on_with_their_own_weights(
    family: str, models: dict[str, Path], tmp_path: Path
) -> None:
    settings: dict[str, Any] = {
        "proxy": str(models[family]),
        "learning_rate": 1e-2,
        "batch_size": 8,
    }
    once = record(prepared_with(**settings)).trajectories
    assert (once.losses[:, -1] < once.losses[:, 0]).all()
    with pytest.raises(Interrupted):
        record(prepared_with(**settings), folder=tmp_path / "p", check=stopping_after(14))
    assert (tmp_path / "p" / "state.safetensors").exists()
    again = record(prepared_with(**settings), folder=tmp_path / "p").trajectories
    assert file_of(again, tmp_path) == file_of(once, tmp_path)


def record_into(folder: Path) -> None:
    record(prepared_with(), folder=folder)


def test_killed_and_continued_gives_the_same_bytes(whole: Trajectories, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    for name in ("losses-0.safetensors", "state.safetensors"):
        child = forks.Process(target=record_into, args=(folder,))
        child.start()
        while not (folder / name).exists() and child.is_alive():
            time.sleep(0.001)
        child.kill()
        child.join()
    done = record(prepared_with(), folder=folder).trajectories
    assert file_of(done, tmp_path) == file_of(whole, tmp_path)


@pytest.mark.parametrize("name", ["state", "losses-1", "losses-3"])
@pytest.mark.parametrize("how", ["flipped", "cut", "empty"])
def test_a_damaged_state_is_set_aside_and_its_work_done_again(
    name: str, how: str, whole: Trajectories, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "state"
    record(prepared_with(), folder=folder)
    (folder / "losses-2.safetensors").unlink()
    damaged = folder / f"{name}.safetensors"
    content = bytearray(damaged.read_bytes())
    content[-5] ^= 1
    damaged.write_bytes({"flipped": bytes(content), "cut": bytes(content[:-7]), "empty": b""}[how])
    done = record(prepared_with(), folder=folder).trajectories
    assert file_of(done, tmp_path) == file_of(whole, tmp_path)
    assert "set aside" in caplog.text
    assert damaged.with_name(damaged.name + ".damaged").exists()


def test_losses_of_two_checkpoints_that_are_exchanged_are_set_aside(
    whole: Trajectories, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "state"
    record(prepared_with(), folder=folder)
    one, other = (folder / f"losses-{k}.safetensors" for k in (1, 2))
    one.rename(folder / "between")
    other.rename(one)
    (folder / "between").rename(other)
    done = record(prepared_with(), folder=folder).trajectories
    assert file_of(done, tmp_path) == file_of(whole, tmp_path)
    assert "losses-1.safetensors cannot be used (it was written as losses-2" in caplog.text
    assert {path.name for path in folder.glob("*.damaged")} == {
        "losses-1.safetensors.damaged", "losses-2.safetensors.damaged",
    }  # fmt: skip


@pytest.mark.parametrize("package", ["smalltolarge", "numpy", "faiss-cpu", "pyarrow"])
def test_a_state_of_another_version_is_ignored_naming_both(
    package: str,
    whole: Trajectories,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = settings.versions()[package]
    with monkeypatch.context() as then:
        version = settings._version
        then.setattr(settings, "_version", lambda n: "0.1" if n == package else version(n))
        record(prepared_with(), folder=tmp_path / "state")
    done = record(prepared_with(), folder=tmp_path / "state").trajectories
    assert file_of(done, tmp_path) == file_of(whole, tmp_path)
    assert f"is ignored: {package} was 0.1, is {now}" in caplog.text


def test_a_state_of_other_settings_is_ignored_aloud(
    whole: Trajectories, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record(prepared_with(learning_rate=1e-4), folder=tmp_path / "state")
    done = record(prepared_with(), folder=tmp_path / "state").trajectories
    assert file_of(done, tmp_path) == file_of(whole, tmp_path)
    assert "is of another recording and is ignored: learning_rate was 0.0001" in caplog.text


def test_tokens_are_made_once(
    whole: Trajectories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from smalltolarge.lm import tokens

    folder, examples = tmp_path / "state", examples_of(sums(ROWS))
    settings = prepared_with().settings
    record(prepare(examples, settings, 3, folder=folder), folder=folder)
    (folder / "losses-3.safetensors").unlink()
    monkeypatch.setattr(tokens, "_tokenized", None)
    monkeypatch.setattr(tokens, "tokenizer_of", None)
    again = prepare(examples, settings, 3, folder=folder)
    done = record(again, folder=folder).trajectories
    assert file_of(done, tmp_path) == file_of(whole, tmp_path)
    with pytest.raises(TypeError):  # other settings, other tokens
        prepare(examples, replace(settings, max_length=100), 3, folder=folder)


def test_large_tokens_are_read_from_the_disk(
    whole: Trajectories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smalltolarge.lm.tokens._LARGE", 1)
    done = record(prepared_with(), folder=tmp_path / "state").trajectories
    assert file_of(done, tmp_path) == file_of(whole, tmp_path)


def test_damaged_tokens_are_set_aside_and_made_again(
    whole: Trajectories, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, examples = tmp_path / "state", examples_of(sums(ROWS))
    settings = prepared_with().settings
    record(prepare(examples, settings, 3, folder=folder), folder=folder)
    file = folder / "tokens.safetensors"
    content = bytearray(file.read_bytes())
    content[-300] ^= 1
    file.write_bytes(bytes(content))
    again = prepare(examples, settings, 3, folder=folder)
    assert "tokens.safetensors cannot be used" in caplog.text
    assert record(again, folder=folder).trajectories.losses.tobytes() == whole.losses.tobytes()
    assert file.exists()


def test_nothing_pickled_is_written(tmp_path: Path) -> None:
    record(prepared_with(), folder=tmp_path / "state")
    for path in (tmp_path / "state").iterdir():
        content = path.read_bytes()
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        assert json.loads(header["__metadata__"]["fingerprint"])["schema"] == 3


def test_a_checkpoint_with_losses_that_are_no_numbers_is_refused(
    models: dict[str, Path], tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "poked"
    folder.mkdir()
    for path in models["gpt_neox"].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    weights = load_file(folder / "model.safetensors")
    weights["embed_out.weight" if "embed_out.weight" in weights else "lm_head.weight"][7] = np.inf
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    named = r"checkpoint 1 of 4 \(step 0\): 60 of 60 .*first ids .*2e-05"
    with pytest.raises(DataError, match=named):
        record(prepared_with(proxy=str(folder)), folder=tmp_path / "state")
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["tokens.safetensors"]


def test_facts_say_what_it_took() -> None:
    facts = record(prepared_with()).facts
    for name in (
        "seconds_training",
        "seconds_scoring",
        "training_tokens_per_second",
        "scoring_tokens_per_second",
        "train_loss",
        "peak_memory_bytes",
    ):
        assert facts[name] > 0
    assert facts["steps"] == 16


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone keeps so much")
def test_freed_memory_is_given_back_when_it_has_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    import ctypes

    from smalltolarge.lm.fast import memory

    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("no glibc")
    calls: list[int] = []
    freed = memory.Freed()
    monkeypatch.setattr(freed, "_trim", calls.append)
    freed.give_back()
    monkeypatch.setattr(memory, "_SECONDS", 0.0)
    freed.give_back()
    assert not calls
    monkeypatch.setattr(freed, "_least", -memory._GROWN)
    freed.give_back()
    freed.give_back()
    assert calls == [0]


def test_settings_take_effect(whole: Trajectories) -> None:
    for change in (
        {"warmup": 0.5},
        {"weight_decay": 0.5},
        {"max_grad_norm": 0.01},
        {"batch_size": 4},
        {"preamble": "Do this."},
        {"learning_rate": 1e-3},
        {"max_length": 40},
        {"epochs": 1.5},
    ):
        other = record(prepared_with(**change)).trajectories
        assert not np.array_equal(other.losses[:, -1], whole.losses[:, -1]), change
    with pytest.raises(RecipeError, match="--device auto"):
        record(prepared_with(device="cuda:99"))


def copy_of(folder: Path, target: Path) -> Path:
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def test_pickled_weights_alone_are_refused(models: dict[str, Path], tmp_path: Path) -> None:
    folder = copy_of(models["gpt_neox"], tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(RefusedForSafety, match="save_pretrained") as caught:
        prepared_with(proxy=str(folder))
    assert caught.value.exit_code == 7
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(MissingArtifact, match="no weights"):
        prepared_with(proxy=str(folder))


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_folders_that_name_code_are_refused(
    file: str, depth: int, models: dict[str, Path], tmp_path: Path
) -> None:
    folder = copy_of(models["gpt_neox"], tmp_path / "m")
    extra: Any = {"auto_map": {"AutoModelForCausalLM": "evil.Model"}}
    for _ in range(depth):
        extra = {"text_config": [extra]}
    content = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(content | extra))
    with pytest.raises(RefusedForSafety, match="auto_map"):
        prepared_with(proxy=str(folder))


def with_config(folder: Path, target: Path, extra: Any, file: str = "config.json") -> Path:
    copy = copy_of(folder, target)
    content = json.loads((copy / file).read_text())
    (copy / file).write_text(json.dumps(content | extra))
    return copy


def nested(extra: Any, depth: int) -> Any:
    return extra if not depth else nested({"text_config": [extra]}, depth - 1)


@pytest.mark.parametrize("start", ["", "_"])
@pytest.mark.parametrize("part", ["attn", "experts"])
@pytest.mark.parametrize("depth", [0, 2])
@pytest.mark.parametrize(
    "kernel", ["kernels-community/flash-attn", "flash_attention_2", {"": "sdpa", "a": "o/k:f"}, [1]]
)
def test_folders_that_choose_kernels_are_refused(
    start: str, part: str, depth: int, kernel: Any, models: dict[str, Path], tmp_path: Path
) -> None:
    key = f"{start}{part}_implementation"
    folder = with_config(models["gpt_neox"], tmp_path / "m", nested({key: kernel}, depth))
    with pytest.raises(RefusedForSafety, match=rf"{key}.*Only eager, sdpa and null"):
        prepared_with(proxy=str(folder))


def test_a_quantised_folder_is_refused(models: dict[str, Path], tmp_path: Path) -> None:
    extra = {"quantization_config": {"quant_method": "mxfp4"}}
    folder = with_config(models["gpt_neox"], tmp_path / "m", extra)
    with pytest.raises(RefusedForSafety, match="bfloat16"):
        prepared_with(proxy=str(folder))


@pytest.mark.parametrize("family", ["tied, with dropout", "gpt_neox"])
def test_no_folder_decides_how_attention_is_computed(
    family: str, models: dict[str, Path], tmp_path: Path
) -> None:
    from smalltolarge.lm.models import load

    for place, value in enumerate(["eager", "sdpa", None]):
        extra = {"attn_implementation": value, "_attn_implementation": value}
        folder = with_config(models[family], tmp_path / str(place), extra)
        model = load(prepared_with(proxy=str(folder)).model, 0)
        assert model.config._attn_implementation == "sdpa"


def test_a_model_without_sdpa_is_loaded_all_the_same(tmp_path: Path) -> None:
    config = transformers.XLNetConfig(vocab_size=384, d_model=32, n_layer=1, n_head=4, d_inner=64)
    folder = model_folder(tmp_path / "m", config)
    from smalltolarge.lm.models import load

    model = load(prepared_with(proxy=str(folder)).model, 0)
    assert model.config._attn_implementation == "eager"


@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
@pytest.mark.parametrize("depth", [0, 2])
@pytest.mark.parametrize(
    "value", ["owner/name", "microsoft/resnet-50@main", "o/k:function", ["a", "timm/vit.b_16"]]
)
def test_folders_that_name_other_repositories_are_refused(
    file: str, depth: int, value: Any, models: dict[str, Path], tmp_path: Path
) -> None:
    extra = nested({"backbone": value}, depth)
    folder = with_config(models["gpt_neox"], tmp_path / "m", extra, file)
    with pytest.raises(RefusedForSafety, match=rf"{file} has 'backbone': .*another repository"):
        prepared_with(proxy=str(folder))


def test_what_only_looks_like_a_repository_is_no_reason_to_refuse(
    models: dict[str, Path], tmp_path: Path
) -> None:
    harmless = {
        "_name_or_path": "EleutherAI/pythia-14m",
        "parts": {"base_model_name_or_path": "meta-llama/Llama-3.2-1B"},
        "id2label": {"0": "and/or"},
        "mixed": "bf16/fp32",
        "float": "Float16/bfloat16",
        "since": "2026/11",
        "day": "22/11/2026",
        "rate": "n/a",
        "folder": "/srv/models/a",
        "here": "./a",
        "see": "https://example.org/a",
        "task": "translate English/German: ",
    }
    folder = with_config(models["gpt_neox"], tmp_path / "m", harmless)
    assert prepared_with(proxy=str(folder)).model.vocabulary == 384


def test_folders_with_python_files_are_refused(models: dict[str, Path], tmp_path: Path) -> None:
    folder = copy_of(models["gpt_neox"], tmp_path / "m")
    (folder / "modeling_evil.py").write_text("raise SystemExit('ran')")
    with pytest.raises(RefusedForSafety, match="modeling_evil.py"):
        prepared_with(proxy=str(folder))
    with pytest.raises(RefusedForSafety, match="modeling_evil.py"):
        prepared_with(tokenizer=str(folder))


def test_missing_and_unexpected_weights_are_named(models: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = copy_of(models["gpt_neox"], tmp_path / "m")
    weights = load_file(folder / "model.safetensors")
    gone = next(name for name in weights if "layers.1" in name)
    weights["stranger.weight"] = weights.pop(gone)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(IntegrityError, match=r"1 missing .*layers\.1.*stranger\.weight"):
        record(prepared_with(proxy=str(folder)))


def test_a_tokenizer_of_another_vocabulary_is_refused_before_training(
    models: dict[str, Path], tmp_path: Path
) -> None:
    other = tokenizer_folder(tmp_path / "large", vocabulary=600)
    with pytest.raises(DataError, match="vocabulary of 384"):
        prepared_with(proxy=str(models["gpt_neox"]), tokenizer=str(other))


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (transformers.T5Config(vocab_size=384, d_model=32, d_kv=8, num_layers=1), "t5"),
        (transformers.CLIPConfig(), "clip"),
        (transformers.GPTNeoXConfig(vocab_size=384, hidden_act="no such function"), "gpt_neox"),
    ],
    ids=["t5", "clip", "unknown activation"],
)
def test_a_folder_of_another_kind_of_model_is_refused_with_what_is_needed(
    config: Any, kind: str, models: dict[str, Path], tmp_path: Path
) -> None:
    folder = copy_of(models["gpt_neox"], tmp_path / "m")
    config.save_pretrained(folder)
    named = rf"no causal language model .*model type {kind}.*predicts the next token"
    with pytest.raises(DataError, match=named) as caught:
        prepared_with(proxy=str(folder))
    assert len(str(caught.value)) < 700


def test_more_tokens_than_positions_are_refused(models: dict[str, Path]) -> None:
    long = [[Message("user", "say"), Message("assistant", "yes and no, " * 300)]]
    with pytest.raises(RecipeError, match="--max-length 256"):
        prepare(examples_of(long), ProxySettings(proxy=str(models["gpt_neox"]), max_length=1000), 0)


def test_scratch_proxies_are_of_the_size_in_their_name() -> None:
    for name, least, most in (("scratch-2m", 1e6, 3e6), ("scratch-9m", 4e6, 1.2e7)):
        plan = prepared_with(proxy=name).plan
        assert least < plan.parameters < most
