"""MIMIC-III's radiology notes as pairs of findings and impression."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
import types
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalltolarge import examples
from smalltolarge.clinical import prepare, prepare_mimic
from smalltolarge.clinical.groups import GROUPS, Rules, Tables
from smalltolarge.clinical.notes import Note, NoteFile
from smalltolarge.clinical.prepare import ELSEWHERE, PARTS, Prepared, cuts
from smalltolarge.clinical.reports import Pair, pair, without_page_breaks
from smalltolarge.errors import (
    DataError,
    Interrupted,
    MissingArtifact,
    OutOfSpace,
    RecipeError,
    StaleArtifact,
)
from tests.conftest import Cli, real
from tests.noteevents import (
    EXAMINATIONS,
    FINDINGS,
    HEADER,
    IMPRESSION,
    Quirks,
    notes,
    report,
    row,
    said,
    write,
)

GOOD = "The brain is as before. The left side is a little smaller, by 3 mm."
END = "No change."


def rows(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def all_rows(folder: Path) -> dict[str, list[dict[str, Any]]]:
    return {part: rows(folder / f"{part}.jsonl") for part in PARTS}


def read(path: Path) -> list[Note]:
    return list(NoteFile(path).notes())


def prepared_from(tmp_path: Path, *given: list[str], **options: Any) -> Prepared:
    file = write(tmp_path / "NOTEEVENTS.csv", given)
    return prepare_mimic(file, tmp_path / "out", **options)


# A report's sections


words = st.text("abcdefgh", min_size=2, max_size=8)
pieces = st.one_of(
    words,
    st.sampled_from(
        ["[**Last Name (un) 12**]", 'the "apron" sign', "C:\\D", "3 x 4 cm.", "note: x"]
    ),
)
bodies = st.lists(pieces, min_size=3, max_size=40).map(" ".join).filter(
    lambda text: any(word.isalpha() for word in masked(text).split() if word != "x")
)  # fmt: skip


@st.composite
def quirky(draw: st.DrawFn) -> tuple[Quirks, str, str]:
    description, group, named = draw(st.sampled_from(EXAMINATIONS))
    truth = st.booleans()
    quirks = Quirks(
        findings=draw(st.sampled_from([*FINDINGS, named])),
        impression=draw(st.sampled_from(IMPRESSION)),
        wet_read=draw(truth),
        pages=draw(st.integers(1, 4)),
        unfinished_page=draw(truth),
        rule_at_end=draw(truth),
        header_alone=draw(truth),
        other_sections=draw(truth),
        crlf=draw(truth),
        impression_first=draw(truth),
    )
    return quirks, description, group


@settings(max_examples=150, deadline=None)
@given(quirky(), bodies, bodies)
def test_both_sections_are_found_whatever_the_quirks(
    case: tuple[Quirks, str, str], findings: str, impression: str
) -> None:
    quirks, description, group = case
    rules = Rules()
    assert rules.group(description) == group
    found = pair(report(findings, impression, quirks), group, rules)
    assert found == Pair(*(masked(text) for text in (findings, impression)))


def masked(text: str) -> str:
    return said(text.replace("[**Last Name (un) 12**]", "___"))


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from("FINAL REPORT\n :(Over)(Cont)[**]_ab"), max_size=300))
def test_no_text_breaks_the_reading_of_a_report(text: str) -> None:
    for group in ("CT_head", "MR_pelvis"):
        found = pair("FINAL REPORT" + text, group, Rules())
        assert isinstance(found, str) or (found.findings and found.impression)


@pytest.mark.parametrize("piece", ["(Over)", "[**", "[** * ", "\n A", "\n " + "A " * 80, "____"])
def test_a_long_strange_note_takes_no_long_time(piece: str) -> None:
    began = time.process_time()
    pair("FINAL REPORT" + piece * (400_000 // len(piece)), "CT_head", Rules())
    assert time.process_time() - began < 5


def test_what_stands_between_pages_goes() -> None:
    assert without_page_breaks("a (Over) head (Cont) b").split() == ["a", "b"]
    assert without_page_breaks("a (Over) head (Cont) b (Over) c").split() == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("FINDINGS: a thing\n IMPRESSION: fine\n", "no final report"),
        (report(GOOD, END, Quirks(impression="CONCLUSION")), "no impression"),
        (report(GOOD, END) + report(GOOD, END).partition("FINAL REPORT")[2], "several impressions"),
        (report(GOOD, END, Quirks(findings="TECHNIQUE")), "no findings"),
        ("FINAL REPORT\n FINDINGS: \n IMPRESSION: fine\n", "empty findings"),
        ("FINAL REPORT\n FINDINGS: a thing\n IMPRESSION:\n", "empty impression"),
        ("FINAL REPORT\n FINDINGS: 3.\n IMPRESSION: fine\n", "findings without a word"),
        ("FINAL REPORT\n FINDINGS: a thing\n IMPRESSION: [**4-1**]\n", "impression without a word"),
    ],
)  # fmt: skip
def test_a_report_that_gives_no_pair_has_a_reason(text: str, reason: str) -> None:
    assert pair(text, "CT_head", Rules()) == reason


def test_a_header_inside_a_line_and_a_mask_begins_no_section() -> None:
    text = report("seen at the time: IMPRESSION: unclear. [**Name\n TITLE: x**] left", END)
    assert pair(text, "CT_head", Rules()) == Pair(
        "seen at the time: impression: unclear. ___ left", "no change."
    )


def final(*lines: str) -> str:
    return "".join(f"\n {line}" for line in ("FINAL REPORT", *lines)) + "\n"


def test_findings_without_a_word_give_way_to_a_section_that_is_named_after_the_study() -> None:
    for findings in ("", " ", " [**2150-4-6**]", "\n ______________"):
        text = final(f"FINDINGS:{findings}", "", f"HEAD CT: {GOOD}", "", f"IMPRESSION: {END}")
        assert pair(text, "CT_head", Rules()) == Pair(said(GOOD), said(END))


def test_the_line_below_a_header_that_stands_alone_is_its_text() -> None:
    text = final("FINDINGS:", "LUNGS: clear", "HEART: large", "IMPRESSION:", "HEART: as before")
    assert pair(text, "CT_chest", Rules()) == Pair("lungs: clear", "heart: as before")
    text = final("HISTORY:", "TECHNIQUE:", f"FINDINGS: {GOOD}", "COMMENT:", f"IMPRESSION: {END}")
    assert pair(text, "CT_head", Rules()) == Pair(said(GOOD), said(END))


def test_a_clinical_impression_is_no_impression() -> None:
    before = "CLINICAL IMPRESSION: a stroke"
    text = final(before, f"FINDINGS: {GOOD}", f"IMPRESSION: {END}")
    assert pair(text, "CT_head", Rules()) == Pair(said(GOOD), said(END))
    assert pair(final(before, f"FINDINGS: {GOOD}"), "CT_head", Rules()) == "no impression"


def test_findings_of_something_else_are_not_the_findings() -> None:
    text = final("INCIDENTAL FINDINGS: a cyst", f"FINDINGS: {GOOD}", f"IMPRESSION: {END}")
    assert pair(text, "CT_head", Rules()) == Pair(said(GOOD), said(END))
    text = final("HISTORY: pain", f"HEAD CT FINDINGS: {GOOD}", f"IMPRESSION: {END}")
    assert pair(text, "CT_head", Rules()) == Pair(said(GOOD), said(END))


@pytest.mark.parametrize("indent", ["", "    ", " " * 30])
def test_a_header_is_known_however_far_it_is_indented(indent: str) -> None:
    text = f"FINAL REPORT\n{indent}FINDINGS : {GOOD}\n{indent}IMPRESSION: {END}\n"
    assert pair(text, "CT_head", Rules()) == Pair(said(GOOD), said(END))


def test_a_line_that_only_rules_off_is_no_text_and_blanks_to_fill_in_are() -> None:
    text = final("FINDINGS: by ______ mm", "_" * 30, "=" * 9, "IMPRESSION: fine", "-" * 5)
    assert pair(text, "CT_head", Rules()) == Pair("by ______ mm", "fine")


def test_the_pages_are_those_of_the_final_report() -> None:
    text = "WET READ: well\n (Over)\n head" + final("(Cont)", f"FINDINGS: {GOOD}")
    text += f" (Over)\n head\n (Cont)\n IMPRESSION: {END}\n"
    assert pair(text, "CT_head", Rules()) == Pair(said(GOOD), said(END))


def test_a_mask_may_hold_brackets_and_ends_before_the_next_begins() -> None:
    text = final("FINDINGS: by [**Name [x] *1**] and [**Name, [**2150**] too", f"IMPRESSION: {END}")
    found = pair(text, "CT_head", Rules())
    assert found == Pair("by ___ and [**name, ___ too", said(END))


@pytest.mark.parametrize(
    ("description", "group"),
    [
        ("CT HEAD W/O CONTRAST", "CT_head"), ("ct  head w/ contrast", "CT_head"),
        ("MRI ABDOMEN W/O CONTRAST", "MR_abdomen"), ("MR-ANGIO HEAD", "MR_head"),
        ("CHEST (PORTABLE AP)", None), ("CT GUIDED ABDOMEN BIOPSY", None), ("MR CHEST", None),
        ("RENAL U.S.", None), ("", None),
    ],
)  # fmt: skip
def test_an_examination_is_known_by_its_words(description: str, group: str | None) -> None:
    assert Rules().group(description) == group


def test_compression_is_no_impression() -> None:
    assert Rules().header("compression") == "compression"
    assert Rules().header("history") == "history"


@pytest.mark.real_data
def test_our_rules_agree_with_the_published_lists() -> None:
    path = real("clinical/mimic3_rrs_tables.json")
    tables, lists, rules = Tables.read(path), json.loads(path.read_text()), Rules()
    for group, descriptions in lists["description_to_modality_anatomy"].items():
        for description in descriptions:
            assert rules.group(description) == tables.group(description) == group
    for name in ("findings", "impression"):
        for spelling in lists["section_header_typos"][name]:
            plain = said(spelling)
            assert rules.header(plain) == tables.header(plain) == name
    named = [
        rules.findings(group, [rules.header(header)]) == [0]
        for group, headers in lists["findings_headers_by_priority"].items()
        for header in headers
    ]
    assert sum(named) / len(named) > 0.98
    assert set(lists["findings_headers_by_priority"]) == set(GROUPS)


# The file


def test_the_dialect_of_the_file_is_read(tmp_path: Path) -> None:
    text = 'a "quoted" thing\n\n with C:\\new, "ends""\r\n in a quote"'
    given_rows = [
        row(1, 7, text),
        row(2, 8, "x", DESCRIPTION='CT "HEAD"', ISERROR="1"),
        row(3, 9, "y", ISERROR="1.0", CATEGORY="Physician ", HADM_ID=""),
    ]
    for name in ("NOTEEVENTS.csv", "NOTEEVENTS.csv.gz"):
        found = read(write(tmp_path / name, given_rows))
        assert [note.row_id for note in found] == [1, 2, 3]
        assert found[0].text == text and found[0].is_text
        assert found[1].description == 'CT "HEAD"'
        assert [note.is_error for note in found] == [False, True, True]
        assert found[2].category == "Physician"


def test_names_of_columns_may_be_in_lower_case_and_any_order(tmp_path: Path) -> None:
    file = tmp_path / "notes.csv"
    order = [5, 3, 0, 10, 1, 6, 7, 9]
    with file.open("w", newline="", encoding="utf-8-sig") as out:
        writer = csv.writer(out)
        writer.writerow([HEADER[place].lower() for place in order])
        writer.writerow([row(4, 5, "text")[place] for place in order])
    (note,) = read(file)
    assert (note.row_id, note.subject_id, note.text) == (4, 5, "text")


def test_bytes_that_are_no_text_are_left_out_with_a_reason(tmp_path: Path) -> None:
    file = write(tmp_path / "NOTEEVENTS.csv", [row(1, 1, "GARBAGE"), row(2, 2, report(GOOD, END))])
    file.write_bytes(file.read_bytes().replace(b"GARBAGE", b"\xff\x00\x1b\xfe"))
    prepared = prepare_mimic(file, tmp_path / "out")
    assert prepared.left_out["not text"] == 1 and prepared.written == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("ROW_ID,TEXT\n1,a\n", "line 1: no column SUBJECT_ID, CATEGORY, DESCRIPTION, ISERROR"),
        (f"{','.join(HEADER)}\n1,2,3\n", "line 2, the whole row: found 3 fields, 11 are in"),
        (f"{','.join(HEADER)}\nx,2,,,,,,,,,secret\n", 'line 2, ROW_ID: found "x", a whole number'),
        (f"{','.join(HEADER)}\n1,,,,,,,,,,secret\n", 'SUBJECT_ID: found "", a whole number'),
        (f"{','.join(HEADER)}\n1,2,,,,,,,,yes,secret\n", 'ISERROR: found "yes", 1 or nothing'),
        (f'{",".join(HEADER)}\n1,2,,,,,,,,,"secret\n\nb\n', "lines 2 to 4, the whole row: found"),
        (f'{",".join(HEADER)}\n1,2,,,,,,,,,"sec"ret\n', "line 2, the whole row: found broken"),
    ],
)
def test_a_damaged_row_is_named_without_its_text(
    content: str, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "NOTEEVENTS.csv"
    file.write_text(content)
    with pytest.raises(DataError) as caught:
        prepare_mimic(file, tmp_path / "out")
    assert message in str(caught.value) and str(file) in str(caught.value)
    assert "sec" not in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_record_without_an_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smalltolarge.clinical.notes.LIMIT", 1000)
    file = write(tmp_path / "NOTEEVENTS.csv", [row(1, 1, "line\n" * 300)])
    with pytest.raises(DataError, match="lines 2 to .*more than 1,000 bytes; a quote may be miss"):
        prepare_mimic(file, tmp_path / "out")


def test_a_file_without_any_pair_is_refused_with_the_reasons(tmp_path: Path) -> None:
    for given_rows in ([], [row(1, 1, "x", CATEGORY="Nursing"), row(2, 1, "x")]):
        with pytest.raises(DataError, match=r"none of its \d rows gives a pair") as caught:
            prepared_from(tmp_path, *given_rows)
        assert list((tmp_path / "out").iterdir()) == []
    assert "(1 not radiology, 1 no final report)" in str(caught.value)


def test_a_cut_packed_file_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "NOTEEVENTS.csv.gz", notes(50))
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DataError, match="ends too early"):
        prepare_mimic(file, tmp_path / "out")


def test_notes_come_one_at_a_time(tmp_path: Path) -> None:
    """What memory holds does not grow with the file: rows pass through generators."""
    file = write(tmp_path / "NOTEEVENTS.csv", notes(3000))
    taken: list[int] = []
    reading = NoteFile(file, taken.append)
    found = reading.notes()
    assert isinstance(found, types.GeneratorType)
    next(found)
    assert sum(taken) <= 1 << 20 < file.stat().st_size

    made = 0

    def endless() -> Iterator[Note]:
        nonlocal made
        while True:
            made += 1
            yield Note(made, made, "Radiology", "CT HEAD W/O CONTRAST", False, text, True)

    text = report(GOOD, END)
    work = prepare._Reading(Rules(), keep_duplicates=True)
    lines = work.lines(endless())
    for wanted in range(1, 6):
        next(lines)
        assert made == wanted
    held = [value for value in vars(work).values() if isinstance(value, list | dict | set)]
    assert sum(map(len, held)) <= len(GROUPS)


# What is written


def test_every_row_is_accounted_for(tmp_path: Path) -> None:
    good = report(GOOD, END)
    prepared = prepared_from(
        tmp_path,
        row(1, 1, good),
        row(2, 1, good),
        row(3, 1, report(GOOD, "Other."), CATEGORY="radiology"),
        row(4, 1, report(GOOD, "Other."), CATEGORY="Nursing"),
        row(5, 2, report(GOOD, "Other."), ISERROR="1"),
        row(6, 2, report(GOOD, "Other."), DESCRIPTION="CHEST (PORTABLE AP)"),
        row(7, 2, report(GOOD, "Other.", Quirks(findings="TECHNIQUE"))),
        row(8, 2, "nothing"),
    )
    assert prepared.left_out == {
        "duplicate": 1, "not radiology": 2, "marked as an error": 1, "other examination": 1,
        "no findings": 1, "no final report": 1,
    }  # fmt: skip
    assert prepared.written == 1
    assert prepared.rows == 8 == prepared.written + sum(prepared.left_out.values())
    counts = json.loads((tmp_path / "out" / "counts.json").read_text())
    assert counts["rows"] == 8 == counts["written"] + sum(counts["left_out"].values())
    assert counts["groups"]["CT_head"]["notes"] == 5
    kept = prepared_from(
        tmp_path, row(1, 1, good), row(2, 1, good), keep_duplicates=True, overwrite=True
    )
    assert kept.written == 2


def test_the_files_are_read_as_prompts_and_completions(tmp_path: Path) -> None:
    prepared_from(tmp_path, *notes(60))
    found = all_rows(tmp_path / "out")
    for row_ in found["train"]:
        assert list(row_) == ["findings", "impression", "source", "row_id"]
        assert row_["source"] in GROUPS
    read_back = examples.load(tmp_path / "out" / "train.jsonl")
    table = read_back.table.to_pylist()
    assert len(table) == len(found["train"])
    assert {row_["source"] for row_ in table} == {row_["source"] for row_ in found["train"]}


def test_no_patient_is_in_two_parts_and_no_identity_is_written(tmp_path: Path) -> None:
    given_rows = list(notes(600))
    patient = {int(given_row[0]): given_row[1] for given_row in given_rows}
    prepared = prepared_from(tmp_path, *given_rows)
    parts: dict[str, set[str]] = defaultdict(set)
    for part, written in all_rows(tmp_path / "out").items():
        for row_ in written:
            parts[patient[row_["row_id"]]].add(part)
            held_out = GROUPS[row_["source"]].held_out
            assert part == "test" or not held_out
            assert "[**" not in row_["findings"] + row_["impression"]
    assert set(map(len, parts.values())) == {1}
    share = Counter(next(iter(part)) for part in parts.values())
    assert 0.7 < share["train"] / len(parts) < 0.9
    assert prepared.left_out[ELSEWHERE] > 0
    assert prepared.written + prepared.left_out[ELSEWHERE] == 600
    text = "".join((tmp_path / "out" / f"{part}.jsonl").read_text() for part in PARTS)
    assert not any(f'"{number}"' in text or f" {number}" in text for number in patient.values())


def test_the_published_split_cuts_every_group(tmp_path: Path) -> None:
    prepared = prepared_from(tmp_path, *notes(300), split="reports")
    assert prepared.written == 300 and prepared.left_out[ELSEWHERE] == 0
    for group, told in GROUPS.items():
        counts = [prepared.pairs[group, part] for part in PARTS]
        n = sum(counts)
        train, validate = (0, 0) if told.held_out else cuts(n)
        assert counts == [train, validate, n - train - validate]


def test_the_published_numbers_follow_from_the_published_cuts() -> None:
    for told in GROUPS.values():
        if not told.held_out:
            assert cuts(told.pairs) == (told.train, told.validate)
    assert sum(told.train for told in GROUPS.values()) == 59_320
    assert sum(told.validate for told in GROUPS.values()) == 7_413
    assert sum(told.test for told in GROUPS.values()) == 13_057


@pytest.mark.parametrize("split", ["patients", "reports"])
def test_the_split_depends_on_the_notes_and_the_seed_alone(split: Any, tmp_path: Path) -> None:
    plain = write(tmp_path / "NOTEEVENTS.csv", notes(200))
    packed = write(tmp_path / "NOTEEVENTS.csv.gz", notes(200))
    folders = [tmp_path / name for name in "abc"]
    prepare_mimic(plain, folders[0], split=split)
    prepare_mimic(packed, folders[1], split=split)
    prepare_mimic(plain, folders[2], split=split, seed=1)
    assert all_rows(folders[0]) == all_rows(folders[1]) != all_rows(folders[2])


def test_a_patient_stays_where_more_notes_are_given(tmp_path: Path) -> None:
    given_rows = list(notes(200))
    prepare_mimic(write(tmp_path / "all.csv", given_rows), tmp_path / "all")
    prepare_mimic(write(tmp_path / "some.csv", given_rows[::2]), tmp_path / "some")
    everything = all_rows(tmp_path / "all")
    for part, some in all_rows(tmp_path / "some").items():
        assert all(row_ in everything[part] for row_ in some)


def test_given_tables_are_followed_exactly(tmp_path: Path) -> None:
    tables = tmp_path / "tables.json"
    content = {
        "description_to_modality_anatomy": {"CT_head": ["SKULL"]},
        "section_header_typos": {"impression": ["conclusion"]},
        "findings_headers_by_priority": {"CT_head": ["third", "second", "first"]},
    }
    tables.write_text(json.dumps(content))
    text = "FINAL REPORT\n THIRD: \n FIRST: one\n SECOND: two\n CONCLUSION: three\n"
    file = write(
        tmp_path / "NOTEEVENTS.csv",
        [row(1, 1, text, DESCRIPTION="SKULL"), row(2, 1, text), row(3, 1, "", DESCRIPTION="SKULL")],
    )
    prepared = prepare_mimic(file, tmp_path / "out", tables=tables, split="reports")
    (found,) = [row_ for part in all_rows(tmp_path / "out").values() for row_ in part]
    assert (found["findings"], found["impression"]) == ("two", "three")
    assert prepared.left_out["other examination"] == 1

    del content["section_header_typos"]
    tables.write_text(json.dumps(content))
    with pytest.raises(DataError, match="tables.json, section_header_typos: an object from names"):
        Tables.read(tables)
    content["section_header_typos"] = {}
    content["description_to_modality_anatomy"] = {"CT_foot": []}
    tables.write_text(json.dumps(content))
    with pytest.raises(DataError, match="no group is called CT_foot"):
        Tables.read(tables)
    tables.write_text("[")
    with pytest.raises(DataError, match="not JSON"):
        Tables.read(tables)


# Whole or not at all


def test_nothing_there_is_replaced_unasked(tmp_path: Path) -> None:
    file = write(tmp_path / "NOTEEVENTS.csv", notes(20))
    prepare_mimic(file, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert sorted(before) == ["counts.json", "test.jsonl", "train.jsonl", "validate.jsonl"]
    with pytest.raises(StaleArtifact, match="train.jsonl: there already.*--overwrite"):
        prepare_mimic(file, tmp_path / "out", seed=3)
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    prepare_mimic(file, tmp_path / "out", overwrite=True)
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}


def test_the_input_is_never_written_to(tmp_path: Path) -> None:
    file = write(tmp_path / "train.jsonl", notes(5))
    with pytest.raises(RecipeError, match="is the input"):
        prepare_mimic(file, tmp_path, overwrite=True)


def test_a_run_that_is_stopped_leaves_nothing_and_can_be_given_again(tmp_path: Path) -> None:
    file = write(tmp_path / "NOTEEVENTS.csv", notes(20))

    def stop() -> None:
        raise Interrupted("stopped")

    with pytest.raises(Interrupted, match="nothing was written. Give the same command again"):
        prepare_mimic(file, tmp_path / "out", check=stop)
    assert list((tmp_path / "out").iterdir()) == []
    assert prepare_mimic(file, tmp_path / "out").rows == 20


def test_a_run_that_is_killed_leaves_no_half_file(tmp_path: Path) -> None:
    """Killed where all is in the files aside, just before the first gets its name."""
    file = write(tmp_path / "NOTEEVENTS.csv", notes(30))
    script = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom smalltolarge import store\n"
        "from smalltolarge.clinical import prepare_mimic\n"
        "os.link = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"prepare_mimic(Path({str(file)!r}), Path({str(tmp_path / 'out')!r}))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == -signal.SIGKILL
    left = list((tmp_path / "out").iterdir())
    assert left and all(path.name.endswith(".s2l-part") for path in left)
    prepare_mimic(file, tmp_path / "out")
    prepare_mimic(file, tmp_path / "whole")
    for folder in ("out", "whole"):
        assert len(list((tmp_path / folder).iterdir())) == 4
    assert all_rows(tmp_path / "out") == all_rows(tmp_path / "whole")


def test_a_full_disk_is_named_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "NOTEEVENTS.csv", notes(20))

    def full(*paths: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutOfSpace, match="json: No space left"):
        prepare_mimic(file, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


# The command


def test_the_command_tells_its_counts_beside_the_published(tmp_path: Path, s2l: Cli) -> None:
    write(tmp_path / "NOTEEVENTS.csv.gz", notes(40))
    told = s2l("prepare", "mimic", "NOTEEVENTS.csv.gz", "--out", "mimic", "--split", "reports")
    assert "(31,403)" in told.stdout and "(59,320)" in told.stdout
    assert "40 rows read" in told.stdout
    assert len(told.stderr) == 0
    assert "mimic/train.jsonl" in told.stdout


def test_the_command_says_what_is_wrong(tmp_path: Path, s2l: Cli) -> None:
    write(tmp_path / "n.csv", notes(3))
    out = ("--out", "mimic")
    assert "only kind is mimic" in s2l("prepare", "eicu", "n.csv", *out, expect=2).stderr
    wrong = s2l("prepare", "mimic", "n.csv", *out, "--split", "x", expect=2)
    assert "--split x: patients or reports" in wrong.stderr
    assert "no such file" in s2l("prepare", "mimic", "none.csv", *out, expect=4).stderr
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    assert "no column ROW_ID" in s2l("prepare", "mimic", "bad.csv", *out, expect=3).stderr
    with pytest.raises(MissingArtifact):
        prepare_mimic(tmp_path / "none.csv", tmp_path / "mimic")
    with pytest.raises(RecipeError, match="split: x; allowed: patients, reports"):
        prepare_mimic(tmp_path / "n.csv", tmp_path / "mimic", split="x")  # type: ignore[arg-type]
