"""Folders and files of models that strangers might give: what each does, and how it is refused.

What is harmful in them is a marker: no file has code that does harm.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.numpy import load_file, save_file

from smalltolarge.errors import (
    DataError,
    IntegrityError,
    MissingArtifact,
    RecipeError,
    RefusedForSafety,
)

from .lm_samples import CHATML

Error = type[BaseException]
REFUSED, DAMAGED, UNFIT = RefusedForSafety, IntegrityError, DataError
PICKLE = b"\x80\x04\x8c\x06marker\x94\x8c\x03run\x94\x93)R."
"""A pickle that names marker.run."""


class Hostile(NamedTuple):
    """One kind: ``make`` changes a whole small folder into it."""

    name: str
    make: Callable[[Path], Any]
    expected: tuple[Error, ...]
    slow: bool = False
    """Whether a limit of time has to run out."""


def changed(file: str, **values: Any) -> Callable[[Path], None]:
    """Set keys of a JSON file."""

    def make(folder: Path) -> None:
        path = folder / file
        known = json.loads(path.read_bytes()) if path.is_file() else {}
        path.write_text(json.dumps(known | values))

    return make


def written(file: str, content: bytes | str) -> Callable[[Path], Any]:
    """Put a file there."""
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    return lambda folder: (folder / file).write_bytes(data)


def replaced(file: str, how: Callable[[Path], Any]) -> Callable[[Path], None]:
    """Put something else in the place of a file."""

    def make(folder: Path) -> None:
        (folder / file).unlink(missing_ok=True)
        how(folder / file)

    return make


def larger(file: str, size: int) -> Callable[[Path], None]:
    """Make a sparse file of so many bytes."""

    def make(folder: Path) -> None:
        (folder / file).touch()
        os.truncate(folder / file, size)

    return make


def linked(to: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(to)


def indexed(name: Any) -> Callable[[Path], None]:
    """Take the weights away, with a decoy in their place and an index that names another file."""

    def make(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "decoy.safetensors")
        (folder / "pytorch_model.bin").write_bytes(PICKLE)
        (folder / "model.safetensors.index.json").write_text(
            json.dumps({"metadata": {}, "weight_map": {"gpt_neox.embed_in.weight": name}})
        )

    return make


def headed(header: Any, length: int | None = None, data: bytes = b"") -> Callable[[Path], None]:
    """Put a safetensors file with this header in the place of the weights."""

    def make(folder: Path) -> None:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        size = struct.pack("<Q", len(text) if length is None else length)
        (folder / "model.safetensors").write_bytes(size + text + data)

    return make


def tokenizer(**parts: Any) -> Callable[[Path], None]:
    """Set parts of tokenizer.json."""
    return changed("tokenizer.json", **parts)


def vocabulary(**numbers: int) -> Callable[[Path], None]:
    """Set numbers of tokens."""

    def make(folder: Path) -> None:
        known = json.loads((folder / "tokenizer.json").read_bytes())
        known["model"]["vocab"] |= numbers
        (folder / "tokenizer.json").write_text(json.dumps(known))

    return make


def templated(text: str) -> Callable[[Path], Any]:
    return written("chat_template.jinja", text)


def adapter(weights: bytes | None = None, **values: Any) -> Callable[[Path], None]:
    """Make the folder an adapter of the model that it was."""

    def make(folder: Path) -> None:
        base = folder.with_name(folder.name + "-base")
        folder.rename(base)
        folder.mkdir()
        usual = {
            "peft_type": "LORA", "base_model_name_or_path": str(base), "r": 2, "lora_alpha": 2,
            "target_modules": ["query_key_value"], "task_type": "CAUSAL_LM",
        }  # fmt: skip
        (folder / "adapter_config.json").write_text(json.dumps(usual | values))
        empty = struct.pack("<Q", 2) + b"{}"
        (folder / "adapter_model.safetensors").write_bytes(empty if weights is None else weights)

    return make


def gguf(*parts: bytes) -> Callable[[Path], None]:
    """Put a GGUF file in the place of the weights."""

    def make(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / "model.gguf").write_bytes(b"".join(parts))

    return make


def numbers(form: str, *values: int) -> bytes:
    return struct.pack("<" + form, *values)


def in_a_cache(folder: Path) -> None:
    """Make the folder a link to a snapshot of it in a cache of Hugging Face."""
    home = folder.with_name("hub") / "models--owner--name"
    snapshot, blobs = home / "snapshots" / "0123abcd", home / "blobs"
    blobs.mkdir(parents=True)
    snapshot.parent.mkdir()
    folder.rename(snapshot)
    for number, file in enumerate(sorted(snapshot.iterdir())):
        file.rename(blobs / str(number))
        file.symlink_to(Path("..", "..", "blobs", str(number)))
    folder.symlink_to(snapshot)


def sharded(folder: Path) -> None:
    """Cut the weights in two files with an index."""
    weights = load_file(folder / "model.safetensors")
    names = sorted(weights)
    shards = {
        "model-00001-of-00002.safetensors": names[::2],
        "model-00002-of-00002.safetensors": names[1::2],
    }
    for file, held in shards.items():
        save_file({name: weights[name] for name in held}, folder / file, {"format": "pt"})
    (folder / "model.safetensors").unlink()
    index = {name: file for file, held in shards.items() for name in held}
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": 1}, "weight_map": index})
    )


def of_a_trainer(folder: Path) -> None:
    """Put beside the weights what a trainer keeps."""
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "scaler.pt", "training_args.bin"):
        (folder / name).write_bytes(PICKLE)
    log = [{"step": step, "loss": 1.5, "grad_norm": 0.25} for step in range(150_000)]
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": log}))
    (folder / "all_results.json").write_text('{"train_loss": 1.5, "eval_loss": NaN}')
    (folder / "global_step500").mkdir()
    (folder / "global_step500" / "mp_rank_00_model_states.pt").write_bytes(PICKLE)


def of_a_hub(folder: Path) -> None:
    """Put beside the weights what repositories hold."""
    for name in (
        "README.md", ".gitattributes", "LICENSE", "tf_model.h5", "flax_model.msgpack",
        "rust_model.ot", "pytorch_model.bin", "original/consolidated.00.pth",
        "original/params.json", "onnx/model.onnx", "onnx/config.json",
        "openvino/openvino_model.bin", "model.ckpt.index",
        ".cache/huggingface/download/config.json.metadata", ".git/hooks/pre-commit",
    ):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(PICKLE)
    (folder / "pytorch_model.bin.index.json").write_text(
        json.dumps({"weight_map": {"gpt_neox.embed_in.weight": "pytorch_model.bin"}})
    )


def linked_inside(folder: Path) -> None:
    """Have the weights under another name, and a link to them."""
    (folder / "model.safetensors").rename(folder / "weights.safetensors")
    (folder / "model.safetensors").symlink_to("weights.safetensors")


def harmless() -> Iterator[Hostile]:
    """Yield kinds of folders that are taken."""
    for make in (in_a_cache, sharded, of_a_trainer, of_a_hub, linked_inside):
        yield Hostile(make.__name__, make, ())
    notes = changed(
        "config.json", num_train_steps=10_000, max_window_layers=28, tokens_seen=10**12,
        rope_theta=10**7, pad_token_id=-1, id2label={"0": "a/b"},
        task_specific_params={"a": {"max_length": 300}},
    )  # fmt: skip
    yield Hostile("notes", notes, ())
    retrying = tokenizer(
        pre_tokenizer={
            "type": "Split",
            "pattern": {"Regex": "(a*)*(a|b)*\\1c"},
            "behavior": "Isolated",
            "invert": False,
        }
    )
    yield Hostile("retrying regex", retrying, ())
    yield Hostile("nothing", lambda folder: None, ())


def hostile() -> Iterator[Hostile]:
    """Yield every kind."""
    config, about = "config.json", "tokenizer_config.json"
    for key in ("auto_map", "trust_remote_code", "custom_pipelines"):
        for file in (config, about, "generation_config.json", "special_tokens_map.json"):
            yield Hostile(f"{key} in {file}", changed(file, **{key: {"a": "b.C"}}), (REFUSED,))
    for key in ("configuration_files", "fast_tokenizer_files", "transformers_weights"):
        yield Hostile(key, changed(config, **{key: ["other.json"]}), (REFUSED,))
    weights = changed(config, transformers_weights="adapter_model.bin")
    yield Hostile("pickle named by the configuration", weights, (REFUSED,))
    for key in ("backbone", "tokenizer_name", "vision_tower"):
        yield Hostile(f"{key} elsewhere", changed(config, **{key: "owner/name"}), (REFUSED,))
    kernel = changed(config, attn_implementation="owner/kernel")
    yield Hostile("kernel", kernel, (REFUSED,))
    quantised = changed(config, quantization_config={"quant_method": "gptq"})
    yield Hostile("quantised", quantised, (REFUSED,))
    yield Hostile("python file", written("modeling_x.py", "raise SystemExit"), (REFUSED,))

    # weights
    for name in (
        "pytorch_model.bin", "../m/pytorch_model.bin", "/etc/hostname", "../x.safetensors",
        "/x.safetensors", "a/b.safetensors", 7, None, ["decoy.safetensors"], "x\x1b[31m.bin",
    ):  # fmt: skip
        yield Hostile(f"index names {name!r}", indexed(name), (REFUSED,))
    missing = indexed("gone.safetensors")
    yield Hostile("index names what is not there", missing, (MissingArtifact,))
    index = "model.safetensors.index.json"
    away = replaced("model.safetensors", lambda path: written(index, "[]")(path.parent))
    yield Hostile("index is a list", away, (DAMAGED,))
    for file in (config, about, "model.safetensors", "tokenizer.json", "x.json"):
        yield Hostile(f"FIFO as {file!r}", replaced(file, os.mkfifo), (REFUSED, MissingArtifact))
        for to in ("/dev/zero", "/etc/hostname"):
            yield Hostile(f"{file} is {to}", replaced(file, linked(to)), (REFUSED,))
        yield Hostile(f"{file} is itself", replaced(file, linked(file)), (REFUSED, MissingArtifact))
    for file in (config, about, "generation_config.json", "x.json", "chat_template.jinja"):
        yield Hostile(f"{file} of 300 MB", larger(file, 300 * 2**20), (REFUSED,))
    yield Hostile("tokenizer.json of 10 GB", larger("tokenizer.json", 10 * 2**30), (REFUSED,))
    deep = "[" * 100_000 + "]" * 100_000
    for file in (config, about, "x.json"):
        yield Hostile(f"{file} is deep", written(file, deep), (DAMAGED, REFUSED))
        yield Hostile(f"{file} is rather deep", written(file, deep[99_900:-99_900]), (REFUSED,))
        yield Hostile(f"{file} is no JSON", written(file, b"\x80\x04."), (DAMAGED,))
        long = '{"a": ' + "9" * 5000 + "}"
        yield Hostile(f"{file} has a long number", written(file, long), (DAMAGED,))
    yield Hostile("name with escapes", written("\x1b[31mx.json", "{"), (DAMAGED,))
    whole = {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    for what, header, length in (
        ("none", b"", 0),
        ("of 100 MB", b"", 100 * 2**20),
        ("beyond the file", b"{}", 2**20),
        ("of all bits", b"{}", 2**64 - 1),
        ("a list", [], None),
        ("no JSON", b"\x80\x04.", None),
        ("deep", b"[" * 10**5, None),
        ("beyond its end", whole, None),
        ("negative", {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [4, 0]}}, None),
        ("large", {"a": {"dtype": "F32", "shape": [2**62], "data_offsets": [0, 2**64]}}, None),
        ("another type", {"a": {"dtype": "Q4", "shape": [1], "data_offsets": [0, 1]}}, None),
        ("wrong size", {"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 4]}}, None),
    ):
        yield Hostile(f"header {what}", headed(header, length), (DAMAGED, REFUSED))
    yield Hostile("other weights", headed(whole, data=bytes(4)), (DAMAGED,))

    # configurations
    for key, value in {
        "num_hidden_layers": 10**6, "vocab_size": 2**40, "hidden_size": 2**40,
        "num_attention_heads": 10**9, "attention_dropout": 5, "hidden_dropout": -1,
        "layer_norm_eps": 1e9, "num_labels": 10**9, "max_position_embeddings": 2**60,
        "bos_token_id": 2**70, "intermediate_size": -7,
    }.items():  # fmt: skip
        yield Hostile(f"{key} {value}", changed(config, **{key: value}), (UNFIT,))
    yield Hostile("10,000 layers", changed(config, num_hidden_layers=10_000), (UNFIT,))
    for key, value in {
        "num_hidden_layers": 100, "vocab_size": 2**24, "intermediate_size": 2**24,
    }.items():  # fmt: skip
        yield Hostile(f"more than the weights: {key}", changed(config, **{key: value}), (DAMAGED,))
    for key, unfit in {
        "model_type": "no such", "hidden_size": "32", "hidden_act": "os.system", "vocab_size": [],
        "num_attention_heads": 0, "num_hidden_layers": None, "rope_parameters": 7,
    }.items():  # fmt: skip
        yield Hostile(f"{key} {value!r}", changed(config, **{key: unfit}), (DAMAGED, UNFIT))

    # tokenizers
    both = (DAMAGED, REFUSED, MissingArtifact, UNFIT)
    for what, make in {
        "grows": tokenizer(
            normalizer={"type": "Replace", "pattern": {"String": "a"}, "content": "b" * 2**20}
        ),
        "grows by steps": tokenizer(
            normalizer={
                "type": "Sequence",
                "normalizers": [
                    {"type": "Replace", "pattern": {"String": "a"}, "content": "aaaa"}
                ] * 20,
            }
        ),
        "number 2**31": vocabulary(x=2**31),
        "number 2**32 - 1": vocabulary(x=2**32 - 1),
        "number 2**25": vocabulary(x=2**25),
        "no model": tokenizer(model={}),
        "no vocabulary": tokenizer(model={"type": "WordLevel", "vocab": {}, "unk_token": "?"}),
        "charsmap": tokenizer(
            normalizer={"type": "Precompiled", "precompiled_charsmap": "/////w=="}
        ),
        "charsmap of nothing": tokenizer(
            normalizer={"type": "Precompiled", "precompiled_charsmap": ""}
        ),
        "bad regex": tokenizer(
            pre_tokenizer={"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated",
                           "invert": False}
        ),
        "garbage": written("tokenizer.json", b"\x80\x04."),
        "a list": written("tokenizer.json", "[]"),
        "deep": written("tokenizer.json", deep),
    }.items():  # fmt: skip
        yield Hostile(f"tokenizer {what}", make, both)
    without = replaced("tokenizer.json", lambda path: changed(about, vocab_file="/etc/hostname")(
        path.parent))  # fmt: skip
    yield Hostile("tokenizer of a file elsewhere", without, (REFUSED,))

    # chat templates
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    yield Hostile("endless template", templated(endless), (REFUSED,), slow=True)
    late = "{% if '#1 ' in messages[0].content %}" + endless + "{% endif %}" + CHATML
    yield Hostile("template endless in the second row", templated(late), (REFUSED,), slow=True)
    for what, text in {
        "fills the memory": "{{ 'a' * 10000000000 }}",
        "writes much": "{{ 'a' * 1000000 }}",
        "writes much in parts": "{% for a in range(99999) %}{{ 'abcdefgh' }}{% endfor %}",
    }.items():
        yield Hostile(f"template {what}", templated(text), (REFUSED,))
    for what, text in {
        "class": "{{ ''.__class__.__mro__ }}",
        "globals": "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "imports": "{% import 'config.json' as x %}{{ x }}",
        "includes": "{% include '/etc/hostname' %}",
        "attribute": "{{ messages | attr('__class__') }}{{ raise_exception('no') }}",
        "format": "{{ '{0.__class__}'.format(messages) }}{{ raise_exception('no') }}",
        "changes": "{{ messages.clear() }}",
        "deep": "{{ " + "(" * 5000 + ")" * 5000 + " }}",
        "range": "{{ range(10**9) | list }}",
        "power": "{{ 9 ** 9 ** 4 }}{{ raise_exception('no') }}",
        "error": "{{ raise_exception('\x1b[31m') }}",
        "no syntax": "{% for %}",
        "chance": "{{ [1, 2] | random }}",
    }.items():
        yield Hostile(f"template {what}", templated(text), (UNFIT, REFUSED))
    surrogate = changed(about, chat_template="{{ '\ud800' }}{{ messages[0].content }}")
    yield Hostile("template surrogate", surrogate, (UNFIT,))
    yield Hostile("template is no text", written("chat_template.jinja", b"\xff\xfe"), (DAMAGED,))
    yield Hostile("template is a number", changed(about, chat_template=7), (DAMAGED,))

    # adapters
    for what, make in {
        "of nothing": adapter(base_model_name_or_path=""),
        "of a number": adapter(base_model_name_or_path=7),
        "of nobody's home": adapter(base_model_name_or_path="~no-such-user/x"),
        "of a zero byte": adapter(base_model_name_or_path="a\x00b/c\x00"),
        "of a long name": adapter(base_model_name_or_path="x" * 5000 + "/y/z"),
        "of itself": adapter(base_model_name_or_path="."),
        "of another kind": adapter(peft_type="PROMPT_TUNING"),
        "with large ranks": adapter(r=10**9),
        "with no rank": adapter(r=0),
        "with a rank of text": adapter(r="2"),
        "with patterns": adapter(rank_pattern={"query_key_value": 10**9}),
        "with code": adapter(megatron_config={"a": 1}),
        "with a map": adapter(auto_map={"a": "b"}),
        "with no weights": adapter(),
        "with damaged weights": adapter(b"\xff" * 100),
        "with layers of none": adapter(target_modules=["no_such"]),
    }.items():
        yield Hostile(
            f"adapter {what}", make, (UNFIT, DAMAGED, REFUSED, MissingArtifact, RecipeError)
        )
    retrying = adapter(target_modules="(([a-z_.0-9]+)+)+!")
    yield Hostile("adapter with a retrying pattern", retrying, (REFUSED,), slow=True)

    # GGUF files
    head, named_a = b"GGUF" + numbers("I", 3), numbers("Q", 1) + b"a"
    for what, pieces in {
        "empty": (b"",),
        "another version": (b"GGUF", numbers("IQQ", 99, 0, 0)),
        "many tensors": (head, numbers("QQ", 2**63, 0)),
        "many keys": (head, numbers("QQ", 0, 2**63)),
        "long name": (head, numbers("QQQ", 0, 1, 2**62)),
        "long text": (head, numbers("QQ", 0, 1), named_a, numbers("IQ", 8, 2**62)),
        "long list": (head, numbers("QQ", 0, 1), named_a, numbers("IIQ", 9, 0, 2**62)),
        "list of lists": (head, numbers("QQ", 0, 1), named_a, numbers("IIQ", 9, 9, 1)),
        "unknown kind": (head, numbers("QQ", 0, 1), named_a, numbers("I", 77)),
        "many sizes": (head, numbers("QQ", 1, 0), named_a, numbers("I", 2**31)),
        "large tensor": (
            head,
            numbers("QQ", 1, 0),
            named_a,
            numbers("IQQIQ", 2, 2**40, 2**40, 0, 0),
        ),
        "far tensor": (head, numbers("QQ", 1, 0), named_a, numbers("IQIQ", 1, 1, 0, 2**62)),
        "nothing": (head, numbers("QQ", 0, 0)),
    }.items():
        yield Hostile(f"GGUF {what}", gguf(*pieces), (DAMAGED,), slow=what == "long list")
