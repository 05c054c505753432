"""Commands in forks of a process with its libraries loaded, each with the fault it is to meet."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import gc
import importlib
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any

from tests.processes import LOADED

SECONDS = 120.0
"""How long a command may take; one that takes longer hangs."""
HANGS = "hangs"
KINDS = ("none", "kill", "torn", "once", "on", "short")
"""What happens at an operation, in the order of ``enum fault`` in shim.c: nothing, SIGKILL, SIGKILL
in the middle of a write, an error once, an error from then on, a write of the first half."""
OPERATIONS = (
    "open", "write", "truncate", "sync", "rename", "link", "unlink", "mkdir", "rmdir", "mode",
    "symlink",
)  # fmt: skip
"""In the order of ``enum operation`` in shim.c."""
_ENVIRONMENT = {
    "COLUMNS": "200",
    "GOMP_SPINCOUNT": "0",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


@dataclass(frozen=True)
class Fault:
    """What a command meets: a kind, at the k-th operation, with the number of the error."""

    kind: str = "none"
    at: int = 0
    error: str = "EIO"

    @property
    def name(self) -> str:
        """How it is written in a trial: kill, torn, short, ENOSPC-once, ENOSPC-on."""
        return f"{self.error}-{self.kind}" if self.kind in ("once", "on") else self.kind

    @classmethod
    def parse(cls, name: str, at: int) -> Fault:
        """Read a name and the operation it happens at."""
        error, _, kind = name.rpartition("-")
        return cls(kind, at, error or "EIO")


NO_FAULT = Fault()


@dataclass(frozen=True)
class Done:
    """How a command ended: its exit code (minus the signal that killed it), and what it said."""

    exit: int | str
    said: str
    operations: int
    seconds: float

    @property
    def brief(self) -> str:
        """The exit and the end of what was said."""
        return f"exit {self.exit}: {self.said.strip()[-300:]}"


def compiler() -> str | None:
    """Name a C compiler of this machine; None where there is none."""
    return shutil.which("cc") or shutil.which("gcc")


def start(words: Sequence[str], place: Path) -> subprocess.Popen[str]:
    """Start ``python WORDS`` with the shim preloaded; it talks by lines of its two streams."""
    cc = compiler()
    if cc is None:
        raise FileNotFoundError("no C compiler (cc) is here")
    library = place / "shim.so"
    source = Path(__file__).with_name("shim.c")
    if not library.exists():
        made = place / f"shim.{os.getpid()}.so"
        subprocess.run([cc, "-shared", "-fPIC", "-O2", "-o", made, source, "-lpthread"], check=True)
        os.replace(made, library)
    home = place / "home"
    home.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, *words],
        env={
            **os.environ,
            **_ENVIRONMENT,
            "HOME": str(home),
            "LD_PRELOAD": str(library),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def load(names: Iterable[str] = (*LOADED, "smalltolarge.cli.commands")) -> None:
    """Load modules in this process, so that its forks find them; and the commands' options."""
    for name in names:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    import typer.main

    commands = sys.modules.get("smalltolarge.cli.commands", sys.modules["smalltolarge.cli"])
    app = vars(commands)["app"]
    if not hasattr(typer.main.get_command, "cache_info"):
        typer.main.get_command = functools.cache(typer.main.get_command)
    _read_ahead(typer.main.get_command(app))
    gc.collect()
    gc.freeze()


def _read_ahead(command: Any) -> None:
    """Do what every command would do first: read its options' types, its recipe's, and versions."""
    from smalltolarge.runs import recipe
    from smalltolarge.settings import versions

    versions()
    for kind in vars(recipe).values():
        if isinstance(kind, type) and issubclass(kind, recipe.Recipe) and is_dataclass(kind):
            recipe.adapter_of(kind)
    for one in (command, *command.commands.values()):
        for parameter in one.params:
            parameter.get_runtime_param()


def learn(words: Sequence[str], folder: Path, log: Path | None = None) -> Done:
    """Run a command, and load what it loaded, for those that come after it."""
    file = folder.parent / "modules"
    done = run(words, folder, log=log, after=lambda: file.write_text("\n".join(sys.modules)))
    load(name for name in file.read_text().splitlines() if name not in sys.modules)
    return done


def run(
    words: Sequence[str],
    folder: Path,
    *,
    fault: Fault = NO_FAULT,
    log: Path | None = None,
    signals: Sequence[tuple[float, int]] = (),
    when: Callable[[], bool] | None = None,
    before: Callable[[], object] | None = None,
    after: Callable[[], object] | None = None,
    seconds: float = SECONDS,
) -> Done:
    """Run the command line in ``folder``, to its end.

    Parameters
    ----------
    log : where the operations are written, for ``disk.Disk``
    signals : (seconds after the start, or after ``when`` came true; signal)
    before, after : called in the fork
    """
    said = folder.parent / f"{folder.name}.said"
    process = fork(words, folder, said, fault, log, before, after)
    began = time.monotonic()
    exit = wait(process, began + seconds, signals, when)
    shim = ctypes.CDLL(None)
    shim.faults_met.restype = ctypes.c_long
    return Done(
        exit,
        said.read_text(encoding="utf-8", errors="replace"),
        shim.faults_met(),
        time.monotonic() - began,
    )


def fork(
    words: Sequence[str],
    folder: Path,
    said: Path,
    fault: Fault = NO_FAULT,
    log: Path | None = None,
    before: Callable[[], object] | None = None,
    after: Callable[[], object] | None = None,
) -> int:
    """Start the command line in a fork, and give its process."""
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        code = 1
        try:
            code = _in_fork(words, folder, said, fault, log, before)
            if after is not None:
                after()
        finally:
            os._exit(code)
    return process


def _in_fork(
    words: Sequence[str],
    folder: Path,
    said: Path,
    fault: Fault,
    log: Path | None,
    before: Callable[[], object] | None,
) -> int:
    handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.chdir(folder)
    sys.argv = ["s2l", *words]
    code = 0
    try:
        from smalltolarge.cli import main

        if before is not None:
            before()
        ctypes.CDLL(None).faults_arm(
            os.fsencode(folder),
            KINDS.index(fault.kind),
            ctypes.c_long(fault.at),
            getattr(errno, fault.error),
            None if log is None else os.fsencode(log),
        )
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def wait(
    process: int,
    until: float,
    signals: Sequence[tuple[float, int]] = (),
    when: Callable[[], bool] | None = None,
) -> int | str:
    """Wait for a process, send it its signals, and kill it when its time is over."""
    handle = os.pidfd_open(process)
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    try:
        while when is not None and not when() and not poll.poll(1):
            pass
        origin = time.monotonic()
        for after, number in signals:
            if not poll.poll(max(0.0, origin + after - time.monotonic()) * 1000):
                signal.pidfd_send_signal(handle, number)
        if poll.poll(max(0.0, until - time.monotonic()) * 1000):
            return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        return HANGS
    finally:
        os.close(handle)


def limit_memory(more: int) -> None:
    """Let this process take so many more bytes of address space than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
