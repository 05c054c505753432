"""Real files, where there are some: each is read, or answered by what it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from smalltolarge.errors import DataError
from smalltolarge.examples import describe, load, write_subset
from smalltolarge.settings import ReadingSettings

from .conftest import real

NOTES = {"prompt": "dialogue", "completion": "section_text", "source": "section_header"}
FILES: dict[str, tuple[str, dict[str, str] | None]] = {
    "train/mathmix.jsonl": (
        "alpaca: instruction, output; 54,159 rows; source column: source",
        None,
    ),
    "formats/alpaca.json": (
        "alpaca: instruction, input, output; 999 rows; no source column",
        None,
    ),
    "formats/sharegpt.json": ("sharegpt: conversations; 500 rows; no source column", None),
    "formats/sharegpt_toolcall.json": (
        "sharegpt: conversations, tools; 300 rows; no source column",
        None,
    ),
    "formats/messages.jsonl": ("messages: messages; 10 rows; no source column", None),
    "formats/instruction_response.json": (
        "instruction-response: instruction, response; 2 rows; no source column",
        None,
    ),
    "clinical/iu_chest.jsonl": (
        "alpaca: instruction, input, output; 2,691 rows; source column: source",
        None,
    ),
    "clinical/MTS-Dialog-TrainingSet.csv": (
        "prompt-completion: dialogue, section_text; 1,201 rows; source column: section_header",
        NOTES,
    ),
    "clinical/MTS-Dialog-ValidationSet.csv": (
        "prompt-completion: dialogue, section_text; 100 rows; source column: section_header",
        NOTES,
    ),
    "clinical/MTS-Dialog-TestSet-1-MEDIQA-Chat-2023.csv": (
        "prompt-completion: dialogue, section_text; 200 rows; source column: section_header",
        NOTES,
    ),
    "clinical/MTS-Dialog-TestSet-2-MEDIQA-Sum-2023.csv": (
        "prompt-completion: dialogue, section_text; 200 rows; source column: section_header",
        NOTES,
    ),
    "eval/gsm8k.jsonl": (
        "instruction-response: question, answer; 1,319 rows; no source column",
        None,
    ),
}
OTHERS = {
    "formats/preference_pairs.json": "preference pairs",
    "formats/text_only.jsonl": "no boundary between prompt and completion",
    "formats/self_instruct.jsonl": "nested lists",
    "clinical/MIMIC_NOTES.md": "cannot tell what this file is",
    "clinical/NOTEEVENTS.schema.json": "no layout fits its columns (mode, name, type)",
    "clinical/mimic3_rrs_tables.json": "one JSON object over several lines",
    "crosscheck/winogrande_roberta_0_6_data_map_coordinates.jsonl": "no layout fits",
}


@pytest.mark.real_data
@pytest.mark.parametrize("name", FILES)
def test_a_real_file_is_read_whole_and_its_rows_come_back(name: str, tmp_path: Path) -> None:
    path = real(name)
    said, columns = FILES[name]
    examples = load(path, settings=ReadingSettings(columns=columns))
    assert describe(examples) == said
    assert examples.n_read == len(examples)
    assert len(set(examples.ids.tolist())) == len(examples)
    chosen = np.arange(0, len(examples), 7)
    out = tmp_path / f"subset{path.suffix}"
    write_subset(examples, chosen, out)
    again = load(out, settings=ReadingSettings(columns=columns))
    wanted = examples.table["messages"].take(chosen)
    assert again.table["messages"].combine_chunks().equals(wanted.combine_chunks())
    if path.suffix == ".jsonl":
        assert set(out.read_bytes().split(b"\n")) <= set(path.read_bytes().split(b"\n")) | {b""}


@pytest.mark.real_data
@pytest.mark.parametrize("name", OTHERS)
def test_a_real_file_of_another_sort_is_answered_by_what_it_is(name: str) -> None:
    path = real(name)
    with pytest.raises(DataError) as caught:
        load(path)
    assert OTHERS[name] in str(caught.value) and path.name in str(caught.value)


@pytest.mark.real_data
def test_the_clinical_files_are_read_together() -> None:
    pattern = f"{real('clinical')}/MTS-*.csv"
    examples = load(pattern, settings=ReadingSettings(columns=NOTES))
    assert len(examples) == 1201 + 100 + 200 + 200
    assert len(examples.inputs) == 4
