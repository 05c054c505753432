"""The subset is the user's own rows: their very bytes, in their order."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from datasets import Dataset
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from smalltolarge.errors import RecipeError, StaleArtifact
from smalltolarge.examples import (
    check_output,
    load,
    refuse_taken,
    rows_as_dataset,
    write_subset,
)
from smalltolarge.settings import ReadingSettings

from .conftest import said

quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
ODD = " \t\r\n\0\x1b\x85\u2028\u2029\ufeff\"'\\,;{}[]é😀aA1"
text = st.text(st.sampled_from(ODD) | st.characters(codec="utf-8"), max_size=12)
filled = text.filter(lambda found: bool(found.strip()))
rows_of_text = st.lists(
    st.fixed_dictionaries(
        {"instruction": filled, "output": filled},
        optional={"input": text, "source": st.none() | text, "extra": st.integers() | text},
    ),
    min_size=1,
    max_size=8,
)
SUFFIXES = ["", ".gz", ".zst"]


def pack(data: bytes, packed: str) -> bytes:
    if packed == ".gz":
        return gzip.compress(data)
    return zstandard.ZstdCompressor().compress(data) if packed else data


def unpack(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(data)
    if path.suffix == ".zst":
        return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()
    return data


def wanted_turns(row: dict[str, Any]) -> list[tuple[str, str]]:
    extra = row.get("input") or ""
    prompt = row["instruction"] + (f"\n\n{extra}" if extra.strip() else "")
    return [("user", prompt), ("assistant", row["output"])]


@quick
@given(
    rows_of_text, st.booleans(), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans(),
    st.sampled_from(SUFFIXES), st.data(),
)  # fmt: skip
def test_jsonl_in_any_guise_gives_the_same_rows_and_its_own_lines_back(
    tmp_path: Path,
    rows: list[dict[str, Any]],
    ascii_only: bool,
    newline: str,
    marked: bool,
    ended: bool,
    packed: str,
    data: Any,
) -> None:
    lines = [
        json.dumps(row, ensure_ascii=ascii_only).encode() + newline[:-1].encode() for row in rows
    ]
    content = b"\xef\xbb\xbf" * marked + b"\n".join(lines) + b"\n" * ended
    path = tmp_path / f"train.jsonl{packed}"
    path.write_bytes(pack(content, packed))
    examples = load(path)
    assert said(examples) == [wanted_turns(row) for row in rows]
    chosen = sorted(data.draw(st.sets(st.integers(0, len(rows) - 1))))
    out = tmp_path / f"subset.jsonl{data.draw(st.sampled_from(SUFFIXES))}"
    assert write_subset(examples, np.array(chosen, dtype=np.int64), out) == out.stat().st_size
    assert unpack(out) == b"".join(lines[place] + b"\n" for place in chosen)
    if chosen:
        again = (
            load(out, settings=ReadingSettings(columns=dict(examples.columns)))
            if set(examples.columns.values()) <= {k for c in chosen for k in rows[c]}
            else None
        )
        if again is not None:
            assert said(again) == [wanted_turns(rows[place]) for place in chosen]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet", "rows", "dataset"])
def test_added_columns_stand_behind_the_rows_own_and_never_in_the_place_of_one(
    tmp_path: Path, kind: str, newline: str
) -> None:
    rows = [{"prompt": f'q "{{n}}" é, {n}', "completion": f"{n}}}", "m": f"{n}"} for n in range(9)]
    table, path = pa.Table.from_pylist(rows), tmp_path / f"data.{kind}"
    if kind == "jsonl":
        path.write_bytes("".join(json.dumps(row) + f" {newline}" for row in rows).encode())
    elif kind == "json":
        path.write_bytes(json.dumps(rows, indent=1).replace("\n", newline).encode())
    elif kind == "csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0], delimiter=";", lineterminator=newline)
            writer.writeheader()
            writer.writerows(rows)
    elif kind == "parquet":
        pq.write_table(table, path, row_group_size=4)
    source: Any = {"rows": rows, "dataset": Dataset(table)}.get(kind, path)
    chosen = np.array([1, 4, 5, 8])
    columns = {
        "s2l_weight": np.array([2.5, 1 / 3, 1e-7, 1e20]),
        "s2l_order": np.array([3, 0, 2, 1]),
    }
    wanted = [
        {**rows[row], **{name: values[place].item() for name, values in columns.items()}}
        for place, row in enumerate(chosen.tolist())
    ]
    examples = load(source)
    refuse_taken(examples, columns)
    assert rows_as_dataset(examples, chosen, columns).to_list() == wanted
    suffix = "jsonl" if kind in ("rows", "dataset") else kind
    out, plain = tmp_path / f"out.{suffix}", tmp_path / f"plain.{suffix}"
    write_subset(examples, chosen, out, columns)
    write_subset(examples, chosen, plain)
    if kind == "csv":
        own, read = plain.read_bytes().splitlines(True), out.read_bytes().splitlines(True)
        assert [line.rsplit(b";", 2)[0] for line in read] == [line.rstrip() for line in own]
        assert all(line.endswith(newline.encode()) for line in read)
    elif kind == "json":
        assert json.loads(out.read_bytes()) == wanted
    elif suffix == "jsonl":
        assert [json.loads(line) for line in out.read_bytes().splitlines()] == wanted
    else:
        assert pq.read_table(out).to_pylist() == wanted
        assert pq.read_schema(plain) == table.schema
    again = load(out)
    assert said(again) == said(load(plain))
    with pytest.raises(RecipeError, match="has a column s2l_order of its own"):
        refuse_taken(again, ["s2l_order"])


@quick
@given(rows_of_text)
@example([{"instruction": "0", "output": "0"}, {"output": "0", "instruction": "0"}])
def test_lf_and_crlf_files_have_the_same_ids(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    found = []
    for newline in ("\n", "\r\n"):
        path = tmp_path / "train.jsonl"
        path.write_bytes("".join(json.dumps(row) + newline for row in rows).encode())
        found.append(load(path).ids.tolist())
    assert found[0] == found[1]


@quick
@given(rows_of_text, st.booleans(), st.sampled_from([None, 2]), st.data())
def test_json_items_come_back_byte_for_byte(
    tmp_path: Path, rows: list[dict[str, Any]], ascii_only: bool, indent: int | None, data: Any
) -> None:
    path, out = tmp_path / "train.json", tmp_path / "subset.json"
    path.write_text(json.dumps(rows, ensure_ascii=ascii_only, indent=indent), "utf-8", newline="")
    examples = load(path)
    assert said(examples) == [wanted_turns(row) for row in rows]
    chosen = sorted(data.draw(st.sets(st.integers(0, len(rows) - 1))))
    write_subset(examples, np.array(chosen, dtype=np.int64), out)
    assert json.loads(out.read_bytes()) == [rows[place] for place in chosen]
    content = path.read_bytes()
    spans = examples.table.select(["start", "end"]).to_pylist()
    items = [content[spans[place]["start"] : spans[place]["end"]] for place in chosen]
    assert out.read_bytes() == (b"[\n" + b",\n".join(items) + b"\n]\n" if chosen else b"[]\n")


@quick
@given(
    st.lists(st.tuples(filled, filled), min_size=1, max_size=8),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(SUFFIXES),
    st.data(),
)
def test_csv_records_come_back_byte_for_byte(
    tmp_path: Path,
    rows: list[tuple[str, str]],
    delimiter: str,
    newline: str,
    packed: str,
    data: Any,
) -> None:
    def written(records: list[tuple[str, str]]) -> bytes:
        buffer = io.StringIO(newline="")
        csv.writer(
            buffer, delimiter=delimiter, lineterminator=newline, quoting=csv.QUOTE_ALL
        ).writerows([("prompt", "completion"), *records])
        return buffer.getvalue().encode()

    path, out = tmp_path / f"train.csv{packed}", tmp_path / "subset.csv"
    path.write_bytes(pack(b"\xef\xbb\xbf" + written(rows), packed))
    examples = load(path)
    assert said(examples) == [[("user", a), ("assistant", b)] for a, b in rows]
    chosen = sorted(data.draw(st.sets(st.integers(0, len(rows) - 1))))
    write_subset(examples, np.array(chosen, dtype=np.int64), out)
    assert out.read_bytes() == b"\xef\xbb\xbf" + written([rows[place] for place in chosen])


def test_several_files_are_written_as_one_in_input_order(tmp_path: Path) -> None:
    lines = [f'{{"prompt": "Q{n}",  "completion": "A"}}' for n in range(9)]
    for part in range(3):
        (tmp_path / f"{part}.jsonl").write_text("\n".join(lines[part * 3 : part * 3 + 3]))
    examples = load(tmp_path)
    write_subset(examples, np.array([0, 2, 7]), tmp_path / "out" / "subset.jsonl")
    wanted = "".join(lines[n] + "\n" for n in (0, 2, 7))
    assert (tmp_path / "out" / "subset.jsonl").read_text() == wanted


def test_every_line_of_a_large_subset_is_an_input_line(tmp_path: Path) -> None:
    path, out = tmp_path / "train.jsonl", tmp_path / "subset.jsonl"
    lines = [
        json.dumps({"id": n, "prompt": f"Q{n % 997}", "completion": "A" * (n % 600)}).encode()
        for n in range(1, 50_001)
    ]
    path.write_bytes(b"\n".join(lines))
    examples = load(path, settings=ReadingSettings(on_bad_row="exclude"))
    assert examples.n_read == 50_000
    chosen = np.flatnonzero(np.random.default_rng(0).random(len(examples)) < 0.1)
    write_subset(examples, chosen, out)
    places = examples.table["row"].to_numpy()[chosen] - 1
    wanted = hashlib.sha256(b"".join(lines[place] + b"\n" for place in places)).hexdigest()
    assert hashlib.sha256(out.read_bytes()).hexdigest() == wanted


def parquet(path: Path, low: int, high: int) -> pa.Table:
    table = pa.table(
        {
            "prompt": pa.array([f"Q{n}" for n in range(low, high)]).dictionary_encode(),
            "completion": pa.array([f"A{n}" for n in range(low, high)], pa.large_string()),
            "extra": pa.array([[{"n": n}] for n in range(low, high)]),
        }
    ).replace_schema_metadata({"mine": "kept"})
    pq.write_table(table, path, row_group_size=4, compression="gzip")
    return table


def test_parquet_is_taken_under_its_own_schema(tmp_path: Path) -> None:
    whole = pa.concat_tables(
        [parquet(tmp_path / "a.parquet", 0, 10), parquet(tmp_path / "b.parquet", 10, 17)]
    )
    examples = load(tmp_path)
    chosen = np.array([0, 5, 6, 9, 10, 16])
    out = tmp_path / "out" / "subset.parquet"
    write_subset(examples, chosen, out)
    found = pq.read_table(out)
    assert found.schema.equals(pq.read_schema(tmp_path / "a.parquet"), check_metadata=True)
    assert found.to_pylist() == whole.take(chosen).to_pylist()
    assert rows_as_dataset(examples, chosen).to_list() == found.to_pylist()


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet", ".jsonl.gz", ""])
def test_a_dataset_is_written_as_the_suffix_says(suffix: str, tmp_path: Path) -> None:
    from datasets import Dataset, load_from_disk

    rows = [{"prompt": f"Q{n}é", "completion": "A\nB", "extra": n} for n in range(6)]
    Dataset.from_list(rows).save_to_disk(tmp_path / "saved")
    for source in (Dataset.from_list(rows), tmp_path / "saved"):
        examples = load(source)
        out = tmp_path / f"subset{suffix}"
        assert write_subset(examples, np.array([1, 4]), out) > 0
        if suffix == "":
            assert load_from_disk(str(out)).to_list() == [rows[1], rows[4]]
            with pytest.raises(RecipeError, match="exists"):
                write_subset(examples, np.array([1]), out)
            for file in sorted(out.rglob("*")):
                file.unlink()
            out.rmdir()
        else:
            assert said(load(out)) == [
                [("user", rows[n]["prompt"]), ("assistant", "A\nB")] for n in (1, 4)
            ]
            assert load(out).table["id"].to_pylist() == (
                examples.table["id"].take([1, 4]).to_pylist()
            )


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv"])
def test_rows_become_a_dataset_with_all_their_columns(kind: str, tmp_path: Path) -> None:
    rows = [{"prompt": f"Q{n}", "completion": "A\nB", "extra": str(n)} for n in range(5)]
    path = tmp_path / f"train.{kind}"
    if kind == "csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter=";")
            writer.writeheader()
            writer.writerows(rows)
    elif kind == "json":
        path.write_text(json.dumps(rows))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert rows_as_dataset(load(path), np.array([1, 3])).to_list() == [rows[1], rows[3]]


@pytest.mark.parametrize(
    ("kind", "name", "right"),
    [
        ("jsonl", "a.json", ".jsonl"),
        ("json", "a.jsonl", ".json"),
        ("csv", "a.parquet", ".csv"),
        ("parquet", "a.jsonl", ".parquet"),
        ("jsonl", "a", ".jsonl"),
        ("jsonl", "a.txt", ".jsonl"),
        ("parquet", "a.parquet.gz", "packed"),
        ("dataset", "a.xlsx", ".parquet"),
    ],
)
def test_an_output_of_another_kind_is_refused_with_the_right_suffix(
    kind: str, name: str, right: str, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=right):
        check_output(kind, tmp_path / name)


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet", "jsonl.gz", "saved"])
def test_an_input_that_changed_is_named_and_nothing_is_written(kind: str, tmp_path: Path) -> None:
    from datasets import Dataset

    rows = [{"prompt": f"Q{n}", "completion": "A"} for n in range(5)]
    path = tmp_path / f"train.{kind}"
    dataset = Dataset.from_list(rows)
    if kind == "saved":
        dataset.save_to_disk(path)
    elif kind == "parquet":
        dataset.to_parquet(path)
    elif kind == "csv":
        dataset.to_csv(path, index=False)
    elif kind == "json":
        path.write_text(json.dumps(rows))
    else:
        data = "".join(json.dumps(row) + "\n" for row in rows).encode()
        path.write_bytes(pack(data, ".gz" if kind.endswith("gz") else ""))
    examples = load(path)
    target = path / "state.json" if kind == "saved" else path
    whole = target.read_bytes()
    out = tmp_path / f"out{'.jsonl' if kind == 'saved' else path.suffix}"
    if kind == "jsonl.gz":
        out = tmp_path / "out.jsonl"
    for place in (len(whole) // 2, len(whole) - 2):
        changed = bytearray(whole)
        changed[place] ^= 1
        target.write_bytes(changed)
        with pytest.raises(StaleArtifact, match="train"):
            write_subset(examples, np.array([0, 2]), out)
        assert not out.exists()
    target.unlink()
    with pytest.raises(StaleArtifact, match="train"):
        write_subset(examples, np.array([0, 2]), out)
    target.write_bytes(whole)
    assert write_subset(examples, np.array([0, 2]), out) > 0
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


@pytest.mark.parametrize("indices", [[1, 0], [0, 0], [-1], [5], [0.5], [[0]]])
def test_row_numbers_must_increase_and_exist(indices: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text('{"prompt": "Q", "completion": "A"}\n' * 5)
    with pytest.raises(RecipeError, match="indices"):
        write_subset(load(path), np.array(indices), tmp_path / "out.jsonl")


def test_equal_subsets_are_equal_bytes_even_packed(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text('{"prompt": "Q", "completion": "A"}\n' * 5)
    examples = load(path)
    for packed in SUFFIXES:
        found = set()
        for name in ("one", "two"):
            out = tmp_path / f"{name}.jsonl{packed}"
            write_subset(examples, np.array([0, 3]), out)
            found.add(out.read_bytes())
        assert len(found) == 1


def test_an_input_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text('{"prompt": "Q", "completion": "A"}\n' * 5)
    (tmp_path / "link.jsonl").symlink_to(path)
    for out in (path, tmp_path / "link.jsonl"):
        with pytest.raises(RecipeError, match="is an input"):
            write_subset(load(path), np.array([0]), out)
    assert len(load(path)) == 5
