"""Whatever is wrong with the data is said with its file, place and field; nothing is guessed."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smalltolarge.errors import DataError
from smalltolarge.examples import load
from smalltolarge.settings import ReadingSettings

from .conftest import LAYOUTS, said

quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
EXCLUDE = ReadingSettings(on_bad_row="exclude")
N = 7


def refused(source: Any, how: ReadingSettings | None = None) -> str:
    with pytest.raises(DataError) as caught:
        load(source, settings=how or ReadingSettings())
    said = str(caught.value)
    assert said.isprintable() or "\n" in said
    assert "\x1b" not in said
    return said


def good_line(layout: str, number: int) -> bytes:
    text = json.dumps(LAYOUTS[layout]).replace('"Q"', f'"Q{number}"')
    return text.encode()


def with_answer(layout: str, answer: bytes) -> bytes:
    return good_line(layout, 0).replace(b'"A"', answer)


CORRUPTIONS: dict[str, tuple[str, Callable[[str], bytes]]] = {
    "garbage": ("not JSON", lambda layout: b"%%% garbage"),
    "cut short": ("not JSON", lambda layout: good_line(layout, 0)[:-9]),
    "two rows in a line": ("not JSON", lambda layout: good_line(layout, 0) * 2),
    "a list": ("not an object", lambda layout: b'["a", "b"]'),
    "a number": ("not an object", lambda layout: b"17"),
    "bytes that are no text": ("not valid Unicode", lambda layout: with_answer(layout, b'"\xff"')),
    "a lone surrogate": ("not valid Unicode", lambda layout: with_answer(layout, b'"\\ud800"')),
    "null": ("missing", lambda layout: with_answer(layout, b"null")),
    "blank": ("empty completion", lambda layout: with_answer(layout, b'" \\n"')),
    "a number for a text": ("not text", lambda layout: with_answer(layout, b"3")),
    "NaN for a text": ("not text", lambda layout: with_answer(layout, b"NaN")),
    "a list for a text": ("", lambda layout: with_answer(layout, b'["a"]')),
    "nested too deep": (
        "nested too deep",
        lambda layout: good_line(layout, 0)[:-1] + b',"z":' + b"[" * 300 + b"]" * 300 + b"}",
    ),
    "nested far too deep": (
        "nested too deep",
        lambda layout: good_line(layout, 0)[:-1] + b',"z":' + b"[" * 5000 + b"]" * 5000 + b"}",
    ),
    "a field twice": (
        "duplicate key",
        lambda layout: b"{" + good_line(layout, 0)[1:-1] + b"," + good_line(layout, 1)[1:],
    ),
    "no such field": ("missing", lambda layout: b'{"id": 1}'),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_bad_line_is_named_wherever_it_is(name: str, layout: str, tmp_path: Path) -> None:
    reason, make = CORRUPTIONS[name]
    for place in (0, N // 2, N - 1):
        lines = [good_line(layout, number) for number in range(N)]
        lines[place] = make(layout)
        path = tmp_path / "train.jsonl"
        path.write_bytes(b"\n".join(lines) + b"\n")
        said = refused(path)
        start = sum(len(line) + 1 for line in lines[:place])
        assert f"train.jsonl, line {place + 1} (byte {start})" in said
        assert reason in said
        assert "1 of 7 rows" in said
        assert "--on-bad-row exclude" in said
        if reason in ("missing", "empty completion", "not text", "duplicate key"):
            assert any(f", {field}" in said for field in LAYOUTS[layout])
        examples = load(path, settings=EXCLUDE)
        assert len(examples) == N - 1 and examples.n_read == N
        (gone,) = examples.excluded.to_pylist()
        assert gone["row"] == place + 1 and reason in gone["reason"] and gone["found"]


@pytest.mark.parametrize("name", ["a list", "null", "blank", "a number for a text"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_bad_item_of_an_array_is_named(name: str, layout: str, tmp_path: Path) -> None:
    reason, make = CORRUPTIONS[name]
    items = [good_line(layout, number) for number in range(N)]
    items[3] = make(layout)
    path = tmp_path / "train.json"
    path.write_bytes(b"[\n" + b",\n".join(items) + b"\n]")
    start = 2 + sum(len(item) + 2 for item in items[:3])
    assert f"train.json, item 4 (byte {start})" in refused(path)
    assert load(path, settings=EXCLUDE).excluded["reason"].to_pylist() == [reason]


def test_a_field_twice_matters_only_where_it_is_used(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text('{"prompt": "Q", "completion": "A", "id": 1, "id": 2, "x": NaN}\n')
    assert len(load(path)) == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@quick
@given(json_values, st.sampled_from(["prompt", "completion"]))
def test_no_value_ever_becomes_text_that_was_not(tmp_path: Path, value: Any, field: str) -> None:
    rows = [LAYOUTS["prompt-completion"], LAYOUTS["prompt-completion"] | {field: value}]
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    examples = load(path, settings=EXCLUDE)
    assert examples.n_read == 2
    is_text = isinstance(value, str) and bool(value.strip())
    assert len(examples) == (2 if is_text else 1)
    if is_text:
        assert value in [text for turns in said(examples) for _, text in turns]


messages = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["system", "user", "assistant", "tool", "narrator", ""]),
            "content": st.sampled_from(["text", "", " ", None, 3]),
        }
    ),
    max_size=5,
)


@quick
@given(messages)
def test_a_conversation_is_used_whole_or_refused_with_its_reason(
    tmp_path: Path, turns: list[dict[str, Any]]
) -> None:
    path = tmp_path / "train.jsonl"
    rows = [LAYOUTS["messages"], {"messages": turns}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    examples = load(path, settings=EXCLUDE)
    assert examples.n_read == 2
    for found in said(examples):
        roles = [role for role, _ in found]
        assert roles[-1] == "assistant" and len(roles) > 1 and "system" not in roles[1:]
        assert all(text.strip() for role, text in found if role != "tool")


def test_bad_rows_are_counted_by_reason_and_three_of_each_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    rows: list[dict[str, Any]] = [
        {"prompt": "Q", "completion": "" if n % 2 else "A"} for n in range(100)
    ]
    rows[98] = {"prompt": "Q", "completion": 7}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = refused(path).splitlines()
    assert lines[0].endswith("51 of 100 rows cannot be used: 50 empty completion, 1 not text")
    assert [re.search(r"line (\d+)", line)[1] for line in lines if ", line " in line] == [  # type: ignore[index]
        "2", "4", "6", "99",
    ]  # fmt: skip
    assert lines[4] == "  and 47 more: empty completion"
    assert len(lines) == 7


def test_excluding_every_row_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text('{"prompt": "Q", "completion": ""}\n' * 3)
    assert "No row is left" in refused(path, EXCLUDE)


def test_control_characters_are_escaped_in_messages(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(b'{"prompt": "Q", "completion": ["\x5cu001b[31m\x5cu202e"]}\n')
    said = refused(path)
    assert "\x1b" not in said and "\u202e" not in said


def test_blank_lines_keep_physical_line_numbers(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    content = b'\xef\xbb\xbf\n \r\n{"prompt":"Q","completion":"A"}\r\n\n{"prompt":1}'
    path.write_bytes(content)
    assert f"line 5 (byte {len(content) - 12})" in refused(path)
    assert load(path, settings=EXCLUDE).table["row"].to_pylist() == [3]


def test_a_line_above_the_limit_names_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    line = json.dumps({"prompt": "Q", "completion": "A" * 3000})
    path.write_text(f'{{"prompt": "Q", "completion": "A"}}\n{line}\n')
    said = refused(path, ReadingSettings(max_line_bytes=1000))
    assert "line 2" in said and "1,000 (--max-line-bytes)" in said
    how = ReadingSettings(max_line_bytes=1000, on_bad_row="exclude")
    assert load(path, settings=how).n_read == 2


def test_repair_replaces_what_is_not_text(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(
        b'{"prompt":"a\xffb","completion":"c\\ud800"}\n{"prompt":"a","completion":"b"}'
    )
    examples = load(path, settings=ReadingSettings(repair_text=True))
    assert said(examples)[0] == [("user", "a\ufffdb"), ("assistant", "c\ufffd")]
    assert "train.jsonl, line 1" in caplog.text


def test_huge_integers_are_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text('{"prompt": "Q", "completion": "A", "n": ' + "9" * 10_000 + "}\n")
    assert len(load(path)) == 1


# --- CSV --------------------------------------------------------------------------------------


def write_csv(path: Path, records: list[str]) -> Path:
    path.write_text("prompt,completion\n" + "".join(record + "\n" for record in records))
    return path


@pytest.mark.parametrize("place", [0, 2, 4])
@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("only one", "wrong number of fields"),
        ("a,b,c", "wrong number of fields"),
        ("Q,", "empty completion"),
        (' ,"A"', "empty prompt"),
    ],
)
def test_a_bad_record_is_named_by_its_first_line(
    record: str, reason: str, place: int, tmp_path: Path
) -> None:
    records = ['"Q\nQ",A'] * 5
    records[place] = record
    path = write_csv(tmp_path / "train.csv", records)
    said = refused(path)
    assert f"train.csv, line {2 + 2 * place} (byte" in said and reason in said
    assert load(path, settings=EXCLUDE).n_read == 5


@pytest.mark.parametrize("how", [ReadingSettings(), EXCLUDE])
def test_broken_quoting_is_damage_named_by_its_first_line(
    how: ReadingSettings, tmp_path: Path
) -> None:
    path = write_csv(tmp_path / "train.csv", ["Q,A", '"Q,A', "Q,A", "Q,A"])
    assert "train.csv, line 3 (byte 22)" in (said := refused(path, how))
    assert "never closed" in said


def test_a_field_above_the_usual_limit_is_read(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "train.csv", [f"Q,{'A' * 300_000}"])
    assert len(load(path)) == 1


def test_csv_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_bytes(b"prompt,completion\nQ,A\nQ,\xe9\n")
    assert "0xe9 at byte 24" in refused(path)
    assert load(path, settings=EXCLUDE).excluded["reason"].to_pylist() == ["not valid Unicode"]
    assert len(load(path, settings=ReadingSettings(repair_text=True))) == 2


def test_files_with_different_headers_are_refused(tmp_path: Path) -> None:
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    one.write_text("prompt,completion\nQ,A\n")
    two.write_text("completion,prompt\nA,Q\n")
    said = refused([one, two])
    assert "one.csv" in said and "two.csv" in said and "header" in said


# --- files ------------------------------------------------------------------------------------

LINES = b"".join(good_line("alpaca", n) + b"\n" for n in range(300))


def table(rows: int = 300) -> pa.Table:
    return pa.table({"prompt": [f"Q{n}" for n in range(rows)], "completion": ["A"] * rows})


def parquet_bytes() -> bytes:
    sink = io.BytesIO()
    pq.write_table(table(), sink, write_page_checksum=True)
    return sink.getvalue()


def packed(kind: str) -> bytes:
    if kind == "gz":
        return gzip.compress(LINES)
    if kind == "zst":
        return zstandard.ZstdCompressor(write_checksum=True).compress(LINES)
    return parquet_bytes()


@pytest.mark.parametrize("kind", ["gz", "zst", "parquet"])
@pytest.mark.parametrize("how", [ReadingSettings(), EXCLUDE])
def test_a_file_cut_short_is_never_read_in_part(
    kind: str, how: ReadingSettings, tmp_path: Path
) -> None:
    whole = packed(kind)
    path = tmp_path / ("a.parquet" if kind == "parquet" else f"a.jsonl.{kind}")
    path.write_bytes(whole)
    assert len(load(path, settings=how)) == 300
    for cut in range(50):
        path.write_bytes(whole[: len(whole) * cut // 50])
        assert path.name in refused(path, how)


@pytest.mark.parametrize("kind", ["gz", "zst", "parquet"])
def test_a_flipped_byte_is_an_error_or_harmless(kind: str, tmp_path: Path) -> None:
    whole = packed(kind)
    path = tmp_path / ("a.parquet" if kind == "parquet" else f"a.jsonl.{kind}")
    path.write_bytes(whole)
    wanted = load(path).ids.tobytes()
    for place in range(0, len(whole), max(len(whole) // 200, 1)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        path.write_bytes(damaged)
        try:
            found = load(path).ids.tobytes()
        except DataError as error:
            found = wanted if path.name in str(error) else str(error).encode()
        assert found == wanted


def test_members_and_frames_that_follow_each_other_are_all_read(tmp_path: Path) -> None:
    for kind in ("gz", "zst"):
        path = tmp_path / f"a.jsonl.{kind}"
        path.write_bytes(packed(kind) * 3 + (b"\0" * 700 if kind == "gz" else b""))
        assert len(load(path)) == 900


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", b"", "empty"),
        ("a.jsonl", b" \n\n", "white space"),
        ("a.json", b"[]", "no rows"),
        ("a.csv", b"prompt,completion\n", "no rows beyond the header (prompt, completion)"),
        ("a.csv", b"prompt\n", "fewer than two columns"),
        ("a.csv", b"prompt,completion\rQ,A\r", "carriage returns"),
        ("a.jsonl", b"<!DOCTYPE html><html>404</html>", "HTML"),
        ("a.jsonl.gz", b"\n<html>404</html>", "HTML"),
        ("a.parquet", b"PAR2 something", "is named Parquet but is not"),
        ("a.json", b'{\n "data": [\n {"prompt": "a"}\n]\n}', "one JSON object"),
        ("a.json", b'[{"prompt": "a", "completion": "b"},\n {"prompt": ', "line 2"),
        ("a.json", b'[{"prompt": "a", "completion": "b"}] x', "more text after the array"),
        ("a.json", b'[{"prompt": "a", "completion": "b"} {}]', "no , or ]"),
        ("a.jsonl", "{}".encode("utf-16"), "UTF-16"),
        ("a.csv", "prompt,completion".encode("utf-16-le"), "UTF-16LE"),
        ("a.jsonl", b"PK\x03\x04abcd", "ZIP"),
        ("a.jsonl", b"BZh91AY", "bzip2"),
        ("a.bin", b"hello", "cannot tell what this file is"),
        ("a.jsonl", b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
    ],
)
def test_a_file_that_is_something_else_is_called_what_it_is(
    name: str, content: bytes, words: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    said = refused(path)
    assert name in said and words in said


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("array.jsonl", b"[" + good_line("alpaca", 1) + b"]"),
        ("lines.json", LINES),
        ("lines.csv", LINES),
        ("lines", LINES),
        ("packed.jsonl", gzip.compress(LINES)),
        ("plain.jsonl.gz", LINES),
        ("table.jsonl", parquet_bytes()),
    ],
)
def test_the_content_decides_not_the_suffix(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert len(load(path)) in (1, 300)


def test_what_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "empty").mkdir()
    (tmp_path / "one.jsonl").write_bytes(LINES)
    (tmp_path / "two.csv").write_text("prompt,completion\nQ,A\n")
    assert "no such file" in refused(tmp_path / "none.jsonl")
    assert "no such file" in refused("none.jsonl")
    assert "no such file" in refused("./owner/name")
    monkeypatch.chdir(tmp_path)
    assert "no such file" in refused("empty/none")
    assert "no file matches" in refused(str(tmp_path / "*.parquet"))
    assert "a pipe or a device" in refused(tmp_path / "pipe.jsonl")
    assert "no data file in this folder" in refused(tmp_path / "empty")
    assert "several kinds" in refused([tmp_path / "one.jsonl", tmp_path / "two.csv"])
    assert "empty" in refused([])
    assert "int" in refused(3)


def test_a_bomb_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    block = b"\0" * (1 << 20)
    for kind in ("gz", "zst"):
        path = tmp_path / f"bomb.jsonl.{kind}"
        with path.open("wb") as file:
            packer: Any = (
                gzip.GzipFile("", "wb", 9, file)
                if kind == "gz"
                else zstandard.ZstdCompressor().stream_writer(file, closefd=False)
            )
            with packer:
                for _ in range(300):
                    packer.write(block)
        started = time.monotonic()
        assert "unpacks to more than 200 times its size" in refused(path)
        assert time.monotonic() - started < 10


LIMITED = """
import resource, sys
import smalltolarge.examples as examples
from smalltolarge.errors import DataError
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 600_000_000,) * 2)
try:
    print(len(examples.load(sys.argv[1])))
except DataError as error:
    print("DataError", error)
"""


@pytest.mark.parametrize("name", ["line.jsonl", "deep.jsonl", "record.csv", "many.jsonl.gz"])
def test_hostile_sizes_stay_within_the_memory(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with (gzip.open if name.endswith("gz") else open)(path, "wb") as file:
        if name == "many.jsonl.gz":
            for _ in range(100):
                file.write(b"\n" * (1 << 20))
        else:
            begin, piece = {
                "line.jsonl": (b'{"prompt": "', b"a"),
                "deep.jsonl": (b'{"prompt": ', b"["),
                "record.csv": (b'prompt,completion\n"', b"a" * 79 + b"\n"),
            }[name]
            file.write(begin)
            for _ in range(90):
                file.write(piece * ((1 << 20) // len(piece)))
    started = time.monotonic()
    said = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=False
    )
    assert said.stdout.startswith("DataError"), said.stderr[-500:]
    assert name in said.stdout
    assert time.monotonic() - started < 60


# --- Parquet ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())],
)
def test_every_kind_of_text_column_is_read(kind: pa.DataType, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    column = (
        pa.array(["x", "y"]).cast(kind)
        if kind != pa.dictionary(pa.int32(), pa.string())
        else (pa.array(["x", "y"]).dictionary_encode())
    )
    pq.write_table(pa.table({"prompt": column, "completion": column}), path)
    assert len(load(path)) == 2


@pytest.mark.parametrize("values", [[1, 2], [b"x", b"y"], [["x"], ["y"]], [{"a": 1}, {"a": 2}]])
def test_a_column_of_another_type_is_not_text(values: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"prompt": ["a", "b"], "completion": values}), path)
    said = refused(path)
    assert "a.parquet, row 1" in said and "completion" in said


def test_a_null_column_and_no_rows_are_said(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"prompt": ["a"], "completion": pa.nulls(1)}), path)
    assert "a.parquet, row 1, completion: missing; found null" in refused(path)
    pq.write_table(table(0), path)
    assert "holds no rows" in refused(path)
    pq.write_table(pa.table({"a": ["x"], "b": ["y"]}), path)
    assert "no layout fits its columns (a, b)" in refused(path)


class Strange(pa.ExtensionType):
    def __init__(self) -> None:
        super().__init__(pa.string(), "smalltolarge.test.strange")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: Any, serialized: bytes) -> Strange:
        return cls()


def test_extension_types_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    odd = pa.ExtensionArray.from_storage(Strange(), pa.array(["x"]))
    pq.write_table(pa.table({"prompt": ["a"], "completion": ["b"], "odd": odd}), path)
    said = refused(path)
    assert "column odd" in said and "strange" in said


def test_parquet_files_of_different_schemas_are_refused(tmp_path: Path) -> None:
    pq.write_table(table(), tmp_path / "a.parquet")
    pq.write_table(table().append_column("n", [[1] * 300]), tmp_path / "b.parquet")
    said = refused(tmp_path)
    assert "a.parquet" in said and "b.parquet" in said and "n" in said


def test_text_that_is_not_utf8_in_parquet_is_a_bad_row(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    bad = pa.array([b"good", b"\xff\xfe"]).view(pa.string())
    pq.write_table(pa.table({"prompt": ["a", "b"], "completion": bad}), path)
    assert "not valid Unicode" in refused(path)


@quick
@given(st.lists(st.tuples(st.text(min_size=1), st.text(min_size=1)), min_size=1, max_size=6))
def test_csv_rows_come_back_as_the_csv_module_wrote_them(
    tmp_path: Path, rows: list[tuple[str, str]]
) -> None:
    rows = [(f"Q{a}", f"A{b}") for a, b in rows]
    path = tmp_path / "train.csv"
    with path.open("w", encoding="utf-8", errors="surrogatepass", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("prompt", "completion"), *rows])
    surrogates = [any("\ud800" <= c <= "\udfff" for c in a + b) for a, b in rows]
    if all(surrogates):
        return
    examples = load(path, settings=EXCLUDE)
    wanted = [
        [("user", a), ("assistant", b)]
        for (a, b), odd in zip(rows, surrogates, strict=True)
        if not odd
    ]
    assert said(examples) == wanted


WATCHED = """
import os, sys
from smalltolarge import examples
def watch(event, arguments):
    writes = event == "open" and (
        any(letter in str(arguments[1] or "") for letter in "wax+")
        or (isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR))
    )
    if writes or event in ("subprocess.Popen", "os.system", "socket.connect", "os.rename",
                           "os.remove", "os.exec", "os.fork", "pickle.find_class"):
        print("FORBIDDEN", event, arguments, flush=True)
        os._exit(1)
sys.addaudithook(watch)
for name in sys.argv[1:]:
    print(len(examples.load(name)))
"""


def test_reading_writes_starts_and_connects_nothing(tmp_path: Path) -> None:
    contents = {
        "a.jsonl": LINES,
        "a.jsonl.zst": packed("zst"),
        "a.json": b"[" + good_line("sharegpt", 1) + b"]",
        "a.csv": b"prompt,completion\nQ,A\n",
        "a.parquet": parquet_bytes(),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    names = [str(tmp_path / name) for name in contents]
    said = subprocess.run(
        [sys.executable, "-B", "-c", WATCHED, *names], capture_output=True, text=True, check=False
    )
    assert said.stdout.split() == ["300", "300", "1", "1", "300"], said.stdout + said.stderr
