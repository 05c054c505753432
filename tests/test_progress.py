"""What is shown while something runs."""

from __future__ import annotations

import io
import logging
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from smalltolarge.cli import session
from smalltolarge.progress import BarProgress, LineProgress, NotedProgress, Progress, Step


def wait_until(seen: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    for _ in range(3000):
        if seen():
            return
        time.sleep(0.01)
    pytest.fail("it was not seen within 30 seconds")


def test_work_done_in_parts_is_counted_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    progress = LineProgress()
    for part in range(3):
        with progress.step("training", 30, "steps") as step:
            for _ in range(10):
                step.advance(1, f"loss {part}")
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("training: 30 steps, ")
    assert last.endswith("loss 2")


def test_what_an_earlier_process_did_counts_as_done_but_not_as_speed() -> None:
    progress = Progress()
    with progress.step("training", 100, "steps", done=90) as step:
        step.advance(1)
    assert step.done == 91
    assert step.rate * step.seconds == pytest.approx(1)
    assert "left" in step.left()


def test_bytes_are_shown_as_megabytes(capsys: pytest.CaptureFixture[str]) -> None:
    with LineProgress().step("reading", 3_000_000, "bytes") as step:
        step.advance(3_000_000)
    assert capsys.readouterr().err.startswith("reading: 3.0 MB, ")


def test_lines_come_at_their_interval(capsys: pytest.CaptureFixture[str]) -> None:
    with LineProgress(every=60).step("scoring", 1000) as step:
        for _ in range(1000):
            step.advance()
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_work_that_never_advances_shows_lines(capsys: pytest.CaptureFixture[str]) -> None:
    said = ""

    def three() -> bool:
        nonlocal said
        said += capsys.readouterr().err
        return said.count("training: 0/3 steps, 0:00") >= 3

    with LineProgress(every=0.01).step("training", 3, "steps"):
        wait_until(three)


def test_work_that_no_step_names_shows_lines(capsys: pytest.CaptureFixture[str]) -> None:
    said = ""

    def have(words: str) -> bool:
        nonlocal said
        said += capsys.readouterr().err
        return words in said

    with LineProgress(every=0.05) as progress:
        wait_until(lambda: have("starting: 0:01"))
        with progress.step("reading"):
            pass
        wait_until(lambda: have("at work after reading: 0:01"))


def test_a_long_unit_of_work_says_how_far_it_is() -> None:
    step = Step("training", 8, "steps")
    part = Step(total=128)
    with step.running(), step.part(part):
        part.advance(48)
        assert step.remark() == ""  # it has only begun
        time.sleep(1.1)
        assert step.remark() == "48 of 128 rows"
        step.advance(0, "loss 2.310")
        assert step.remark() == "48 of 128 rows, loss 2.310"
    assert step.remark() == "loss 2.310"


def test_a_piece_is_noted_beside_the_whole_with_its_own_parts() -> None:
    arms = Step("arms", 3, "arms")
    with arms.running(), NotedProgress(arms, "s2l-11%").step("training", 40, "steps") as training:
        training.advance(7)
        with training.part(Step(total=128)) as rows:
            rows.advance(16)
            time.sleep(1.1)
            assert arms.remark() == "s2l-11%: training 7 of 40 steps, 16 of 128 rows"


def test_work_that_takes_minutes_a_unit_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    step = Step("training", 400, "steps")
    with step.running():
        step.advance(3)
        now += 123
        assert (step.amount(), step.left()) == ("3/400 steps, 41 s each", "4:31:17 left")


@pytest.mark.parametrize(
    ("total", "done", "unit", "seconds", "said"),
    [
        (128, 64, "rows", 1, "64/128 rows, 64 rows/s"),
        (9, 9, "steps", 2, "9 steps, 4.5 steps/s"),
        (1, 1, "steps", 2, "1 step, 2.0 s each"),
        (None, 1, "rows", 0.5, "1 row, 2.0 rows/s"),
        (40, 1, "arms", 30, "1/40 arms, 30 s each"),
        (40, 30, "arms", 100, "30/40 arms, 3.3 s each"),
        (3_000_000, 1_000_000, "bytes", 4, "1.0/3.0 MB, 0.2 MB/s"),
    ],
)
def test_a_rate_says_of_what_and_one_is_one(
    monkeypatch: pytest.MonkeyPatch,
    total: float | None, done: float, unit: str, seconds: float, said: str,
) -> None:  # fmt: skip
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    step = Step("work", total, unit)
    with step.running():
        step.advance(done)
        now += seconds
        assert step.amount() == said


def test_work_without_a_unit_is_shown_once_it_takes_a_while(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress = LineProgress()
    with progress.step("checking model", unit=""):
        pass
    with progress.step("loading model", unit=""):
        time.sleep(1.1)
    assert capsys.readouterr().err == "loading model: 0:01\n"


def test_lines_of_work_and_of_its_end_are_whole(capsys: pytest.CaptureFixture[str]) -> None:
    with LineProgress(every=0.0005) as progress:
        for _ in range(200):
            with progress.step("scoring", 200) as step:
                step.advance()
                time.sleep(0.001)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 200
    whole = re.compile(
        r"scoring: (\d+)(/200)? rows(, [\d.,]+ (rows/s|s each))?, \d:\d\d(, \d:\d\d left)?"
    )
    found = [whole.fullmatch(line) for line in lines]
    done = [int(one[1]) for one in found if one is not None]
    assert len(done) == len(lines) and done == sorted(done)


def test_nothing_is_left_running_after_an_error() -> None:
    before = threading.active_count()
    progress = LineProgress(every=60)

    def fail() -> None:
        with progress, progress.step("training"):
            assert threading.active_count() == before + 1
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert threading.active_count() == before


UNREAD = """
import os, time
from smalltolarge.progress import LineProgress
os.close(2)
with LineProgress(every=0.001).step("training", 3, "steps") as step:
    time.sleep(0.1)
    step.advance(3)
print("done")
"""


def test_work_goes_on_where_nobody_reads_the_lines() -> None:
    done = subprocess.run([sys.executable, "-c", UNREAD], capture_output=True, text=True)
    assert done.stdout == "done\n"


def test_without_a_terminal_a_command_speaks_only_when_it_takes_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with session.watching(lines=False) as (_, watch), watch.progress.step("reading", 3) as step:
        step.advance(3)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(session, "_SILENT", 0.05)
    with session.watching(lines=False) as (_, watch), watch.progress.step("reading", 3):
        logging.getLogger("smalltolarge").info("a notice")
        time.sleep(0.2)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "a notice" and len(lines) >= 3
    assert set(lines[1:]) == {"reading: 0/3 rows, 0:00"}


def test_bars_live_while_nothing_advances() -> None:
    from rich.console import Console

    console = Console(file=io.StringIO(), force_terminal=True, width=140)
    shown = console.file.getvalue  # type: ignore[attr-defined]
    with BarProgress(console) as progress:
        with progress.step("loading model", unit=""):
            wait_until(lambda: "loading model" in shown() and "0:01" in shown())
            assert "✓" not in shown()
        with progress.step("training", 4, "steps") as step, step.part(Step(total=128)) as part:
            part.advance(48)
            wait_until(lambda: "48 of 128 rows" in shown())


def test_bars_show_amount_rate_and_note_as_text() -> None:
    from rich.console import Console

    console = Console(file=io.StringIO(), force_terminal=True, width=140)
    with BarProgress(console) as progress:
        with progress.step("training", 4, "steps") as step:
            step.advance(4, "loss [red]2.5[/]")
        with progress.step("clustering") as step:
            step.advance(7)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for words in ("training", "4 steps", "/s", "loss [red]2.5[/]", "7 rows"):
        assert words in shown
