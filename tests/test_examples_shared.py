"""A file of lines read by several processes is what one process reads."""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalltolarge.errors import DataError, Interrupted, OutOfSpace, S2LError
from smalltolarge.examples import Examples, load, loading, stream
from smalltolarge.examples.forks import in_order
from smalltolarge.settings import ReadingSettings


def row(**values: Any) -> bytes:
    return json.dumps(values, ensure_ascii=False).encode()


GOOD = [row(instruction=f"ask {n}", output="größer\n" * n, source="ab"[n % 2]) for n in range(1, 5)]
TURNS = [
    row(messages=[{"role": role, "content": text} for role, text in turns])
    for turns in (
        [("user", "a"), ("assistant", "b")],
        [("assistant", "hello"), ("user", "a"), ("assistant", "b"), ("user", "c")],
    )
]
ODD = [
    b"", b"  ", b"\r", GOOD[0] + b"\r", GOOD[0].replace(b'", "', b'",  "'), b"{", b"[1]", b'"x" y',
    row(instruction="", output="x"), row(instruction="ask", output=3), row(input="a", output="b"),
    row(instruction="ask", output="x", category="p"), row(instruction="ask", output="x", type=1),
    row(instruction="ask", output="x", source=7), row(instruction="ask", output="x", train=False),
    b'{"instruction": "ask", "output": "\\ud800"}', b'{"instruction": "\xff", "output": "x"}',
    b'{"instruction": "ask", "instruction": "ask", "output": "x"}',
    row(instruction="long", output="x" * 300),
    b'{"instruction": ' + b"[" * 210 + b"]" * 210 + b"}", TURNS[0], b"\xef\xbb\xbf" + GOOD[0],
]  # fmt: skip
TWINS = [
    row(messages=[{"role": "user", "content": "a"}, {"role": "assistant", "content": answer}],
        prompt="a", completion="b")
    for answer in "bbbc"
]  # fmt: skip
FILES = st.one_of(
    *(
        st.lists(st.sampled_from(lines), max_size=12)
        for lines in (GOOD, GOOD * 5 + ODD, TURNS * 5 + ODD, TWINS)
    )
)
WAYS = (
    ReadingSettings(),
    ReadingSettings(on_bad_row="exclude", max_line_bytes=250),
    ReadingSettings(on_bad_row="exclude", repair_text=True),
)


def shared(patch: pytest.MonkeyPatch, processes: int, size: int) -> None:
    """Have files read by so many processes, in ranges of about that size."""
    patch.setattr(loading, "LEAST_SHARED", 0)
    patch.setattr(loading, "RANGE", size)
    patch.setattr(stream, "CHUNK", size)
    patch.setattr(loading, "forks", lambda: processes)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(FILES, min_size=1, max_size=2), st.sampled_from(WAYS), st.integers(2, 3),
    st.integers(1, 400), st.sampled_from([b"", b"\n"]),
)  # fmt: skip
def test_any_file_cut_anywhere_is_read_as_by_one_process(
    tmp_path_factory: pytest.TempPathFactory,
    files: list[list[bytes]],
    how: ReadingSettings,
    processes: int,
    size: int,
    end: bytes,
) -> None:
    folder = tmp_path_factory.mktemp("files")
    names = [str(folder / f"{number}.jsonl") for number in range(len(files))]
    for name, lines in zip(names, files, strict=True):
        Path(name).write_bytes(b"\n".join(lines) + end)
    with pytest.MonkeyPatch.context() as patch, Logged() as log:
        alone = log.told(lambda: load(names, settings=how))
        bare = log.told(lambda: load(names, settings=how, texts=False))
        shared(patch, processes, size)
        assert log.told(lambda: load(names, settings=how)) == alone
        assert log.told(lambda: load(names, settings=how, texts=False)) == bare
        if isinstance(alone, list):
            assert isinstance(bare, list)
            assert [*bare[:2], alone[2], *bare[3:]] == alone


class Logged(logging.Handler):
    """Keeps what is logged."""

    def __enter__(self) -> Logged:
        self.lines: list[str] = []
        logging.getLogger("smalltolarge").addHandler(self)
        logging.getLogger("smalltolarge").setLevel(logging.INFO)
        return self

    def __exit__(self, *error: object) -> None:
        logging.getLogger("smalltolarge").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append(record.getMessage())

    def told(self, read: Callable[[], Examples]) -> object:
        """Say all that is read and logged, or what is wrong."""
        self.lines.clear()
        try:
            found = read()
        except S2LError as error:
            return type(error), str(error), [*self.lines]
        columns = found.table.column_names
        return [
            found.table.drop([columns[1]]).to_pylist(), found.lengths().tolist(),
            found.table["messages"].to_pylist() if "messages" in columns else None,
            found.excluded.to_pylist(), found.inputs, found.format, found.columns,
            found.ids.tolist(), found.sources(), [*self.lines],
        ]  # fmt: skip


@pytest.fixture
def none_left() -> Iterator[None]:
    """See that a test leaves no process that it began."""
    own = Path(f"/proc/self/task/{os.getpid()}/children")
    before = own.read_text()
    yield
    assert own.read_text() == before


@pytest.mark.usefixtures("none_left")
def test_a_file_that_is_written_to_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b"\n".join(GOOD * 20))
    shared(monkeypatch, 2, 100)

    def write() -> None:
        file.write_bytes(b"\n".join(GOOD * 19))

    with pytest.raises(DataError, match=r"rows\.jsonl changed while it was read"):
        load(file, check=write)


def slow(seconds: float) -> bytes:
    time.sleep(seconds)
    return b""


@pytest.mark.usefixtures("none_left")
def test_a_process_that_is_killed_is_told_and_no_other_is_left() -> None:
    def work(task: int) -> bytes:
        if task == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return b""

    with pytest.raises(OutOfSpace, match=r"rows\.jsonl: a process that was reading it has been k"):
        list(in_order(work, iter(range(10)), 2, lambda: None, "rows.jsonl"))


@pytest.mark.usefixtures("none_left")
def test_a_signal_ends_all_processes_at_once() -> None:
    began = time.monotonic()

    def check() -> None:
        if time.monotonic() > began + 0.3:
            raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        list(in_order(slow, iter([60.0] * 4), 2, check, "rows.jsonl"))
    assert time.monotonic() < began + 30


def test_results_and_errors_come_in_the_order_of_the_work() -> None:
    def work(task: int) -> bytes:
        time.sleep(0.1 if task in (2, 4) else 0)
        if task in (4, 5):
            raise DataError(str(task))
        return bytes([task])

    found = in_order(work, iter(range(8)), 3, lambda: None, "rows.jsonl")
    assert [next(found) for _ in range(4)] == [b"\0", b"\1", b"\2", b"\3"]
    with pytest.raises(DataError, match="4"):
        next(found)


def test_when_its_parent_is_killed_a_process_ends_and_holds_nothing_open() -> None:
    reading, writing = os.pipe()  # which nobody holds any more
    parent = os.fork()
    if not parent:
        os.close(reading)
        list(in_order(slow, iter([0.5] * 1000), 2, lambda: None, "rows.jsonl"))
    os.close(writing)
    time.sleep(0.3)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    assert os.read(reading, 1) == b""
    os.close(reading)
