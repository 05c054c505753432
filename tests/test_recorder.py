"""Losses of a training that somebody else runs: by a callback, and from what it saved."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import smalltolarge
from smalltolarge.errors import (
    DataError,
    Interrupted,
    MissingArtifact,
    RecipeError,
    StaleArtifact,
)
from smalltolarge.lm import prepare, record_saved
from smalltolarge.lm.checkpoints import saved_steps
from smalltolarge.lm.models import locate
from smalltolarge.recorder import LossRecorder, of_keys
from smalltolarge.settings import ProxySettings
from smalltolarge.trajectories import Trajectories

from .conftest import Cli
from .lm_samples import CHATML, SMALL, model_folder, sums
from .processes import forks

pytest.importorskip("trl")
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*save_embedding_layers.*:UserWarning"),
]
ROWS = 48
STEPS = [0, 2, 4, 6]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """On a busy machine several wait for each other at so small a model."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import LlamaConfig

    folder = tmp_path_factory.mktemp("models") / "base"
    return model_folder(folder, LlamaConfig(**SMALL), chat=CHATML, pad="<s>")


def rows_of(kind: str = "completion", rows: int = ROWS) -> list[dict[str, Any]]:
    turns = [[turn._asdict() for turn in said] for said in sums(rows)]
    told = [[{"role": t["role"], "content": t["content"]} for t in said] for said in turns]
    if kind == "messages":
        return [{"messages": said} for said in told]
    if kind == "text":
        return [{"prompt": a["content"], "completion": b["content"]} for a, b in told]
    return [{"prompt": said[:-1], "completion": said[-1:]} for said in told]


def write(folder: Path, kind: str = "completion", rows: int = ROWS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "data.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows_of(kind, rows)))
    return file


def trainer(
    base: Path,
    out: Path,
    *callbacks: Any,
    kind: str = "completion",
    rows: int = ROWS,
    peft: Any = None,
    **settings: Any,
) -> Any:
    """Give an SFTTrainer of 6 steps over 48 rows."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    usual: dict[str, Any] = {
        "per_device_train_batch_size": 8, "num_train_epochs": 1, "learning_rate": 1e-2,
        "max_length": 128, "use_cpu": True, "bf16": False, "gradient_checkpointing": False,
        "report_to": "none", "disable_tqdm": True, "save_strategy": "no", "logging_steps": 1000,
        "log_level": "error", "seed": 3,
    }  # fmt: skip
    torch.manual_seed(0)
    return SFTTrainer(
        model=str(base),
        args=SFTConfig(output_dir=str(out), **usual | settings),
        train_dataset=Dataset.from_list(rows_of(kind, rows)),
        callbacks=list(callbacks),
        peft_config=peft,
    )


def recorder(folder: Path, kind: str = "completion", **settings: Any) -> LossRecorder:
    usual: dict[str, Any] = {"checkpoints": 4, "unit_tokens": 400}
    there = folder / "data.jsonl"  # written before where two processes read it
    return LossRecorder(there if there.exists() else write(folder, kind), **usual | settings)


def recorded(out: Path) -> Trajectories:
    return Trajectories.from_parquet(out / "trajectories.parquet")


def lora() -> Any:
    from peft import LoraConfig

    return LoraConfig(r=2, target_modules="all-linear", lora_dropout=0.1, task_type="CAUSAL_LM")


@pytest.fixture(scope="module")
def whole(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A training that was recorded and saved all its checkpoints."""
    out = tmp_path_factory.mktemp("whole")
    torch.set_num_threads(1)
    done = trainer(base, out, recorder(out), save_strategy="steps", save_steps=2)
    done.train()
    return done, out


def same_bits(one: Any, other: Any) -> bool:
    theirs = other.model.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in one.model.state_dict().items())


def test_a_training_that_is_recorded_gives_the_same_bits(
    base: Path, whole: tuple[Any, Path], tmp_path: Path
) -> None:
    alone = trainer(base, tmp_path, save_strategy="steps", save_steps=2)
    alone.train()
    assert same_bits(alone, whole[0])
    told = [run.state.log_history[-1]["train_loss"] for run in (alone, whole[0])]
    assert told[0] == told[1]
    assert recorded(whole[1]).steps.tolist() == STEPS
    found = recorded(whole[1]).losses
    assert (found[:, -1] < found[:, 0]).all()


def test_adapters_trained_in_parts_of_a_batch_are_the_same_bits_too(
    base: Path, tmp_path: Path
) -> None:
    how: dict[str, Any] = {
        "max_steps": 2, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2,
        "gradient_checkpointing": True, "save_strategy": "steps", "save_steps": 2,
    }  # fmt: skip
    alone = trainer(base, tmp_path / "alone", peft=lora(), **how)
    alone.train()
    out = tmp_path / "out"
    with_it = trainer(base, out, recorder(out), peft=lora(), **how)
    with_it.train()
    assert same_bits(alone, with_it)
    found = recorded(out)
    assert found.steps.tolist() == [0, 1, 2]
    # the adapter that was saved, on its base: the door of saved models
    again = saved(out, proxy=str(base))
    assert again.steps.tolist() == [0, 2]
    np.testing.assert_allclose(again.losses, found.losses[:, [0, 2]], atol=1e-5)
    assert "adapter_model.safetensors" in again.origin["checkpoints"]["2"]


def test_modes_layers_and_random_numbers_are_left_as_they_are(base: Path, tmp_path: Path) -> None:
    from transformers import TrainerCallback

    seen: list[Any] = []

    class Look(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            model = given["model"]
            model.model.layers[0].eval()  # somebody's own choice
            modules = list(model.modules())
            seen.append(
                {
                    "modes": [module.training for module in modules],
                    "classes": [type(module) for module in modules],
                    "attention": model.config._attn_implementation,
                    "gradients": [weight.grad is None for weight in model.parameters()],
                    "random": (
                        random.getstate(),
                        np.random.get_state(legacy=False)["state"]["pos"],
                        torch.get_rng_state().tolist(),
                    ),
                    "threads": torch.get_num_threads(),
                }
            )

    class LookAgain(Look):
        pass

    run = trainer(base, tmp_path, Look(), recorder(tmp_path), LookAgain(), max_steps=1)
    run.train()
    before, after = seen
    assert before == after
    assert set(before["modes"]) == {True, False}


def saved(out: Path, **settings: Any) -> Trajectories:
    """Score what a training saved, and what TRL learns of a completion: the line break, too."""
    (out / "ended.jinja").write_text(ENDED)
    usual: dict[str, Any] = {
        "from_checkpoints": str(out), "template": str(out / "ended.jinja"), "max_length": 128,
        "threads": 1,
    }  # fmt: skip
    return smalltolarge.record(out / "data.jsonl", **usual | settings)


ENDED = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ m['content'] }}<|im_end|>\n{% endgeneration %}"
    "{% else %}{{ m['content'] }}<|im_end|>\n{% endif %}{% endfor %}"
)
"""The template of the tests, with marks around what is learned."""


def test_saved_checkpoints_have_the_losses_that_were_recorded(whole: tuple[Any, Path]) -> None:
    out = whole[1]
    found, again = recorded(out), saved(out)
    assert again.steps.tolist() == STEPS[1:]
    assert again.ids.tolist() == found.ids.tolist()
    np.testing.assert_allclose(again.losses, found.losses[:, 1:], atol=1e-5)
    digests = again.origin["checkpoints"]
    assert digests.keys() == {"2", "4", "6"}
    assert len({files["model.safetensors"] for files in digests.values()}) == 3


def test_the_step_of_a_checkpoint_is_that_of_its_state(
    whole: tuple[Any, Path], tmp_path: Path
) -> None:
    with pytest.raises(MissingArtifact, match="no folder checkpoint-STEP"):
        saved_steps(str(tmp_path))
    for name in ("checkpoint-4", "checkpoint-6"):
        shutil.copytree(whole[1] / name, tmp_path / name)
    (tmp_path / "checkpoint-6").rename(tmp_path / "checkpoint-1")
    assert list(saved_steps(str(tmp_path))) == [4, 6]
    (tmp_path / "checkpoint-1" / "trainer_state.json").unlink()
    assert list(saved_steps(str(tmp_path))) == [1, 4]
    (tmp_path / "checkpoint-1" / "trainer_state.json").write_text('{"global_step": 4}')
    with pytest.raises(DataError, match="checkpoint-4 and checkpoint-1 are both of step 4"):
        saved_steps(str(tmp_path))
    with pytest.raises(RecipeError, match="nothing is trained, so no losses are free"):
        ProxySettings(from_checkpoints="out", losses="free")
    with pytest.raises(RecipeError, match="nothing is trained, so no losses are perturbed"):
        ProxySettings(from_checkpoints="out", losses="perturbed")


def test_the_command_scores_saved_checkpoints_and_goes_on_after_a_stop(
    whole: tuple[Any, Path], tmp_path: Path, s2l: Cli
) -> None:
    out = whole[1]
    shutil.copyfile(out / "data.jsonl", tmp_path / "data.jsonl")
    words = ["data.jsonl", "--from-checkpoints", out, "--max-length", "128", "--threads", "1"]
    planned = s2l("record", *words, "--dry-run").stdout
    assert re.search(r"Checkpoints +3\n", planned)
    s2l("record", *words, "--out", "t.parquet")
    found = Trajectories.from_parquet(tmp_path / "t.parquet")
    stopped = prepare(smalltolarge.load(tmp_path / "data.jsonl"), found_settings(out), 0)
    calls = iter([None] * 2)

    def check() -> None:
        if next(calls, "stop") == "stop":
            raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        record_saved(stopped, folder=tmp_path / "kept", check=check)
    assert (tmp_path / "kept" / "losses-0.safetensors").is_file()
    again = record_saved(stopped, folder=tmp_path / "kept").trajectories
    assert again.losses.tobytes() == found.losses.tobytes()
    subset = s2l("select", *words[:1], "--trajectories", "t.parquet", "--budget", "25%",
                 "--clusters", "4", "--out", "subset.jsonl").stdout  # fmt: skip
    assert re.search(r"Rows selected +12 ", subset)


def found_settings(out: Path) -> ProxySettings:
    return ProxySettings(from_checkpoints=str(out), max_length=128, threads=1)


def check_same_losses(base: Path, folder: Path, ways: dict[str, dict[str, Any]]) -> None:
    """Check that rows may be laid out in any of the ``ways``, in a folder each.

    All are in one batch, so that a step is the same; more are recorded than are trained on.
    """
    found = []
    for name, way in ways.items():
        out = folder / name
        run = trainer(
            base, out, recorder(out, checkpoints=2, max_length=128), max_steps=1, optim="sgd",
            **{"per_device_train_batch_size": 12, "rows": 12, **way},
        )  # fmt: skip
        run.train()
        found.append(recorded(out))
    assert all(one.steps.tolist() == [0, 1] for one in found)
    assert (np.diff(found[0].losses, axis=1) < 0).mean() > 0.9
    for other in found[1:]:
        np.testing.assert_allclose(other.losses, found[0].losses, atol=1e-5)


def test_packed_padding_free_and_padded_trainings_have_the_same_losses(
    base: Path, tmp_path: Path
) -> None:
    ways: dict[str, dict[str, Any]] = {
        "padded": {},
        "padding free": {"padding_free": True, "max_length": None},
        "packed": {"packing": True},
    }
    check_same_losses(base, tmp_path, ways)


@pytest.mark.heavy
def test_a_training_of_real_weights_records_the_same_packed_and_padded(
    smollm2: str, tmp_path: Path, s2l: Cli
) -> None:
    base, _ = locate(smollm2)
    check_same_losses(base, tmp_path, {"padded": {}, "packed": {"packing": True}})
    given = ["packed/data.jsonl", "--trajectories", "packed/trajectories.parquet"]
    s2l("select", *given, "--budget", "8", "--clusters", "4", "--out", "subset.jsonl")
    assert (tmp_path / "subset.jsonl").read_text().count("\n") == 8


def test_a_resumed_training_makes_no_pass_again(
    base: Path, whole: tuple[Any, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from transformers import TrainerCallback

    class Killed(Exception):
        pass

    class Kill(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            if state.global_step == 5:
                raise Killed

    how: dict[str, Any] = {"save_strategy": "steps", "save_steps": 2}
    with pytest.raises(Killed):
        trainer(base, tmp_path, recorder(tmp_path), Kill(), **how).train()
    assert not (tmp_path / "trajectories.parquet").exists()
    caplog.clear()
    resumed = trainer(base, tmp_path, recorder(tmp_path), **how)
    resumed.train(resume_from_checkpoint=True)
    assert "recording: 1 pass over 48 examples (2,228 tokens), at steps 6" in caplog.text
    assert same_bits(resumed, whole[0])
    assert recorded(tmp_path).losses.tobytes() == recorded(whole[1]).losses.tobytes()
    # and without what was kept
    shutil.rmtree(tmp_path / "s2l")
    caplog.clear()
    trainer(base, tmp_path, recorder(tmp_path), **how).train(resume_from_checkpoint=True)
    assert "goes on at step 6, and the losses after 0, 2, 4 steps were not kept" in caplog.text
    assert recorded(tmp_path).steps.tolist() == [6]


@pytest.mark.parametrize(
    ("kind", "way"), [("messages", "chat template"), ("text", "completion after the prompt's text")]
)
def test_it_finds_how_the_trainer_wrote_the_rows(
    kind: str, way: str, base: Path, tmp_path: Path
) -> None:
    run = trainer(base, tmp_path, recorder(tmp_path, kind, sample=20), kind=kind, max_steps=1)
    run.train()
    found = recorded(tmp_path)
    assert found.origin["template"] == way
    assert len(found) == 20
    assert len(found.origin["left_out"]) == ROWS - 20
    learned = {len(row["input_ids"]) - 1 for row in run.train_dataset}
    if kind == "messages":
        assert found.n_tokens is not None and set(found.n_tokens.tolist()) <= learned


def test_other_tokens_than_the_trainer_learns_stop_it_with_both_numbers(
    base: Path, tmp_path: Path
) -> None:
    run = trainer(base, tmp_path, recorder(tmp_path, template="chat"), max_steps=1)
    rows = run.train_dataset
    tokens, learned = len(rows[0]["input_ids"]), sum(x != -100 for x in rows[0]["labels"])
    theirs = f"the trainer learns {learned} of {tokens} tokens of .*, row 1, id .*, "
    with pytest.raises(DataError, match=f"{theirs}and here it would be {learned - 1} of"):
        run.train()
    assert run.state.global_step == 0

    def train_with(another: LossRecorder) -> None:
        run.remove_callback(LossRecorder)
        run.add_callback(another)
        run.train()

    with pytest.raises(DataError, match="tokens has 47 rows, and there are 48 examples"):
        train_with(recorder(tmp_path, tokens=rows.select(range(47))))
    other = write(tmp_path / "other")
    other.write_text('{"prompt": "Who?", "completion": "Nobody."}\n')
    with pytest.raises(DataError, match="none of the first 8 sequences of the trainer is an"):
        train_with(LossRecorder(other))
    other.with_name("mine.parquet").write_text("mine")
    with pytest.raises(StaleArtifact, match="is there already, and is not of a recorder"):
        train_with(recorder(tmp_path, out=other.with_name("mine.parquet")))
    with pytest.raises(RecipeError, match="sample is 49: 1 to 48"):
        recorder(tmp_path, sample=49)
    # the trainer's own tokens are right whatever the template
    train_with(recorder(tmp_path, tokens=rows))
    n_tokens = recorded(tmp_path).n_tokens
    assert n_tokens is not None and n_tokens[0] == learned


def test_the_example_of_the_page_runs_and_its_file_is_selected_from(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s2l: Cli
) -> None:
    page = Path(__file__).parents[1] / "docs" / "recorder.md"
    [code] = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    shutil.copytree(base, tmp_path / "my-model")
    write(tmp_path, "messages", rows=16)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, str(page), "exec"), {})  # noqa: S102  our own page
    found = recorded(tmp_path / "out")
    assert found.steps.tolist() == [0, 1, 2, 3, 4]
    assert found.origin["precision"] == "float32"
    words = ["--trajectories", "out/trajectories.parquet", "--budget", "25%", "--clusters", "4"]
    s2l("select", "data.jsonl", *words, "--out", "subset.jsonl")
    assert len((tmp_path / "subset.jsonl").read_text().splitlines()) == 4


def test_keys_of_a_configuration_make_a_recorder(tmp_path: Path) -> None:
    data = str(write(tmp_path))
    made = of_keys({"s2l_data": data, "s2l_checkpoints": 5, "s2l_out": None, "lr": 1}, 77)
    assert (made.settings.checkpoints, made.settings.max_length, made.out) == (5, 77, None)
    with pytest.raises(
        RecipeError, match="s2l_checkpoint is not a key of the recorder; known: s2l"
    ):
        of_keys({"s2l_data": data, "s2l_checkpoint": 5}, None)
    with pytest.raises(RecipeError, match="schedule is often: even or early"):
        of_keys({"s2l_data": data, "s2l_schedule": "often"}, None)
    with pytest.raises(RecipeError, match="s2l_data is needed"):
        of_keys({"s2l_checkpoints": 5}, None)


def _together(rank: int, port: int, work: Callable[..., None], *given: Any) -> None:
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_PORT": str(port),
        "MASTER_ADDR": "127.0.0.1",
    }  # fmt: skip
    torch.set_num_threads(1)
    work(*given)


def in_two_processes(work: Callable[..., None], *given: Any) -> None:
    """Do the same in two processes that find each other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    both = [forks.Process(target=_together, args=(rank, port, work, *given)) for rank in (0, 1)]
    for process in both:
        process.start()
    for process in both:
        process.join(240)
        process.kill()
    assert [process.exitcode for process in both] == [0, 0]


def train_once(base: Path, out: Path, **settings: Any) -> None:
    trainer(base, out, recorder(out), **settings).train()


def test_two_processes_share_a_pass(base: Path, tmp_path: Path) -> None:
    both, one = tmp_path / "both", tmp_path / "one"
    write(both)
    in_two_processes(partial(train_once, base, both, per_device_train_batch_size=4))
    train_once(base, one)
    found = recorded(both)
    assert found.steps.tolist() == [0, 2, 4, 6]
    np.testing.assert_allclose(found.losses[:, 0], recorded(one).losses[:, 0], atol=1e-6)
    np.testing.assert_allclose(found.losses, recorded(one).losses, atol=0.05)


def score_in_parts(base: Path, out: Path) -> None:
    """Record a model whose weights are cut over two processes, each layer by itself."""
    from torch.distributed import destroy_process_group, init_process_group
    from torch.distributed.fsdp import fully_shard
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        TrainerControl,
        TrainerState,
        TrainingArguments,
    )

    init_process_group("gloo")
    model = AutoModelForCausalLM.from_pretrained(base)
    for layer in model.model.layers:
        fully_shard(layer)
    fully_shard(model)
    arguments = TrainingArguments(str(out), use_cpu=True, per_device_train_batch_size=4)
    state, control = TrainerState(max_steps=3, global_step=0), TrainerControl()
    # a number of units that two processes cannot share evenly
    made = recorder(out, check=False, template="chat", unit_tokens=900)
    given = {"model": model, "processing_class": AutoTokenizer.from_pretrained(base)}
    made.on_train_begin(arguments, state, control, **given)
    assert made._run is not None and len(made._run.prepared.order.scoring_units()) % 2
    made.on_train_end(arguments, state, control, **given)
    destroy_process_group()


def test_weights_that_are_cut_over_processes_are_scored(base: Path, tmp_path: Path) -> None:
    write(tmp_path / "parts")
    in_two_processes(score_in_parts, base, tmp_path / "parts")
    whole = trainer(base, tmp_path, recorder(tmp_path, check=False, template="chat"), max_steps=1)
    whole.train()
    found = recorded(tmp_path / "parts")
    assert found.steps.tolist() == [0]
    np.testing.assert_allclose(found.losses[:, 0], recorded(tmp_path).losses[:, 0], atol=1e-5)
