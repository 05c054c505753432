"""A subset made ready for TRL, LLaMA-Factory and Axolotl."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from smalltolarge import examples
from smalltolarge.errors import RecipeError, StaleArtifact
from smalltolarge.export import _ALPACA, export
from tests.conftest import LAYOUTS, Cli
from tests.lm_samples import SMALL, model_folder

WITH_ROLES = {
    "messages": [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "Q"},
        {"role": "assistant", "content": "A"},
        {"role": "user", "content": "R"},
        {"role": "assistant", "content": "B"},
    ]
}
layouts = pytest.mark.parametrize("layout", LAYOUTS)


def filled(value: Any, number: int) -> Any:
    """Give a row of a layout with texts of its own."""
    if isinstance(value, str):
        own = {"Q": f"What is {number} + 1?", "X": "In words.", "A": f"It is {number + 1}."}
        return own.get(value, value)
    if isinstance(value, list):
        return [filled(inner, number) for inner in value]
    return {key: filled(inner, number) for key, inner in value.items()}


def write(folder: Path, row: Any, name: str = "subset.jsonl") -> Path:
    lines = [json.dumps({**filled(row, number), "note": number}) for number in range(12)]
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


def settings_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


@layouts
@pytest.mark.parametrize("template", ["alpaca", "chat"])
def test_trl_gets_prompts_and_completions(layout: str, template: str, tmp_path: Path) -> None:
    subset = write(tmp_path, LAYOUTS[layout])
    written = export(subset, "trl", template=template)
    names = {"subset.trl.jsonl", "subset.trl.yaml"}
    assert {path.name for path in written} - {"subset.alpaca.jinja"} == names
    rows = [json.loads(line) for line in (tmp_path / "subset.trl.jsonl").open()]
    assert len(rows) == 12
    assert rows[3]["completion"] == [{"role": "assistant", "content": "It is 4."}]
    assert [turn["role"] for turn in rows[3]["prompt"]] == ["user"]
    assert rows[3]["prompt"][0]["content"].startswith("What is 3 + 1?")
    settings = settings_of(tmp_path / "subset.trl.yaml")
    assert settings["datasets"][0]["data_files"] == str(tmp_path / "subset.trl.jsonl")
    assert ("chat_template_path" in settings) == (template == "alpaca")
    assert "assistant_only_loss" not in settings
    assert (settings["learning_rate"], settings["max_length"]) == (2e-5, 512)
    batch = settings["per_device_train_batch_size"] * settings["gradient_accumulation_steps"]
    assert batch == 128


@pytest.mark.parametrize("row", [LAYOUTS["alpaca"], WITH_ROLES], ids=["one answer", "several"])
def test_trl_learns_the_answers_alone(row: Any, tmp_path: Path) -> None:
    """TRL's own script reads the files, and its trainer takes a step."""
    pytest.importorskip("trl")
    from transformers import GPTNeoXConfig
    from trl import SFTTrainer, get_dataset
    from trl.scripts.sft import make_parser

    model = model_folder(tmp_path / "model", GPTNeoXConfig(**SMALL))
    export(write(tmp_path, row), "trl", model=str(model))
    parser = make_parser()
    script, arguments, _, mixture = parser.parse_args_and_config(
        ["--config", str(tmp_path / "subset.trl.yaml"), "--max_steps", "1", "--use_cpu", "true",
         "--bf16", "false", "--output_dir", str(tmp_path / "out"), "--disable_tqdm", "true"],
        fail_with_unknown_args=True,
    )  # fmt: skip
    trainer = SFTTrainer(
        model=str(model),
        args=arguments,
        train_dataset=get_dataset(mixture)[script.dataset_train_split],
    )
    tokenizer = trainer.processing_class
    first = next(iter(trainer.train_dataset))
    learned = [token for token in first["labels"] if token != -100]
    answers = "It is 1.</s>" if row is LAYOUTS["alpaca"] else "It is 1.</s>B</s>"
    assert tokenizer.decode(learned) == answers
    assert "### Instruction:\nWhat is 0 + 1?" in tokenizer.decode(first["input_ids"])
    trainer.train()
    assert trainer.state.global_step == 1


def test_the_headings_are_those_of_the_proxy() -> None:
    from transformers.utils.chat_template_utils import render_jinja_template

    from smalltolarge.examples.table import Message
    from smalltolarge.lm.rendering import alpaca

    turns = [Message(turn["role"], turn["content"]) for turn in WITH_ROLES["messages"]]
    ours = "".join(piece.text + "</s>" for piece in alpaca(turns).pieces)
    theirs, _ = render_jinja_template(
        [WITH_ROLES["messages"]], chat_template=_ALPACA, eos_token="</s>"
    )
    assert theirs[0] == ours


@layouts
def test_llamafactory_reads_the_subset_itself(layout: str, tmp_path: Path) -> None:
    subset = write(tmp_path, LAYOUTS[layout])
    written = export(subset, "llamafactory")
    assert [path.name for path in written] == ["dataset_info.json", "subset.llamafactory.yaml"]
    entry = json.loads((tmp_path / "dataset_info.json").read_text())["subset"]
    assert entry["file_name"] == "subset.jsonl"
    if layout in ("messages", "sharegpt"):
        assert entry["formatting"] == "sharegpt"
        [(column, turns)] = LAYOUTS[layout].items()
        assert entry["columns"] == {"messages": column}
        tags = entry["tags"]
        assert {tags["role_tag"], tags["content_tag"]} == turns[0].keys()
        assert [tags["user_tag"], tags["assistant_tag"]] == [
            turn[tags["role_tag"]] for turn in turns
        ]
    else:
        assert entry["formatting"] == "alpaca"
        columns = entry["columns"]
        row = LAYOUTS[layout]
        assert (row[columns["prompt"]], row[columns["response"]]) == ("Q", "A")
        assert columns.get("query") == ("input" if "input" in row else None)
    settings = settings_of(tmp_path / "subset.llamafactory.yaml")
    assert (settings["dataset"], settings["dataset_dir"]) == ("subset", str(tmp_path))
    assert (settings["stage"], settings["finetuning_type"]) == ("sft", "full")
    assert (settings["template"], settings["cutoff_len"]) == ("alpaca", 512)


@layouts
def test_axolotl_reads_the_subset_or_a_copy(layout: str, tmp_path: Path) -> None:
    subset = write(tmp_path, LAYOUTS[layout])
    export(subset, "axolotl")
    settings = settings_of(tmp_path / "subset.axolotl.yaml")
    [dataset] = settings["datasets"]
    itself = layout in ("alpaca", "messages", "sharegpt")
    assert dataset["path"] == str(subset if itself else tmp_path / "subset.messages.jsonl")
    assert dataset["ds_type"] == "json"
    assert settings["train_on_inputs"] is False
    if layout == "alpaca":
        assert dataset["type"] == "alpaca"
        assert "chat_template" not in settings
        return
    assert (dataset["type"], settings["chat_template"]) == ("chat_template", "alpaca")
    keys = ("from", "value") if layout == "sharegpt" else ("role", "content")
    assert tuple(dataset["message_property_mappings"].values()) == keys
    row = json.loads(Path(dataset["path"]).read_text().splitlines()[0])
    mapping = dataset["message_property_mappings"]
    assert row[dataset["field_messages"]][-1][mapping["content"]] == "It is 1."
    export(subset, "axolotl", template="chat", overwrite=True)
    assert settings_of(tmp_path / "subset.axolotl.yaml")["chat_template"] == "tokenizer_default"


def test_rows_that_a_trainer_would_not_understand_are_copied(tmp_path: Path) -> None:
    roles = {"conversations": [{"from": "user", "value": "Q"}, {"from": "chatgpt", "value": "A"}]}
    lists = {
        "prompt": [{"role": "user", "content": "Q"}],
        "completion": [{"role": "assistant", "content": "A"}],
    }
    for row in (roles, lists):
        export(write(tmp_path, row), "llamafactory", overwrite=True)
        entry = json.loads((tmp_path / "dataset_info.json").read_text())["subset"]
        assert entry["file_name"] == "subset.messages.jsonl"
        copy = json.loads((tmp_path / "subset.messages.jsonl").read_text().splitlines()[0])
        assert [turn["role"] for turn in copy["messages"]] == ["user", "assistant"]
        assert entry["tags"]["assistant_tag"] == "assistant"


def test_other_data_sets_of_llamafactory_stay(tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_text('{"theirs": {"file_name": "x.json"}}')
    export(write(tmp_path, LAYOUTS["alpaca"], "a b.jsonl"), "llamafactory")
    assert json.loads((tmp_path / "dataset_info.json").read_text()).keys() == {"theirs", "a_b"}


def test_what_is_there_is_not_replaced_unasked(tmp_path: Path) -> None:
    subset = write(tmp_path, LAYOUTS["alpaca"])
    export(subset, "trl")
    assert export(subset, "trl")  # the same again
    with pytest.raises(StaleArtifact, match="subset.trl.yaml: there already"):
        export(subset, "trl", model="other")
    export(subset, "trl", model="other", overwrite=True)
    with pytest.raises(RecipeError, match="to is nemo: one of trl, llamafactory, axolotl"):
        export(subset, "nemo")


def test_the_command_says_what_it_wrote(tmp_path: Path, s2l: Cli) -> None:
    write(tmp_path, LAYOUTS["sharegpt"])
    done = s2l("export", "subset.jsonl", "--to", "axolotl", "--model", "my-model")
    assert done.stdout.split() == ["subset.axolotl.yaml"]
    assert settings_of(tmp_path / "subset.axolotl.yaml")["base_model"] == "my-model"
    assert examples.load(tmp_path / "subset.jsonl").format == "sharegpt"
