"""A subset made ready for TRL, LLaMA-Factory and Axolotl: what is learned of it there is ours."""

from __future__ import annotations

import json
import os
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from smalltolarge import examples, lm
from smalltolarge.errors import DataError, MissingArtifact, RecipeError, StaleArtifact
from smalltolarge.examples.jinja import HEADINGS
from smalltolarge.settings import TargetSettings
from smalltolarge.verbs.export import export
from tests.conftest import LAYOUTS, Cli
from tests.lm_samples import CHATML, SMALL, model_folder

TRAINERS = ("trl", "llamafactory", "axolotl")


def said(*turns: tuple[str, str], **extra: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": text} for role, text in turns], **extra}


Q, A = ("user", "What is 1 + 1?"), ("assistant", "It is 2.")
R, B = ("user", "More?"), ("assistant", "No.")
KINDS: dict[str, dict[str, Any]] = {
    **LAYOUTS,
    "several answers": said(("system", "Be short."), Q, A, R, B),
    "a user twice": said(Q, R, A),
    "an answer twice": said(Q, A, B),
    "an answer first": said(("system", "Begin."), A, R, B),
    "a user last": said(Q, A, R),
    "tools in a row": said(Q, A, ("tool", "1"), ("tool", "2"), B),
    "marks": {
        "messages": [
            {"role": "user", "content": "What is 1 + 1?"},
            {"role": "assistant", "content": "It is 3.", "train": False},
            {"role": "user", "content": "Sure?"},
            {"role": "assistant", "content": "It is 2."},
        ]
    },
    "the last is not learned": {
        "messages": [
            {"role": "user", "content": "What is 1 + 1?"},
            {"role": "assistant", "content": "It is 2."},
            {"role": "user", "content": "Sure?"},
            {"role": "assistant", "content": "Hm.", "weight": 0},
        ]
    },
    "reasoning": {
        "messages": [
            {"role": "user", "content": "What is 1 + 1?"},
            {"role": "assistant", "content": "It is 2.", "reasoning_content": "One, two."},
        ]
    },
    "history": {"instruction": "More?", "output": "No.", "history": [["What is 1 + 1?", "2."]]},
}
"""Rows that trainers drop, or of which they learn something else, and plain ones."""
THINKS = CHATML.replace(
    "{{ m['content'] }}",
    "{% if m['reasoning_content'] %}<think>{{ m['reasoning_content'] }}</think>{% endif %}"
    "{{ m['content'] }}",
)


def write(folder: Path, *rows: Any, name: str = "subset.jsonl") -> Path:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / name


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def settings_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A base model, and one whose turns end with another token than texts, by template."""
    from transformers import GPTNeoXConfig

    folder, shape = tmp_path_factory.mktemp("models"), GPTNeoXConfig(**SMALL)
    return {
        "alpaca": model_folder(folder / "base", shape, bos="<s>", adds_bos=True),
        "chat": model_folder(folder / "chat", shape, chat=THINKS),
    }


def ours(subset: Path, model: Path, **settings: Any) -> list[str]:
    """What our own training of a target learns of every row."""
    from transformers import AutoTokenizer

    prepared = lm.prepare(examples.load(subset), TargetSettings(target=str(model), **settings), 0)
    tokenizer = AutoTokenizer.from_pretrained(model)
    offsets = prepared.offsets
    return [
        tokenizer.decode(prepared.tokens[start:end][prepared.completion[start:end]])
        for start, end in pairwise(offsets)
    ]


def read_by_trl(config: Path, model: Path, *more: str) -> Any:
    """Give the trainer that ``trl sft`` makes of a configuration."""
    from trl import SFTTrainer, get_dataset
    from trl.scripts.sft import make_parser

    script, arguments, _, mixture = make_parser().parse_args_and_config(
        ["--config", str(config), "--use_cpu", "true", "--bf16", "false", "--disable_tqdm", "true",
         "--output_dir", str(config.with_name("out")), *more],
        fail_with_unknown_args=True,
    )  # fmt: skip
    rows = get_dataset(mixture)[script.dataset_train_split]
    return SFTTrainer(model=str(model), args=arguments, train_dataset=rows)


@pytest.mark.parametrize("template", ["alpaca", "chat"])
@pytest.mark.parametrize("kind", KINDS)
def test_trl_learns_what_we_learn(
    kind: str, template: str, models: dict[str, Path], tmp_path: Path
) -> None:
    pytest.importorskip("trl")
    subset, model = write(tmp_path, KINDS[kind], KINDS[kind]), models[template]
    export(subset, "trl", model=str(model), template=template)
    trainer = read_by_trl(tmp_path / "subset.trl.yaml", model)
    decode = trainer.processing_class.decode
    rows = list(trainer.train_dataset)
    learned = [decode([token for token in row["labels"] if token != -100]) for row in rows]
    assert learned == ours(subset, model, template=template)
    assert trainer.processing_class.eos_token == ("</s>" if template == "alpaca" else "<|im_end|>")
    begins = "<s>" if template == "alpaca" else "<|im_start|>"
    assert decode(rows[0]["input_ids"]).startswith(begins)


def test_trl_trains_on_an_export(models: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("trl")
    write(tmp_path, KINDS["marks"], KINDS["several answers"])
    export(tmp_path / "subset.jsonl", "trl", model=str(models["alpaca"]), template="alpaca")
    trainer = read_by_trl(tmp_path / "subset.trl.yaml", models["alpaca"], "--max_steps", "1")
    trainer.train()
    assert trainer.state.global_step == 1


@pytest.mark.parametrize("template", ["alpaca", "chat"])
@pytest.mark.parametrize("kind", KINDS)
def test_llamafactory_gets_parts_that_alternate(
    kind: str, template: str, models: dict[str, Path], tmp_path: Path
) -> None:
    """What it drops: an odd number of turns, or two of one side in a row."""
    subset, model = write(tmp_path, KINDS[kind]), models[template]
    export(subset, "llamafactory", model=str(model), template=template)
    entry = json.loads((tmp_path / "dataset_info.json").read_text())["subset"]
    [row] = rows_of(tmp_path / entry["file_name"])
    parts, tags = row[entry["columns"]["messages"]], entry["tags"]
    sides = [part[tags["role_tag"]] for part in parts]
    assert sides == [tags["user_tag"], tags["assistant_tag"]] * (len(parts) // 2)
    learned = "".join(part[tags["content_tag"]] for part in parts[1::2])
    assert [learned] == ours(subset, model, template=template)
    settings = settings_of(tmp_path / "subset.llamafactory.yaml")
    assert (settings["template"], settings["dataset"]) == ("empty", "subset")


@pytest.mark.parametrize("trainer", ["llamafactory", "axolotl"])
def test_the_trainers_own_loader_learns_what_we_learn(
    trainer: str, models: dict[str, Path], tmp_path: Path
) -> None:
    """S2L_LLAMAFACTORY and S2L_AXOLOTL name a Python that has LLaMA-Factory 0.9.5, Axolotl 0.19."""
    python = os.environ.get(f"S2L_{trainer.upper()}")
    if python is None:
        pytest.skip(f"S2L_{trainer.upper()} names no Python that has it")
    from transformers import AutoTokenizer

    expected: dict[str, tuple[list[str], Path]] = {}
    for number, (kind, row) in enumerate(KINDS.items()):
        for template, model in models.items():
            folder = tmp_path / f"{number}-{template}"
            folder.mkdir()
            subset = write(folder, row, row)
            export(subset, trainer, model=str(model), template=template)
            learned = ours(subset, model, template=template)
            expected[str(folder / f"subset.{trainer}.yaml")] = (
                [f"{kind}: {t}" for t in learned],
                model,
            )
    program = Path(__file__).parent / "trainers" / f"with_{trainer}.py"
    done = subprocess.run(
        [python, program, *expected], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, list[str]] = {config: [] for config in expected}
    tokenizers = {model: AutoTokenizer.from_pretrained(model) for model in models.values()}
    for line in done.stdout.splitlines():
        if not line.startswith('{"config"'):
            continue
        row = json.loads(line)
        texts, model = expected[row["config"]]
        learned = [token for token in row["read"][1] if token != -100]
        kind = texts[0].partition(": ")[0]
        found[row["config"]].append(f"{kind}: {tokenizers[model].decode(learned)}")
    assert found == {config: texts for config, (texts, _) in expected.items()}


@pytest.mark.parametrize("template", ["alpaca", "chat"])
def test_axolotl_drops_nothing_for_its_length(
    template: str, models: dict[str, Path], tmp_path: Path
) -> None:
    subset = write(tmp_path, KINDS["marks"])
    export(subset, "axolotl", model=str(models[template]), template=template)
    settings = settings_of(tmp_path / "subset.axolotl.yaml")
    assert settings["excess_length_strategy"] == "truncate"
    [dataset] = settings["datasets"]
    [row] = rows_of(Path(dataset["path"]))
    if template == "alpaca":
        assert dataset["message_field_training"] == "train"
        assert [turn.get("train") for turn in row["messages"]] == [None, False, None, None]
        assert Path(settings["chat_template_jinja"]).read_text() == "{{ bos_token }}" + HEADINGS
    else:
        assert row.keys() == {"input_ids", "attention_mask", "labels"}
        assert settings["special_tokens"] == {"eos_token": "<|im_end|>"}


def test_the_headings_are_those_that_we_train_under() -> None:
    from transformers.utils.chat_template_utils import render_jinja_template

    from smalltolarge.examples.table import Message
    from smalltolarge.lm.rendering import alpaca

    turns = [
        Message("system", "S"),
        Message("user", "Q"),
        Message("assistant", "A", learned=False),
        Message("tool", "T"),
        Message("assistant", "B", reasoning="why"),
    ]
    ours = "".join(piece.text + "</s>" for piece in alpaca(turns).pieces)
    rows: list[dict[str, Any]] = [
        {"role": turn.role, "content": turn.content, "train": None if turn.learned else False}
        | ({"reasoning_content": turn.reasoning} if turn.reasoning else {})
        for turn in turns
    ]
    theirs, marked = render_jinja_template(
        [rows], chat_template=HEADINGS, eos_token="</s>", return_assistant_tokens_mask=True
    )
    assert theirs[0] == ours
    assert [theirs[0][start:end] for start, end in marked[0]] == ["<think>\nwhy\n</think>\n\nB</s>"]


@pytest.mark.parametrize("template", ["alpaca", "chat"])
@pytest.mark.parametrize("trainer", TRAINERS)
def test_what_is_cut_or_left_out_is_said(
    trainer: str, template: str, models: dict[str, Path], tmp_path: Path
) -> None:
    asks = {"prompt": "What is this? " * 40, "completion": "It is 2."}
    answers = {"prompt": "Count.", "completion": "1, 2, 3. " * 40}
    subset = write(tmp_path, LAYOUTS["prompt-completion"], asks, answers)
    given: dict[str, Any] = {"model": str(models[template]), "template": template}
    written = export(subset, trainer, max_length=60, **given)
    assert written.notes == [
        "1 of 3 rows (row 3) cut at 60 tokens",
        "1 of 3 rows (row 2) left out: no learned token within 60 tokens (--max-length)",
    ]
    head = (tmp_path / f"subset.{trainer}.yaml").read_text()
    assert all(f"# {note}\n" in head for note in written.notes)
    copy = next(path for path in written.files if path.suffix == ".jsonl")
    assert len(copy.read_text().splitlines()) == 2
    with pytest.raises(DataError, match="nothing is left to learn"):
        export(write(tmp_path, asks, name="long.jsonl"), trainer, max_length=60, **given)


@pytest.mark.parametrize("trainer", TRAINERS)
def test_rows_that_get_other_tokens_elsewhere_are_named(
    trainer: str, models: dict[str, Path], tmp_path: Path
) -> None:
    """A special token's text under headings is ten characters to us, one token to trainers."""
    subset = write(tmp_path, said(Q, A), said(("user", "End?"), ("assistant", "Write </s>.")))
    [note] = export(subset, trainer, model=str(models["alpaca"]), template="alpaca").notes
    assert note.startswith("1 of 2 rows (row 2) get other tokens than ours: ")


def test_settings_are_those_of_the_run(finished: str, tmp_path: Path, s2l: Cli) -> None:
    done = s2l("export", "subset.jsonl", "--to", "trl", "--template", "alpaca")
    settings = settings_of(tmp_path / "subset.trl.yaml")
    assert (settings["num_train_epochs"], settings["max_length"]) == (1.0, 512)
    assert (settings["learning_rate"], settings["model_name_or_path"]) == (2e-5, "microsoft/phi-2")
    assert "of runs/subset: " in done.stdout
    assert "epochs 1.0" in done.stdout
    s2l("export", "subset.jsonl", "--to", "axolotl", "--epochs", "2", "--max-length", "100",
        "--lora-rank", "8", "--template", "alpaca")  # fmt: skip
    settings = settings_of(tmp_path / "subset.axolotl.yaml")
    assert (settings["num_epochs"], settings["sequence_len"]) == (2.0, 100)
    assert (settings["adapter"], settings["lora_r"], settings["lora_alpha"]) == ("lora", 8, 16)


def test_rows_are_read_as_the_run_read_them(tmp_path: Path, s2l: Cli) -> None:
    turns = [{"role": role, "content": text} for role, text in (Q, A, R, B)]
    write(tmp_path, *[{"chat": turns, "other": number} for number in range(4)], name="data.jsonl")
    s2l("select", "data.jsonl", "--columns", "messages=chat", "--learn", "last", "--method",
        "random", "--budget", "2", "--out", "my subset.jsonl")  # fmt: skip
    done = s2l("export", "my subset.jsonl", "--to", "trl", "--template", "alpaca")
    assert "learn last" in done.stdout
    rows = rows_of(tmp_path / "my subset.trl.jsonl")
    assert [row["completion"] for row in rows] == [[turns[-1]]] * 2
    s2l("export", "my subset.jsonl", "--to", "trl", "--template", "alpaca", "--learn", "all",
        "--overwrite")  # fmt: skip
    rows = rows_of(tmp_path / "my subset.trl.jsonl")
    assert [row["messages"] for row in rows] == [turns] * 2


def test_settings_given_as_name_and_value_are_read(tmp_path: Path, s2l: Cli) -> None:
    write(tmp_path, {"asked": "Q", "said": "A"})
    s2l("export", "subset.jsonl", "--to", "trl", "--template", "alpaca", "--columns",
        "prompt=asked", "--columns", "completion=said", "--template-arg", "x=1")  # fmt: skip
    assert rows_of(tmp_path / "subset.trl.jsonl")[0]["completion"][0]["content"] == "A"


def test_rows_with_nothing_to_learn_are_counted(tmp_path: Path) -> None:
    unlearned = {"messages": [dict(turn, train=False) for turn in KINDS["marks"]["messages"]]}
    subset = write(tmp_path, KINDS["marks"], unlearned)
    with pytest.raises(DataError, match="--on-bad-row exclude"):
        export(subset, "trl", template="alpaca")
    note = export(subset, "trl", template="alpaca", on_bad_row="exclude").notes[0]
    assert note.startswith("1 of 2 rows left out: ")


def test_a_run_that_chose_another_subset_is_not_asked(
    finished: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (tmp_path / "subset.jsonl").open("a") as file:
        file.write((tmp_path / "subset.jsonl").read_text().splitlines()[0] + "\n")
    subset = tmp_path / "subset.jsonl"
    given: dict[str, Any] = {"template": "alpaca", "overwrite": True}
    run = tmp_path / "runs" / "subset"
    assert "of runs/" not in str(export(subset, "trl", **given).notes)
    assert f"{subset} is not the file that {run} wrote: no settings are taken" in caplog.text
    assert f"of {run}: " in str(export(subset, "trl", run=run, **given).notes)


def test_what_belongs_to_the_runs_model_is_not_taken_for_another(
    models: dict[str, Path], tmp_path: Path, s2l: Cli
) -> None:
    write(tmp_path, *[said(Q, A)] * 4)
    first, second = str(models["alpaca"]), str(models["chat"])
    s2l("train", first, "subset.jsonl", "--out", "trained", "--run", "runs/t", "--epochs", "1",
        "--tokenizer", first, "--trainer", "own", "--batch-size", "2")  # fmt: skip
    run = tmp_path / "runs" / "t"
    export(tmp_path / "subset.jsonl", "axolotl", run=run)
    assert settings_of(tmp_path / "subset.axolotl.yaml")["base_model"] == first
    export(tmp_path / "subset.jsonl", "axolotl", model=second, run=run, overwrite=True)
    settings = settings_of(tmp_path / "subset.axolotl.yaml")
    assert settings["base_model"] == second
    assert settings["special_tokens"] == {"eos_token": "<|im_end|>"}


def test_a_copy_that_is_text_needs_the_tokenizer(tmp_path: Path) -> None:
    subset = write(tmp_path, KINDS["marks"])
    for trainer, template in (("llamafactory", "alpaca"), ("trl", "chat"), ("axolotl", "chat")):
        with pytest.raises(MissingArtifact, match="with the tokenizer of nobody/has/this"):
            export(subset, trainer, model="nobody/has/this", template=template)
    assert export(subset, "axolotl", model="nobody/has/this", template="alpaca").files


def test_other_data_sets_of_llamafactory_stay(models: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_text('{"theirs": {"file_name": "x.json"}}')
    subset = write(tmp_path, LAYOUTS["alpaca"], name="a b.jsonl")
    export(subset, "llamafactory", model=str(models["alpaca"]))
    assert json.loads((tmp_path / "dataset_info.json").read_text()).keys() == {"theirs", "a_b"}
    with pytest.raises(StaleArtifact, match="another data set of the name a_b"):
        export(
            write(tmp_path, LAYOUTS["alpaca"], name="a-b.jsonl"),
            "llamafactory",
            model=str(models["alpaca"]),
        )


def test_what_is_there_is_not_replaced_unasked(tmp_path: Path) -> None:
    subset = write(tmp_path, LAYOUTS["alpaca"])
    export(subset, "trl", template="alpaca")
    assert export(subset, "trl", template="alpaca").files  # the same again
    with pytest.raises(StaleArtifact, match=r"subset\.trl\.yaml: there already"):
        export(subset, "trl", model="other/model", template="alpaca")
    export(subset, "trl", model="other/model", template="alpaca", overwrite=True)


@pytest.mark.parametrize(
    ("to", "settings", "message"),
    [
        ("nemo", {}, "to is nemo: one of trl, llamafactory, axolotl"),
        ("trl", {"device": "cpu"}, "device is no setting of an export"),
        ("trl", {"model": "scratch-2m"}, "built here from scratch"),
    ],
)
def test_what_cannot_be_exported_is_refused(
    to: str, settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=message):
        export(write(tmp_path, LAYOUTS["alpaca"]), to, **settings)
