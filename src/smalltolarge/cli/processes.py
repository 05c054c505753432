"""A recording in several processes: begun here, or by torchrun and its like."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smalltolarge.cli import stopping
from smalltolarge.cli.session import watching
from smalltolarge.errors import Interrupted, RecipeError, S2LError, printable

if TYPE_CHECKING:
    from smalltolarge.lm import World
    from smalltolarge.runs.recipe import RecordRecipe, TrainRecipe
    from smalltolarge.settings import ProxySettings, TrainingSettings

PANEL = "Processes"
Processes = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Record in so many processes on the CPU, which share the cores. Default: 1.",
        rich_help_panel=PANEL,
    ),
]
Devices = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER|LIST",
        help="Record on so many GPUs, a process for each, or on those of a list: 2, or 0,2 (one "
        "alone with a comma: 2,). Default: all that are visible.",
        rich_help_panel=PANEL,
    ),
]
RankTimeout = Annotated[
    float,
    typer.Option(
        min=1,
        max=86_400,
        help="Seconds for which one of several processes may say nothing, before all end.",
        rich_help_panel=PANEL,
    ),
]
_LAUNCHER = stopping.LAUNCHER
_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""Of NVIDIA's GPUs, AMD's, and of Windows' below Linux."""
_LOOK_EVERY = 1.0
"""Seconds after which a process notices that the one that began it is gone."""


class Share:
    """The part of this process in a recording, or in the training of a target."""

    def __init__(self, model: TrainingSettings | None, seconds: float) -> None:
        self.size = _whole("WORLD_SIZE") if "RANK" in os.environ else 1
        self.rank = _whole("RANK") if self.size > 1 else 0
        self.model, self.seconds = model, seconds

    @contextmanager
    def world(self) -> Iterator[World | None]:
        """Join the other processes, if there are any and something is trained.

        What ends one of them is told by one of them alone: the others end without a word.
        """
        if self.size == 1 or self.model is None:
            yield None
            return
        if ":" in self.model.device:
            raise RecipeError(
                f"--device {self.model.device} is one GPU, and there are {self.size} processes: "
                "give --device cuda, of which each takes its own"
            )
        # Not that a trainer looked in vain for weights that no loss depends on.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        from smalltolarge import lm

        world = lm.World(self.rank, self.size, self.seconds)
        try:
            with lm.joined(world, _kind(self.model)):
                yield world
        except S2LError as error:
            if world.rank == world.speaker:
                raise
            raise SystemExit(error.exit_code) from error

    def follow(self, recipe: RecordRecipe | TrainRecipe) -> None:
        """Do the part of another than rank 0, in silence."""
        from smalltolarge.runs.stages import follow

        with watching(True, silent=True) as (_, watch), self.world() as world:
            if world is not None:
                follow(recipe.resolved(), watch, world)


def share(
    proxy: ProxySettings | None,
    processes: int | None,
    devices: str | None,
    seconds: float,
    *,
    dry_run: bool = False,
) -> Share:
    """Say what this process does of a recording; where several are wanted, begin them all.

    Raises
    ------
    RecipeError
        There are not that many devices.
    SystemExit
        They were begun here, and have ended.
    """
    is_saved = proxy is not None and proxy.from_checkpoints is not None
    if is_saved and ("RANK" in os.environ or (processes, devices) != (None, None)):
        raise RecipeError("--from-checkpoints: saved checkpoints are scored in one process")
    if is_saved:
        proxy = None
    mine = Share(None if dry_run else proxy, seconds)
    if "RANK" in os.environ:
        if _LAUNCHER in os.environ:
            _end_with_launcher()
        elif (processes, devices) != (None, None) and not mine.rank:
            _say(f"{mine.size} processes, begun by another: no others are begun")
        return mine
    if proxy is None or dry_run:
        return mine  # nothing is recorded
    environment: dict[str, str] = {}
    number = processes or 1
    if processes is not None and devices is not None:
        raise RecipeError("--processes is for the CPU and --devices for GPUs: give one of them")
    if devices is not None or (processes is None and _may_have_gpus(proxy)):
        number, visible, environment = gpus(proxy, devices)
        if visible > 1:
            _say(f"{number} of {visible} GPUs" if number < visible else f"{number} GPUs")
    elif processes is not None and processes > 1 and _kind(proxy) == "cuda":
        raise RecipeError("--processes is for the CPU: give --device cpu too, or --devices")
    if number > 1 or environment:
        raise SystemExit(_launched(number, environment))
    return mine


def _whole(name: str) -> int:
    """Give a variable of the environment that is a whole number."""
    value = os.environ.get(name, "")
    if not value.isdecimal():
        raise RecipeError(
            f"RANK is set, and {name} is {printable(value)!r}: torchrun and its like set both to "
            "whole numbers. For one process, unset RANK."
        )
    return int(value)


def _kind(model: TrainingSettings) -> str:
    """Give the kind of device that a model runs on."""
    if model.device != "auto":
        return model.device.partition(":")[0]
    from smalltolarge.lm.device import visible_gpus

    return "cuda" if visible_gpus() else "cpu"


def _may_have_gpus(proxy: ProxySettings) -> bool:
    """Whether it is worth loading torch to count them: there is a driver of one."""
    wanted = proxy.device == "auto" or proxy.device.startswith("cuda")
    return wanted and any(Path(place).exists() for place in _DRIVERS)


def gpus(proxy: ProxySettings, devices: str | None) -> tuple[int, int, dict[str, str]]:
    """Give how many GPUs are used, of how many, and what shows a process no others."""
    from smalltolarge.runs.stages import require_torch

    require_torch()
    from smalltolarge.lm.device import visible_gpus

    visible = visible_gpus()
    if devices is None:
        return (1 if ":" in proxy.device else max(len(visible), 1)), len(visible), {}
    if proxy.device not in ("auto", "cuda"):
        raise RecipeError(f"--devices says which GPUs are used; leave --device {proxy.device} away")
    chosen = _numbers(devices)
    if not chosen or max(chosen) >= len(visible) or len(set(chosen)) < len(chosen):
        raise RecipeError(
            f"--devices {printable(devices)}: {len(visible)} GPUs are visible here. Give a number "
            "of them, or a list of different ones, counted from 0 (0,2)"
        )
    shown = ",".join(visible[number] for number in chosen)
    return len(chosen), len(visible), {"CUDA_VISIBLE_DEVICES": shown}


def _numbers(devices: str) -> list[int]:
    """Read ``--devices``: how many, or a list of which; nothing where it is neither."""
    parts = [part.strip() for part in devices.split(",")]
    if not all(part.isdecimal() or not part for part in parts):
        return []
    numbers = [int(part) for part in parts if part]
    return list(range(numbers[0])) if len(parts) == 1 and numbers else numbers


def _launched(number: int, environment: dict[str, str]) -> int:
    """Run this command in so many processes; give the exit code."""
    from smalltolarge.runs.stages import require_torch

    require_torch()
    from smalltolarge.lm.launching import launch

    program = sys.argv[0]
    is_module = os.path.basename(program) == "__main__.py"
    words = (*(("-m", "smalltolarge") if is_module else (program,)), *sys.argv[1:])
    environment = {**environment, _LAUNCHER: str(os.getpid())}
    with stopping.working(True) as check:
        code, ended = launch(words, number, environment, check, stopping.came)
    if ended:
        _say(f"note: {ended}")
    return code


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _end_with_launcher() -> None:
    """End this process soon after the one of ours that began it, however that ends."""
    launcher = os.environ[_LAUNCHER]

    def look() -> None:
        while str(os.getppid()) == launcher:
            time.sleep(_LOOK_EVERY)
        os._exit(Interrupted.exit_code)

    threading.Thread(target=look, name="launcher", daemon=True).start()
