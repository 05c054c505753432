"""Clinical summaries: pairs read, ROUGE and BLEU as counted by hand."""

from __future__ import annotations

import csv
import gzip
import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalltolarge import examples
from smalltolarge.errors import DataError, RecipeError
from smalltolarge.evaluation import TASKS, Question
from smalltolarge.evaluation.summaries import SECTIONS, bleu, load_pairs, plain, rouge
from tests.conftest import real

any_text = st.text(st.characters(exclude_categories=()), max_size=60)
short_words = st.lists(st.sampled_from(["ab", "c", "12", "xyz"]), max_size=8)
MTS = ["ID", "section_header", "section_text", "dialogue"]


def jsonl(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def notes(path: Path, *rows: Sequence[str], header: Sequence[str] = MTS) -> Path:
    with path.open("w", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows([header, *rows])
    return path


# ROUGE


def test_rouge_counts_as_by_hand() -> None:
    # 3 of 3 and of 4 words; 1 of 2 and of 3 neighbours; a common subsequence of 3
    found = rouge("No acute disease.", "No acute pleural disease.")
    assert found == pytest.approx({"rouge1": 6 / 7, "rouge2": 2 / 5, "rougeL": 6 / 7})
    # the same words in another order: a common subsequence of 1
    found = rouge("disease acute no", "no acute disease")
    assert found == pytest.approx({"rouge1": 1.0, "rouge2": 0.0, "rougeL": 1 / 3})
    # a word counts as often as the other side has it: 1 of 3 and of 2
    assert rouge("no no no", "no edema")["rouge1"] == pytest.approx(2 / 5)


def test_rouge_ignores_case_punctuation_and_endings_of_words() -> None:
    assert rouge("Small effusions; stable", "small EFFUSION (stable).")["rougeL"] == 1.0
    assert rouge("ruled out", "rule out")["rouge1"] == 1.0
    assert rouge("gas", "ga")["rouge1"] == 0.0  # words of three letters are not stemmed


@given(short_words, short_words)
def test_rouge_l_is_the_longest_common_subsequence(left: list[str], right: list[str]) -> None:
    longest = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i, one in enumerate(left):
        for j, other in enumerate(right):
            longest[i + 1][j + 1] = (
                longest[i][j] + 1 if one == other else max(longest[i][j + 1], longest[i + 1][j])
            )
    words = len(left) + len(right)  # the harmonic mean of l/m and l/n is 2 l / (m + n)
    wanted = 2 * longest[-1][-1] / words if words else 0.0
    assert rouge(" ".join(left), " ".join(right))["rougeL"] == pytest.approx(wanted)


# BLEU


def test_bleu_counts_as_by_hand() -> None:
    # 4/5 words, 3/4, 2/3 and 1/2 of the runs of two to four
    assert bleu(["a b c d e"], ["a b c d f"])[0] == pytest.approx(100 * (1 / 5) ** 0.25)
    # all right, but four words where there are five
    assert bleu(["a b c d"], ["a b c d e"])[0] == pytest.approx(100 * math.exp(1 - 5 / 4))


def test_bleu_pools_the_counts_of_all_summaries() -> None:
    # 5/6, 3/4, 2/2 and 1/1 over both; the second alone would score 0
    found, _ = bleu(["a b c d", "x y"], ["a b c d", "x z"])
    assert found == pytest.approx(100 * (5 / 6 * 3 / 4) ** 0.25)
    assert bleu(["x y"], ["x z"])[0] == 0.0


def test_bleu_says_how_it_was_computed() -> None:
    _, signature = bleu(["a"], ["a"])
    assert signature.startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")


def test_blanks_before_full_stops_are_no_warning(capfd: pytest.CaptureFixture[str]) -> None:
    lines = ["clear lungs and normal heart ."] * 200
    assert bleu(lines, lines)[0] == 100.0
    assert capfd.readouterr() == ("", "")


# Both


def test_a_leading_header_and_line_ends_are_no_part_of_a_summary() -> None:
    assert plain(" Impression :\n1. No  acute\tdisease. ") == "1. No acute disease."
    assert (
        plain("Impression of edema: IMPRESSION : kept") == "Impression of edema: IMPRESSION : kept"
    )
    with_header = ["IMPRESSION : no acute bony disease", "edema of both the lungs"]
    without = ["no acute bony\ndisease", "impression: edema of both the lungs"]
    for pair in zip(with_header, without, strict=True):
        assert set(rouge(*pair).values()) == {1.0}
    assert bleu(with_header, without)[0] == 100.0


def test_measures_are_means_over_the_summaries() -> None:
    found, wanted = ["no acute disease", "edema", None], ["disease acute no", "edema", "normal"]
    each = [rouge(text or "", reference) for text, reference in zip(found, wanted, strict=True)]
    assert [one["rougeL"] for one in each] == pytest.approx([1 / 3, 1, 0])
    measures = TASKS["mts_dialog"].measures(found, [Question("", one) for one in wanted])
    assert measures["rouge1"] == pytest.approx(2 / 3)
    assert measures["rouge2"] == 0  # a single word has no neighbours
    told = bleu([text or "" for text in found], wanted)
    assert (measures["bleu"], measures["bleu_signature"]) == told


@settings(deadline=None)
@given(st.lists(st.tuples(any_text, any_text), min_size=1, max_size=4))
def test_scores_of_any_text_are_in_range(pairs: list[tuple[str, str]]) -> None:
    summaries, references = ([pair[side] for pair in pairs] for side in (0, 1))
    assert all(0 <= score <= 1 for pair in pairs for score in rouge(*pair).values())
    assert 0 <= bleu(summaries, references)[0] <= 100


@settings(deadline=None)
@given(any_text, st.lists(st.sampled_from(["edema", "No", "4.", "é"]), min_size=4, max_size=9))
def test_a_text_scores_full_marks_against_itself(odd: str, words: list[str]) -> None:
    text = " ".join([*words, "lungs are clear", odd])
    assert rouge(text, text) == {"rouge1": 1.0, "rouge2": 1.0, "rougeL": 1.0}
    assert bleu([text], [text])[0] == pytest.approx(100)


@settings(deadline=None)
@given(any_text)
def test_an_empty_summary_scores_nothing(reference: str) -> None:
    for nothing in ("", " \n", "IMPRESSION :", "..."):
        assert set(rouge(nothing, reference).values()) == {0.0}
    assert bleu([""], [reference])[0] == 0.0


def test_lone_surrogates_are_scored() -> None:
    summary, reference = "\ud800 no acute bone disease", "\udfff no acute bone disease"
    assert rouge(summary, reference)["rougeL"] == 1.0
    assert 0 < bleu([summary], [reference])[0] < 100


def test_summaries_without_their_references_are_refused() -> None:
    with pytest.raises(DataError, match="2 summaries and 1 references"):
        bleu(["a", "b"], ["a"])
    with pytest.raises(DataError, match="no summaries"):
        bleu([], [])


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    with pytest.raises(RecipeError, match=r"pip install 'smalltolarge\[eval\]'"):
        bleu(["a"], ["a"])


def test_the_module_loads_nothing_heavy() -> None:
    heavy = "torch", "transformers", "rouge_score", "nltk", "sacrebleu", "bert_score"
    program = (
        "import sys, smalltolarge.evaluation.summaries;"
        f"sys.exit(', '.join(set({heavy}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.stderr.strip() == b""


# Pairs


def test_prompts_are_those_that_training_on_the_file_has(tmp_path: Path) -> None:
    files = [
        jsonl(
            tmp_path / "alpaca.jsonl",
            {"instruction": "Sum up.", "input": "Clear lungs .", "output": "Normal ."},
            {"instruction": "Sum up: clear.", "input": "", "output": "Normal .", "other": 1},
        ),
        jsonl(
            tmp_path / "mimic.jsonl",
            {"findings": "clear lungs", "impression": "normal", "source": "CT_head", "row_id": 1},
        ),
        jsonl(tmp_path / "short.jsonl", {"instruction": "Sum up: clear.", "output": "Normal"}),
    ]
    for file in files:
        rows: list[Any] = examples.load(file).table["messages"].to_pylist()
        assert load_pairs(file) == [(ask["content"], tell["content"]) for ask, tell in rows]
    assert load_pairs(files[0])[0] == ("Sum up.\n\nClear lungs .", "Normal .")
    assert load_pairs(files[1]) == [("clear lungs", "normal")]


def test_a_dialogue_is_asked_for_the_section_in_words(tmp_path: Path) -> None:
    file = notes(
        tmp_path / "notes.csv",
        ["0", "GENHX", 'He has "spells".', "Doctor: Yes?\r\nPatient: Spells, often."],
        ["1", "FAM/SOCHX", "No smoker.\nNo drinker.", "Doctor: Smoke?\nPatient: No."],
    )
    (first, spells), (second, smoker) = load_pairs(file)
    assert "history of present illness" in first
    assert first.endswith("\n\nDoctor: Yes?\nPatient: Spells, often.")
    assert "family and social history" in second
    assert (spells, smoker) == ('He has "spells".', "No smoker.\nNo drinker.")


def test_every_section_has_its_own_words(tmp_path: Path) -> None:
    assert len(SECTIONS) == len(set(SECTIONS.values())) == 20
    file = notes(tmp_path / "notes.csv", *[["0", name, "x", "Doctor: y"] for name in SECTIONS])
    for (prompt, _), words in zip(load_pairs(file), SECTIONS.values(), strict=True):
        assert f'"{words}"' in prompt and words == words.lower()


def test_packed_files_arrays_and_tables_hold_the_same_pairs(tmp_path: Path) -> None:
    rows = [{"findings": "clear, and so on", "impression": "normal"}] * 2
    file = jsonl(tmp_path / "a.jsonl", *rows)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(file.read_bytes()))
    (tmp_path / "a.json").write_text(json.dumps(rows))
    notes(tmp_path / "a.csv", *[list(row.values()) for row in rows], header=list(rows[0]))
    for name in ("a.jsonl", "a.jsonl.gz", "a.json", "a.csv"):
        assert load_pairs(tmp_path / name) == [("clear, and so on", "normal")] * 2


def test_a_row_without_a_text_is_named_by_its_line_and_column(tmp_path: Path) -> None:
    good = {"findings": "clear", "impression": "normal"}
    bad: list[tuple[Any, str]] = [
        (good | {"impression": " "}, "line 2 .*impression: empty completion; found only white"),
        (good | {"findings": None}, "line 2 .*findings: missing; found null"),
        ({"findings": "clear"}, "line 2 .*impression: missing; found no such field"),
        (good | {"findings": 7}, "line 2 .*findings: not text; found the number 7"),
        (good | {"findings": "\ud800"}, "line 2 .*not valid Unicode"),
        ([1], "line 2 .*not an object"),
        (good | {"findings": [{"role": "user", "content": "a"}] * 2}, "line 2 .*user, user"),
    ]
    for row, message in bad:
        with pytest.raises(DataError, match=message):
            load_pairs(jsonl(tmp_path / "rows.jsonl", good, row))


def test_a_record_over_several_lines_is_named_by_its_first(tmp_path: Path) -> None:
    good = ["0", "CC", "Cough.", "Doctor: Yes?\nPatient: Cough.\nDoctor: Since when?"]
    bad = {
        "section_text: empty completion": ["1", "CC", "", "Doctor: a\nPatient: b"],
        "dialogue: empty prompt": ["1", "CC", "a\nb", " "],
        'section_header: unknown section; found "XHX"; needed: one of ALLERGY': [
            "1", "XHX", "a\nb", "c",
        ],
        "section_header: unknown section; found an empty": ["1", "", "a\nb", "c"],
        "wrong number of fields; found 3 fields": ["1", "CC", "a\nb"],
    }  # fmt: skip
    for message, row in bad.items():
        file = notes(tmp_path / "notes.csv", good, row)  # the header, then lines 2 to 4
        with pytest.raises(DataError, match=f"notes.csv, line 5 .*{message}"):
            load_pairs(file)


def test_files_that_hold_no_pairs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        load_pairs(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="holds no rows"):
        load_pairs(notes(tmp_path / "empty.csv"))
    with pytest.raises(DataError, match=r"columns \(text\) hold none.*findings, impression"):
        load_pairs(jsonl(tmp_path / "text.jsonl", {"text": "a"}))
    both = {"instruction": "a", "output": "b", "findings": "c", "impression": "d"}
    with pytest.raises(DataError, match="more than one"):
        load_pairs(jsonl(tmp_path / "both.jsonl", both))
    (tmp_path / "table.parquet").write_bytes(b"PAR1 and so on")
    with pytest.raises(DataError, match="write the pairs as JSONL or CSV"):
        load_pairs(tmp_path / "table.parquet")


@pytest.mark.real_data
def test_every_row_of_the_real_files_is_a_pair() -> None:
    counts = {
        "iu_chest.jsonl": 2691,
        "MTS-Dialog-TrainingSet.csv": 1201,
        "MTS-Dialog-ValidationSet.csv": 100,
        "MTS-Dialog-TestSet-1-MEDIQA-Chat-2023.csv": 200,
        "MTS-Dialog-TestSet-2-MEDIQA-Sum-2023.csv": 200,
    }
    for name, count in counts.items():
        assert len(load_pairs(real(f"clinical/{name}"))) == count
