"""The warm process in the jail: it imports the libraries once and is copied for every program.

It is started as a script, with nothing of this package but its two neighbours. Standard input is a
socket to the host. Every message is two lengths, a JSON object and raw bytes. The first message
holds the settings; each later one a program, which is answered with how it ended and what it wrote.

A copy that runs a program has three open files: an empty input, and two pipes that this process
reads. So a program can say nothing but what it prints, and only of itself.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import json
import mmap
import os
import resource
import select
import signal
import struct
import sys
import time
import types
from typing import Any, NoReturn

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import confine  # type: ignore[import-not-found]
import syscalls  # type: ignore[import-not-found]

del sys.path[0]

_HEAD = struct.Struct(">II")
_LONGEST = 1 << 20
"""Bytes of a message that are read at most."""
_WELL, _FAILED = 0, 1
_IS_LINUX = sys.platform == "linux"

_PRELOADED = (
    "abc bisect calendar cmath collections contextlib copy dataclasses datetime decimal enum "
    "fractions functools hashlib heapq inspect itertools linecache math numbers operator pprint "
    "queue random re statistics string textwrap traceback typing warnings"
)


class Ended(Exception):
    """The host is gone or has closed the connection."""


def _receive_into(into: memoryview) -> None:
    while into:
        count = os.readv(_host, [into])
        if count == 0:
            raise Ended
        into = into[count:]


def _receive() -> tuple[dict[str, Any], bytearray]:
    head = bytearray(_HEAD.size)
    _receive_into(memoryview(head))
    sizes = _HEAD.unpack(head)
    if max(sizes) > _LONGEST:
        raise Ended
    header, raw = (bytearray(size) for size in sizes)
    _receive_into(memoryview(header))
    _receive_into(memoryview(raw))
    return json.loads(header), raw


def _send(header: dict[str, Any], *raw: memoryview) -> None:
    text = json.dumps(header).encode()
    parts = [
        memoryview(_HEAD.pack(len(text), sum(len(one) for one in raw))),
        memoryview(text),
        *raw,
    ]
    for part in parts:
        while part:
            part = part[os.write(_host, part) :]


def _wipe(*used: bytearray) -> None:
    """Leave nothing of a program in the memory that later programs get a copy of."""
    for one in used:
        one[:] = bytes(len(one))


class _Counted(io.FileIO):
    """Standard output that knows whether anything was written."""

    count = 0

    def write(self, data: Any, /) -> int:
        self.count += len(data)
        return super().write(data)


def _set_stream(name: str, stream: io.TextIOWrapper) -> None:
    setattr(sys, name, stream)
    setattr(sys, f"__{name}__", stream)


def _calculate(source: bytearray) -> None:
    """Run a program as ``__main__``; print what it calculated if it printed nothing itself."""
    output = _Counted(1, "w", closefd=False)
    shown = io.TextIOWrapper(
        io.BufferedWriter(output), "utf-8", errors="backslashreplace", line_buffering=True
    )
    _set_stream("stdout", shown)
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    names = main.__dict__
    try:
        code = compile(source.decode(), "<program>", "exec", dont_inherit=True)
        exec(code, names)  # noqa: S102 - the one place: in a process that is jailed by now
    except SystemExit as error:
        if error.code not in (None, 0):
            raise
    finally:
        if not shown.closed:
            shown.flush()
    if output.count == 0:
        value = None
        solution = names.get("solution")
        if callable(solution) and _takes_nothing(solution):
            value = solution()
            if not shown.closed:
                shown.flush()
        if output.count == 0 and value is None:
            found = (names.get(name) for name in ("answer", "ans", "result"))
            value = next((one for one in found if one is not None), None)
        if value is not None:
            os.write(1, f"{value}\n".encode("utf-8", "backslashreplace"))


def _takes_nothing(function: Any) -> bool:
    import inspect

    try:
        inspect.signature(function).bind()
    except (TypeError, ValueError):
        return False
    return True


def _told(error: BaseException) -> tuple[bytes, int]:
    """Say in one line how a program failed, and with which code to end."""
    if isinstance(error, MemoryError):
        return b"MemoryError", _FAILED
    if isinstance(error, SystemExit):
        if isinstance(error.code, int):
            return b"", error.code & 0xFF
        return str(error.code)[:400].encode("utf-8", "backslashreplace"), _FAILED
    text = f"{error.msg} (line {error.lineno})" if isinstance(error, SyntaxError) else str(error)
    line = f"{type(error).__name__}: {text[:400]}" if text else type(error).__name__
    return line.encode("utf-8", "backslashreplace"), _FAILED


def _be_program(source: bytearray, pipes: tuple[int, int], settings: dict[str, Any]) -> NoReturn:
    """Turn this copy into a jailed process and run the program in it; never return."""
    end, write, tell = os._exit, os.write, _told
    code = 120
    try:
        os.setsid()
        os.dup2(pipes[0], 1)
        os.dup2(pipes[1], 2)
        os.closerange(3, 1 << 16)
        _set_stream("stdin", io.TextIOWrapper(io.FileIO(0, closefd=False), "utf-8"))
        errors = io.BufferedWriter(io.FileIO(2, "w", closefd=False))
        _set_stream("stderr", io.TextIOWrapper(errors, "utf-8", "backslashreplace", None, True))
        if _IS_LINUX:
            confine.die_with_parent()
            if os.getppid() != settings["self"]:
                end(code)
        _seed()
        gc.enable()
        confine.limit(settings["seconds"], settings["address_space"])
        if settings["is_confined"]:
            if settings["landlock"]:
                confine.restrict_signals()
            confine.restrict_calls(settings["filter"])
        code = _FAILED
        _calculate(source)
        code = _WELL
    except BaseException as error:
        try:
            line, code = tell(error)
        except BaseException as another:  # a message that cannot be had: the name alone
            line = type(another if isinstance(another, MemoryError) else error).__name__.encode()
        # What follows the last NUL of the error output is the reason, whatever came before it.
        write(2, b"\0" + line)
    finally:
        end(code)


def _seed() -> None:
    """Let programs that draw without a seed draw the same every time."""
    for name in ("random", "numpy.random", "sympy.core.random"):
        if name in sys.modules:
            sys.modules[name].seed(0)


def _run(source: bytearray, settings: dict[str, Any]) -> None:
    """Run one program in a copy of this process, and tell the host."""
    most = settings["output"]
    ends = os.pipe(), os.pipe()
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        _be_program(source, (ends[0][1], ends[1][1]), settings)
    buffers = bytearray(most), bytearray(most)
    filled = [0, 0]
    poll = select.poll()
    poll.register(_host, select.POLLIN)
    for reading, writing in ends:
        os.close(writing)
        poll.register(reading, select.POLLIN)
    which = {reading: index for index, (reading, _) in enumerate(ends)}
    how, status = "", None
    over = bytearray(4096)
    deadline = began + settings["seconds"]
    try:
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                how = "time"
                break
            # Once both pipes are closed, the process ends at once or has closed them itself.
            for ready, _ in poll.poll(min(left, 0.02 if which else 0.0005) * 1000):
                if ready == _host:
                    raise Ended
                index = which[ready]
                space = memoryview(buffers[index])[filled[index] :]
                count = os.readv(ready, [space if space else memoryview(over)])
                if count == 0:
                    poll.unregister(ready)
                    del which[ready]
                elif not space:
                    how = "output"
                else:
                    filled[index] += count
            if how:
                break
            if status is None:
                ended, found = os.waitpid(child, os.WNOHANG)
                status = found if ended else None
                if status is not None:
                    # What it left running is ended before the rest of the output is read.
                    _kill(child)
            if status is not None and not which:
                break
    finally:
        _kill(child)
        if status is None:
            status = os.waitpid(child, 0)[1]
        _end_orphans()
        for reading, _ in ends:
            os.close(reading)
    seconds = time.monotonic() - began
    code = os.waitstatus_to_exitcode(status)
    if not how:
        how = "time" if code == -signal.SIGXCPU else "signal" if code < 0 else "exit"
    shown = [memoryview(buffer)[:count] for buffer, count in zip(buffers, filled, strict=True)]
    lengths = {"out": filled[0], "err": filled[1]}
    _send({"how": how, "code": abs(code), "seconds": seconds, **lengths}, *shown)
    for one in shown:
        one.release()
    _wipe(source, over, *buffers)


def _kill(child: int) -> None:
    for kill in (os.killpg, os.kill):
        try:
            kill(child, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def _end_orphans() -> None:
    """End what a program without a jail has left running; in a jail it can start nothing."""
    for _ in range(100):
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if ended == 0:
            try:
                with open(f"/proc/self/task/{os.getpid()}/children") as children:
                    for one in children.read().split():
                        _kill(int(one))
            except OSError:
                return
            time.sleep(0.005)


def _mapped() -> int | None:
    """Find how many bytes of address space are in use: below that, the kernel gives no more.

    /proc would say so too, but is not there in every jail. None: the system sets no such limit.
    """
    before = resource.getrlimit(resource.RLIMIT_AS)
    low, high = 0, 1 << 44
    while high - low > 1 << 20:
        middle = (low + high) // 2
        try:
            resource.setrlimit(resource.RLIMIT_AS, (middle, before[1]))
            mmap.mmap(-1, mmap.PAGESIZE).close()
            high = middle
        except (OSError, MemoryError, ValueError):
            low = middle
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)
    return high if low else None


def _warm(folders: list[str]) -> None:
    """Import what programs use, and pay here for what sympy does only once."""
    sys.path += folders
    for name in _PRELOADED.split():
        __import__(name)
    _hide_name()
    if not folders:
        return
    try:
        import numpy

        numpy.linalg.solve(numpy.eye(2), numpy.ones(2))
        _ = numpy.random.seed
    except ImportError:
        pass
    try:
        import sympy

        x, y = sympy.symbols("x y")
        sympy.solve([x + y - 3, x - y - 1], [x, y])
        sympy.solve(x**2 - 5 * x + 6, x)
        sympy.solveset(sympy.sin(x), x)
        sympy.simplify(sympy.sin(x) ** 2 + sympy.cos(x) ** 2)
        sympy.integrate(x * sympy.exp(x), x)
        sympy.limit(sympy.sin(x) / x, x, 0)
        sympy.Matrix([[1, 2], [3, 4]]).inv()
        sympy.sympify("x**2 + 1").diff("x")
        sympy.N(sympy.pi, 20)
    except ImportError:
        pass


def _hide_name() -> None:
    """Answer what libraries ask about the system when they are imported, without its name."""
    import platform

    found = platform.uname()
    with contextlib.suppress(AttributeError):  # it is kept under a private name
        platform._uname_cache = found._replace(node="jail")  # type: ignore[attr-defined]


def _serve() -> None:
    settings, _ = _receive()
    settings["self"] = os.getpid()
    settings["landlock"] = 0
    if _IS_LINUX:
        confine.die_with_parent()
        confine.adopt_orphans()
    confine.limit_own()
    if settings["is_confined"]:
        name = syscalls.machine()
        settings["filter"] = syscalls.program_filter()
        confine.forgo_privileges(name)
        settings["landlock"] = confine.landlock_version()
        if settings["landlock"]:
            confine.restrict_files(settings["readable"])
        elif settings["needs_landlock"]:
            raise OSError("the kernel has no Landlock")
    _warm(settings["folders"])
    used = _mapped()
    settings["address_space"] = None if used is None else used + (settings["megabytes"] << 20)
    # Nothing that a program registers is run: it ends without leaving Python in good order.
    atexit._clear()
    gc.collect()
    gc.freeze()  # copies do not touch, and so do not copy, what is there already
    gc.disable()
    os.dup2(1, 2)
    _send({"landlock": settings["landlock"]})
    while True:
        _, source = _receive()
        _run(source, settings)


if __name__ == "__main__":
    _host = os.dup(0)
    os.dup2(1, 0)  # the host opened 1 as /dev/null
    try:
        _serve()
    except (Ended, BrokenPipeError, ConnectionResetError):
        pass
    except Exception as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.exit(1)
