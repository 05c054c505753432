"""What a person sees while something runs: bars, plain lines, or nothing.

Library functions take a ``Progress`` and never ask where it ends up. Notices (a lowered number of
clusters, an ignored file) go through ``logging`` instead.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

LOADING = "loading model"
"""Name of the work that comes before any other with a model."""
_SLOW = {"datasets", "lm_eval", "peft", "torch", "transformers", "trl"}
_A_WHILE = 1.0
"""Seconds after which a person would like to know what is going on."""


class Step:
    """One kind of work: how much of it is done, and how fast. Without a unit it is only timed."""

    def __init__(
        self, label: str = "", total: float | None = None, unit: str = "rows", done: float = 0
    ) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done = self._at_first = done
        self.note = ""
        self._part: Step | None = None
        # Seconds until it was last left, and when it was entered again. One value, for another
        # thread reads it.
        self._clock: tuple[float, float | None] = (0.0, None)

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Report ``amount`` more units done; ``note`` is shown beside them ("loss 2.31")."""
        self.done += amount
        self.note = note or self.note

    @contextmanager
    def running(self) -> Iterator[Step]:
        """Count the time inside as time of this work."""
        self._clock = (self.seconds, time.monotonic())
        try:
            yield self
        finally:
            self._clock = (self.seconds, None)

    @contextmanager
    def part(self, part: Step) -> Iterator[Step]:
        """Do a part of one unit of this work: it is shown beside it if it takes a while."""
        self._part = part
        try:
            with part.running():
                yield part
        finally:
            self._part = None

    @property
    def seconds(self) -> float:
        """Seconds spent on it by this process."""
        spent, entered = self._clock
        return spent if entered is None else spent + time.monotonic() - entered

    @property
    def rate(self) -> float:
        """Units a second, of this process."""
        return (self.done - self._at_first) / max(self.seconds, 1e-9)

    @property
    def is_done(self) -> bool:
        """Whether all of it is done, as far as is known."""
        return not self.total or self.done >= self.total

    @property
    def is_brief(self) -> bool:
        """Whether there is nothing to say of it: it is only timed, and took hardly any time."""
        return not self.unit and self.seconds < _A_WHILE

    def amount(self) -> str:
        """Say how much is done, of how much, how fast; nothing where it is only timed."""
        if not self.unit:
            return ""
        scale, digits, unit = (1e6, 1, "MB") if self.unit == "bytes" else (1, 0, self.unit)
        of = "" if self.is_done else f"/{(self.total or 0) / scale:,.{digits}f}"
        one = unit.removesuffix("s") if not of and self.done == 1 else unit
        amount, rate = f"{self.done / scale:,.{digits}f}{of} {one}", self.rate / scale
        if rate <= 0:
            return amount
        if rate < 1 and unit == self.unit:
            return f"{amount}, {1 / rate:,.{0 if rate < 0.1 else 1}f} s each"
        return f"{amount}, {rate:,.{1 if rate < 10 else 0}f} {unit}/s"

    def left(self) -> str:
        """Say how much time is left at this rate; nothing where it is not known."""
        if not self.total or self.is_done or self.rate <= 0:
            return ""
        return f"{_clock((self.total - self.done) / self.rate)} left"

    def remark(self) -> str:
        """Give the note, and before it the part that is under way, if it takes a while."""
        part = self._part
        if part is None or part.seconds < _A_WHILE:
            return self.note
        of = f" of {part.total:,.0f}" if part.total else ""
        amount = f"{part.done:,.0f}{of} {part.unit}" if part.unit else _clock(part.seconds)
        parts = (f"{part.label} {amount}".strip(), part.remark(), self.note)
        return ", ".join(filter(None, parts))


class Progress:
    """Keeps count and shows nothing; the base of what shows something."""

    def __init__(self) -> None:
        self._steps: dict[str, Step] = {}

    @contextmanager
    def step(
        self, label: str, total: float | None = None, unit: str = "rows", done: float = 0
    ) -> Iterator[Step]:
        """Do some of the work called ``label``, of ``total`` ``unit``s in all (None: not known).

        Work of one label may be done in several parts: its count and its rate go on. ``done`` is
        what an earlier process did of it. Work without a unit ("") is only timed.
        """
        step = self._steps.setdefault(label, Step(label, total, unit, done))
        with self.showing(step):
            yield step

    @contextmanager
    def showing(self, step: Step) -> Iterator[None]:
        """Time work, and show it meanwhile; nothing is shown here."""
        with step.running():
            yield

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        return None


class NotedProgress(Progress):
    """Shows pieces of one unit of work as a note beside that work."""

    def __init__(self, outer: Step, name: str) -> None:
        super().__init__()
        self.outer, self.name = outer, name

    @contextmanager
    def step(
        self, label: str, total: float | None = None, unit: str = "rows", done: float = 0
    ) -> Iterator[Step]:
        """Do a piece of the work; it is called by the name of the whole, too."""
        with super().step(f"{self.name}: {label}", total, unit, done) as step:
            yield step

    @contextmanager
    def showing(self, step: Step) -> Iterator[None]:
        """Time a piece, and say beside the whole which it is, and how far."""
        with self.outer.part(step):
            yield


class ShownProgress(Progress):
    """Shows the work that is under way every ``every`` seconds, whether or not it advances.

    A thread of its own looks at what is counted, so that long work cannot keep anything from being
    shown. It lives inside ``with``, and while work is under way.
    """

    def __init__(self, every: float) -> None:
        super().__init__()
        self.every = every
        self._under_way: list[Step] = []
        self._entered = 0
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._showing = threading.Lock()

    @contextmanager
    def showing(self, step: Step) -> Iterator[None]:
        """Time work, and show it meanwhile and, unless it failed, at its end."""
        with self._looked_at(), step.running():
            self._under_way.append(step)
            try:
                yield
            finally:
                with self._showing:
                    self._under_way.remove(step)
        with self._showing:
            self.show_end(step)

    def show(self, under_way: Sequence[Step]) -> None:
        """Show how far work is; there may be none."""
        raise NotImplementedError

    def show_end(self, step: Step) -> None:
        """Show work that is done, or a part of it."""
        raise NotImplementedError

    def __enter__(self) -> Progress:
        self._begin()
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    @contextmanager
    def _looked_at(self) -> Iterator[None]:
        self._begin()
        try:
            yield
        finally:
            self._end()

    def _begin(self) -> None:
        self._entered += 1
        if self._entered == 1:
            self._over.clear()
            self._thread = threading.Thread(target=self._look, name="progress", daemon=True)
            self._thread.start()

    def _end(self) -> None:
        self._entered -= 1
        if self._entered == 0 and self._thread is not None:
            self._over.set()
            self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(self.every):
            with self._showing:
                self.show(list(self._under_way))


class LineProgress(ShownProgress):
    """A line every ``every`` seconds, and one when a part is done: for logs and pipes.

    Parts that took less than ``least`` seconds have none when they are done.
    """

    def __init__(self, every: float = 10.0, least: float = 0.0) -> None:
        super().__init__(every)
        self.least = least
        self._between = ("starting", time.monotonic())

    def show(self, under_way: Sequence[Step]) -> None:
        """Print a line for each; where there is none, what came before, and how long ago."""
        for step in under_way:
            if not step.is_brief:
                self._print(step)
        label, since = self._between
        seconds = time.monotonic() - since
        if not under_way and seconds >= _A_WHILE:
            _print_line(f"{label}: {_clock(seconds)}")

    def show_end(self, step: Step) -> None:
        """Print a line."""
        self._between = (f"at work after {step.label}", time.monotonic())
        if step.seconds >= self.least and not step.is_brief:
            self._print(step)

    def _print(self, step: Step) -> None:
        parts = [step.amount(), _clock(step.seconds), step.left(), step.remark()]
        _print_line(f"{step.label}: {', '.join(part for part in parts if part)}")


def _print_line(line: str) -> None:
    with suppress(OSError):  # nobody reads it any more; the work goes on
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


_BESIDE_NOTE = 80
"""Columns of a terminal that the rest of a line may take; a longer note would squeeze it."""


class BarProgress(ShownProgress):
    """Live bars on a terminal, with rate and time left."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, SpinnerColumn, TextColumn
        from rich.progress import Progress as Bars

        super().__init__(every=0.1)
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
            auto_refresh=False,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Progress:
        self.bars.start()
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self.bars.stop()

    def show(self, under_way: Sequence[Step]) -> None:
        """Draw the bars."""
        for step in under_way:
            if not step.is_brief:
                self._draw(step, step.total, step.done)
        self.bars.refresh()

    def show_end(self, step: Step) -> None:
        """Draw a bar; one of which no total is known is full."""
        if not step.is_brief:
            self._draw(step, step.total or step.done or 1, step.done if step.unit else 1)
            self.bars.refresh()

    def _draw(self, step: Step, total: float | None, done: float) -> None:
        if step.label not in self._tasks:
            self._tasks[step.label] = self.bars.add_task(
                step.label, total=total, amount="", clock="", note=""
            )
        self.bars.update(
            self._tasks[step.label],
            total=total,
            completed=done,
            amount=step.amount(),
            clock=step.left() or _clock(step.seconds),
            note=step.remark()[: max(self.bars.console.width - _BESIDE_NOTE, 0)],
        )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class SafeImports:
    """Some libraries take seconds to load, module by module: before each ``check`` is called.

    It goes into ``sys.meta_path``.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self.check = check

    def find_spec(self, name: str, *_: object) -> None:
        """Leave every module to others to find."""
        is_main = threading.current_thread() is threading.main_thread()
        if name.partition(".")[0] in _SLOW and is_main:
            self.check()


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Watch:
    """Who looks on while a run goes: what is shown, and what may stop it."""

    progress: Progress = field(default_factory=Progress)
    check: Callable[[], None] = _nothing
    """Called often; raises ``Interrupted`` when the run is to stop."""
    show: Callable[[Any], None] | None = None
    """Takes the first row as a model sees it (``Shown``), before one is trained."""

    @classmethod
    def of(cls, watched: Progress | Watch | None) -> Watch:
        """Give who looks on: nobody, one who is shown progress, or one who may stop it too."""
        return watched if isinstance(watched, Watch) else cls(watched or Progress())
