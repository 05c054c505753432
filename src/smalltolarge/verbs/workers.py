"""A comparison by several processes on this machine, each of them ``run_comparison`` in one folder.

They divide the work by the locks of the folder. This process starts them, shows what they say and
stops them; a worker tells it, in lines of JSON, what it does and how it ended.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from smalltolarge import errors
from smalltolarge.errors import Interrupted, RecipeError, S2LError, printable
from smalltolarge.progress import SafeImports, ShownProgress, Step, Watch
from smalltolarge.runs import recipe as recipes
from smalltolarge.runs import stages
from smalltolarge.runs.arms import find_arms, missing_arms
from smalltolarge.runs.folder import waiting
from smalltolarge.runs.recipe import CompareRecipe
from smalltolarge.runs.results import Run
from smalltolarge.settings import cores
from smalltolarge.verbs.run import require_locks, run_comparison

log = logging.getLogger("smalltolarge")

_MOST = 256
_EVERY = 0.5
"""Seconds between two looks at what is done."""
_RAISED = {"MemoryError": MemoryError}


def run_with_workers(
    recipe: CompareRecipe, folder: Path, jobs: int, watch: Watch, *, unconfined: bool = False
) -> Run:
    """Do as ``run_comparison``, by so many processes: each with a GPU of its own, or on a CPU with
    its part of the threads. What one that ends did not finish, another takes up.

    Raises
    ------
    RecipeError
        There are fewer GPUs, or no locks on the folder's file system.
    Interrupted
        Raised by ``watch.check``, or all workers were killed; the same call goes on.
    S2LError
        Raised by all workers, as ``run_comparison`` does.
    """
    if not 1 <= jobs <= _MOST:
        raise RecipeError(f"--jobs {printable(jobs)}: a whole number from 1 to {_MOST} is needed")
    recipe = recipe.resolved()
    with (
        waiting(lambda: stages.hold(recipe, folder, shared=True), watch) as (run, recipe),
        ExitStack() as stack,
    ):
        require_locks(run)
        recipe, surroundings = _divided(recipe, jobs)
        about = {
            "recipe": recipes.to_plain(recipe),
            "folder": str(folder),
            "unconfined": unconfined,
        }
        arms = find_arms(recipe, None)
        done = len(arms) - len(missing_arms(Run(run.path), recipe))
        bar = stack.enter_context(watch.progress.step("arms", len(arms), "arms", done=done))
        said: set[str] = set()
        workers: list[_Worker] = []
        stack.callback(_end, workers)
        for number, surrounding in enumerate(surroundings, 1):
            step = stack.enter_context(watch.progress.step(f"worker {number}", unit=""))
            workers.append(_Worker(about, surrounding, step, said))
        while any(worker.is_at_work for worker in workers):
            watch.check()
            time.sleep(_EVERY)
            done = len(arms) - len(missing_arms(Run(run.path), recipe))
            bar.advance(done - bar.done)
        if all(worker.process.returncode for worker in workers):
            raise _why(workers)
    return Run.open(folder)


def _divided(recipe: CompareRecipe, jobs: int) -> tuple[CompareRecipe, list[dict[str, str]]]:
    """Give every worker its part of this machine: a recipe for all, and variables for each."""
    gpus = []
    if any(model.device in ("auto", "cuda") for model in recipe.models):
        stages.require_torch()
        from smalltolarge.lm.device import visible_gpus

        gpus = visible_gpus()
    if gpus:
        if jobs > len(gpus):
            raise RecipeError(
                f"--jobs {jobs}: every worker has a GPU of its own, and {len(gpus)} can be seen. "
                "To have several on one, give the command in another terminal as well."
            )
        log.info("%d workers, a GPU each", jobs)
        return recipe, [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus[:jobs]]
    threads = max(1, cores() // jobs)
    recipe = recipes.with_threads(recipe, threads)
    each = recipe.target.threads
    log.info("%d workers of %d thread%s on %d cores", jobs, each, "s" * (each != 1), cores())
    return recipe, [{} for _ in range(jobs)]


def _end(workers: Sequence[_Worker]) -> None:
    """Have all workers stop at their next safe points, and wait for that."""
    for worker in workers:
        worker.stop()
    for worker in workers:
        worker.wait()


def _why(workers: Sequence[_Worker]) -> BaseException:
    """Give what ended a worker, when all of them have ended before all was done."""
    for worker in workers:
        if worker.error is not None:
            return worker.error
    names = sorted({worker.ended_by for worker in workers if worker.ended_by})
    return Interrupted(
        f"all workers were ended by {' and '.join(names)}; what is done is kept. The same command "
        "goes on."
    )


class _Worker:
    """This process's side of one that works."""

    def __init__(
        self,
        about: Mapping[str, Any],
        surrounding: Mapping[str, str],
        step: Step,
        said: set[str],
    ) -> None:
        self.error: BaseException | None = None
        self.ended_by = ""
        """The signal that ended it."""
        self.step, self._said = step, said
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                **surrounding,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,  # a signal from the terminal is for this process
        )
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(about) + "\n")
            self.process.stdin.flush()
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()

    @property
    def is_at_work(self) -> bool:
        """Whether it has not ended."""
        return self._listening.is_alive()

    def stop(self) -> None:
        """Have it stop at its next safe point."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()

    def wait(self) -> None:
        """Wait until it has ended."""
        self._listening.join()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with suppress(ValueError):  # it was killed while it wrote
                told = json.loads(line)
                if "doing" in told:
                    self.step.note = told["doing"]
                elif "raised" in told:
                    kind = getattr(errors, told["raised"], None) or _RAISED.get(told["raised"])
                    self.error = (kind or RuntimeError)(told["note"])
                else:
                    self._say(told["level"], told["note"])
        code = self.process.wait()
        self.step.note = ""
        if code < 0:
            self.ended_by = signal.Signals(-code).name
            self._say(logging.WARNING, f"a worker was ended by {self.ended_by}")
        elif code not in (0, Interrupted.exit_code):
            self._say(logging.WARNING, f"a worker ended: {self.error}")

    def _say(self, level: int, note: str) -> None:
        """Say what no other worker has said."""
        if note not in self._said:
            self._said.add(note)
            log.log(level, "%s", note)


class _Told(ShownProgress):
    """Tells the process that looks on what is under way."""

    def __init__(self, tell: Callable[..., None]) -> None:
        super().__init__(_EVERY)
        self.tell = tell

    def show(self, under_way: Sequence[Step]) -> None:
        """Tell what is done last."""
        for step in under_way[-1:]:
            itself = f"{step.label} {step.amount()}".strip() if step.unit != "arms" else ""
            self.tell(doing=step.remark() or itself)

    def show_end(self, step: Step) -> None:
        """Tell nothing: something else begins."""


def _work() -> int:
    """Be a worker; gives the exit code."""
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no line of JSON
    with open(0, "rb", buffering=0, closefd=False) as stdin:
        about = json.loads(stdin.readline())
    is_alone = threading.Event()
    writing = threading.Lock()

    def listen() -> None:
        os.read(0, 1)  # until the process that looks on has ended, or wants an end
        is_alone.set()

    def check() -> None:
        if is_alone.is_set():
            raise Interrupted("stopped; what is done is kept. The same command goes on.")

    def tell(**what: object) -> None:
        with writing, suppress(OSError):
            lines.write(json.dumps(what) + "\n")
            lines.flush()

    threading.Thread(target=listen, daemon=True).start()
    sys.meta_path.insert(0, SafeImports(check))
    handler = logging.Handler()
    handler.emit = lambda record: tell(  # type: ignore[method-assign]
        level=record.levelno, note=record.getMessage()
    )
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    log.propagate = False
    try:
        recipe = recipes.read(about["recipe"], CompareRecipe)
        with _Told(tell) as progress:
            watch = Watch(progress, check)
            run_comparison(recipe, Path(about["folder"]), watch, unconfined=about["unconfined"])
    except S2LError as error:
        tell(raised=type(error).__name__, note=str(error))
        return error.exit_code
    except Exception as error:
        if is_alone.is_set():  # a library may have wrapped the interruption
            return Interrupted.exit_code
        tell(raised=type(error).__name__, note=f"{type(error).__name__}: {error}")
        return 70
    return 0


if __name__ == "__main__":
    sys.exit(_work())
