"""What a person sees while something runs: bars, plain lines, or nothing.

Library functions take a ``Progress`` and never ask where it ends up. Notices (a lowered number of
clusters, an ignored file) go through ``logging`` instead.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID


class Step:
    """One kind of work: how much of it is done, and how fast."""

    def __init__(
        self, label: str, total: float | None, unit: str, done: float, show: Callable[[Step], None]
    ) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done = self._at_first = done
        self.note = ""
        self._show = show
        self._spent, self._entered = 0.0, 0.0

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Report ``amount`` more units done; ``note`` is shown beside them ("loss 2.31")."""
        self.done += amount
        self.note = note or self.note
        self._show(self)

    @contextmanager
    def running(self) -> Iterator[Step]:
        """Count the time inside as time of this work."""
        self._entered = time.monotonic()
        try:
            yield self
        finally:
            self._spent, self._entered = self.seconds, 0.0

    @property
    def seconds(self) -> float:
        """Seconds spent on it by this process."""
        return self._spent + (time.monotonic() - self._entered if self._entered else 0.0)

    @property
    def rate(self) -> float:
        """Units a second, of this process."""
        return (self.done - self._at_first) / max(self.seconds, 1e-9)

    @property
    def is_done(self) -> bool:
        """Whether all of it is done, as far as is known."""
        return not self.total or self.done >= self.total

    def amount(self) -> str:
        """Say how much is done, of how much, how fast."""
        scale, digits, unit = (1e6, 1, "MB") if self.unit == "bytes" else (1, 0, self.unit)
        of = "" if self.is_done else f"/{(self.total or 0) / scale:,.{digits}f}"
        rate = self.rate / scale
        per_second = f"{rate:,.1f}" if rate < 10 else f"{rate:,.0f}"
        return f"{self.done / scale:,.{digits}f}{of} {unit}, {per_second}/s"

    def left(self) -> str:
        """Say how much time is left at this rate; nothing where it is not known."""
        if not self.total or self.is_done or self.rate <= 0:
            return ""
        return f"{_clock((self.total - self.done) / self.rate)} left"


class Progress:
    """Keeps count and shows nothing; the base of what shows something."""

    every = 0.1
    """Seconds between two looks at the same work."""

    def __init__(self) -> None:
        self._steps: dict[str, Step] = {}
        self._shown: dict[str, float] = {}

    @contextmanager
    def step(
        self, label: str, total: float | None = None, unit: str = "rows", done: float = 0
    ) -> Iterator[Step]:
        """Do some of the work called ``label``, of ``total`` ``unit``s in all (None: not known).

        Work of one label may be done in several parts: its count and its rate go on. ``done`` is
        what an earlier process did of it.
        """
        if label not in self._steps:
            self._steps[label] = Step(label, total, unit, done, self._look)
            self._shown[label] = time.monotonic()
        step = self._steps[label]
        with step.running():
            yield step
            self.show(step)

    def _look(self, step: Step) -> None:
        now = time.monotonic()
        if now - self._shown[step.label] >= self.every:
            self._shown[step.label] = now
            self.show(step)

    def show(self, step: Step) -> None:
        """Show how far a piece of work is; nothing here."""

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        return None


class NotedProgress(Progress):
    """Shows pieces of one unit of work as a note beside that work."""

    def __init__(self, outer: Step, name: str) -> None:
        super().__init__()
        self.outer, self.name = outer, name

    def show(self, step: Step) -> None:
        """Say which piece is under way, and how far."""
        of = f" of {step.total:,.0f}" if step.total else ""
        note = f"{self.name}: {step.label} {step.done:,.0f}{of} {step.unit}"
        self.outer.advance(0, f"{note}, {step.note}" if step.note else note)


class LineProgress(Progress):
    """A line every ``every`` seconds, and one when a part is done: for logs and pipes."""

    def __init__(self, every: float = 10.0) -> None:
        super().__init__()
        self.every = every

    def show(self, step: Step) -> None:
        """Print one line."""
        parts = [step.amount(), _clock(step.seconds), step.left(), step.note]
        line = f"{step.label}: {', '.join(part for part in parts if part)}"
        print(line, file=sys.stderr, flush=True)


_BESIDE_NOTE = 72
"""Columns of a terminal that the rest of a line may take; a longer note would squeeze it."""


class BarProgress(Progress):
    """Live bars on a terminal, with rate and time left."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, SpinnerColumn, TextColumn
        from rich.progress import Progress as Bars

        super().__init__()
        columns = [
            TextColumn(f"{{task.fields[{name}]}}", markup=False)
            for name in ("amount", "clock", "note")
        ]
        self.bars = Bars(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description:<11}", markup=False),
            BarColumn(bar_width=20),
            *columns,
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Progress:
        self.bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bars.stop()

    def show(self, step: Step) -> None:
        """Draw one bar."""
        if step.label not in self._tasks:
            self._tasks[step.label] = self.bars.add_task(step.label, amount="", clock="", note="")
        self.bars.update(
            self._tasks[step.label],
            total=step.total or step.done or 1,
            completed=step.done if step.total or step.done else 1,
            amount=step.amount(),
            clock=step.left() or _clock(step.seconds),
            note=step.note[: max(self.bars.console.width - _BESIDE_NOTE, 0)],
        )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
