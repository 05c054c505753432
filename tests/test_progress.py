"""What is shown while something runs."""

from __future__ import annotations

import io

import pytest

from smalltolarge.progress import BarProgress, LineProgress, Progress


def test_work_done_in_parts_is_counted_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    progress = LineProgress(every=0)
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
        assert step.rate * step.seconds == pytest.approx(1, abs=0.5)
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
