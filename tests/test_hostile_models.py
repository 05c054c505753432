"""Models of strangers run nobody's code, read nothing elsewhere, end in time and in one line."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import transformers

from smalltolarge.errors import RecipeError, S2LError

from .conftest import Cli
from .faults.process import limit_memory
from .hostile_models import Hostile, harmless, hostile
from .lm_samples import CHATML, SMALL, examples_of, model_folder, sums
from .processes import forks

KINDS = list(hostile())
GOOD = list(harmless())
LONGEST = 25
"""Seconds that one may take on a busy machine."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile") / "model"
    return model_folder(folder, transformers.GPTNeoXConfig(**SMALL), chat=CHATML)


def by_name(name: str) -> Hostile:
    return next(kind for kind in KINDS + GOOD if kind.name == name)


def opened(names: Sequence[str], model: Path, place: Path, told: Any, more: int) -> None:
    """Open each kind and tell how it ended; what is forbidden ends this process.

    ``more`` limits the bytes of memory that this process may take; 0 does not.
    """
    from huggingface_hub import constants

    from smalltolarge.lm import child, models, prepare
    from smalltolarge.settings import ProxySettings

    os.environ["HF_HUB_OFFLINE"] = "1"
    constants.HF_HOME = str(place / "home")
    sys.dont_write_bytecode = True
    rows = [
        [turns[0]._replace(content=f"#{row} {turns[0].content}"), turns[1]]
        for row, turns in enumerate(sums(12))
    ]
    watching = False

    def hook(event: str, given: tuple[Any, ...]) -> None:
        if not watching:
            return
        bad = event.startswith(("pickle.", "socket.connect", "subprocess.", "os.system", "os.exec"))
        if event == "open" and isinstance(given[0], str) and isinstance(given[2], int):
            writes = given[2] & (os.O_WRONLY | os.O_RDWR)
            bad |= bool(writes) and not given[0].startswith((str(place), os.devnull))
            bad |= given[0] in ("/etc/hostname", "/dev/zero")
            bad |= Path(given[0]).suffix in (".bin", ".pt", ".pkl")
        if event == "compile" and given[1] is not None:
            bad |= str(given[1]).startswith(str(place))
        if bad:
            os.write(2, f"forbidden: {event} {given}\n".encode())
            os._exit(9)

    sys.addaudithook(hook)
    if more:
        limit_memory(more)
    for kind in (by_name(name) for name in names):
        folder = place / "m"
        shutil.copytree(model, folder)
        kind.make(folder)
        began = time.monotonic()
        watching = True
        try:
            taken = prepare(examples_of(rows), ProxySettings(proxy=str(folder), threads=1), 1)
            models.load(taken.model, 1)
            ended: tuple[Any, ...] = ("taken" if kind.expected else "right", 0, "taken")
        except S2LError as error:
            right = bool(kind.expected) and isinstance(error, kind.expected)
            ended = ("right" if right else type(error).__name__, error.exit_code, str(error))
        except BaseException as error:
            ended = (f"raised {type(error).__name__}", 1, str(error))
        watching = False
        child.close()
        told.send((kind.name, *ended, time.monotonic() - began))
        for entry in place.iterdir():
            entry.unlink() if entry.is_symlink() else shutil.rmtree(entry)


def check(kinds: Sequence[Hostile], model: Path, place: Path, more: int = 0) -> None:
    ours, theirs = forks.Pipe(duplex=False)
    process = forks.Process(
        target=opened, args=([kind.name for kind in kinds], model, place, theirs, more)
    )
    process.start()
    theirs.close()
    wrong: list[Any] = []
    for kind in kinds:
        if not ours.poll(4 * LONGEST):
            process.kill()
            wrong.append((kind.name, "hangs"))
            break
        try:
            name, ended, _, said, seconds = ours.recv()
        except EOFError:
            wrong.append((kind.name, "ended the process"))
            break
        longest = 4 * LONGEST if kind.slow else LONGEST
        if ended != "right" or seconds > longest or "\x1b" in said or not said:
            wrong.append((name, ended, round(seconds, 1), said))
    process.join(10)
    assert not wrong, "\n".join(map(repr, wrong))


def test_good_models_are_taken_whatever_lies_beside_them(model: Path, tmp_path: Path) -> None:
    check(GOOD, model, tmp_path)


def test_a_good_model_is_taken_where_memory_is_limited_too(model: Path, tmp_path: Path) -> None:
    check(GOOD[:1], model, tmp_path, 1_900_000_000)


def test_hostile_models_are_refused_in_one_line_of_ours(model: Path, tmp_path: Path) -> None:
    assert len(KINDS) >= 80
    check([kind for kind in KINDS if not kind.slow], model, tmp_path)


def test_a_template_that_hangs_in_a_later_row_is_refused(model: Path, tmp_path: Path) -> None:
    [late] = [kind for kind in KINDS if kind.name == "template endless in the second row"]
    check([late], model, tmp_path)


@pytest.mark.faults
def test_what_hangs_is_refused(model: Path, tmp_path: Path) -> None:
    check([kind for kind in KINDS if kind.slow], model, tmp_path)


def test_devices_and_threads_that_are_none_are_refused(s2l: Cli, data: Path) -> None:
    from smalltolarge.lm.device import find_device

    for name in ("meta", "cuda:99999", "hip", "cpu:\x1b[31m", ""):
        with pytest.raises(RecipeError, match="--device auto or cpu"):
            find_device(name)
    for threads in ("100000", "99999999999"):
        done = s2l("record", data.name, "--out", "t.parquet", "--threads", threads, expect=2)
        assert "at most 1,024" in done.stderr
