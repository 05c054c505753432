"""What the copy of the warm process does: give up all rights, run one program, end.

It has three open files: an empty input, and two pipes that the warm process reads. So a program can
say nothing but what it prints, and only of itself.
"""

from __future__ import annotations

import errno
import gc
import inspect
import io
import os
import sys
import types
from typing import Any, NoReturn

import confine  # type: ignore[import-not-found]
import libraries  # type: ignore[import-not-found]

_WELL, _FAILED, _UNREADY = 0, 1, 120


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
            os.write(1, (str(value) + "\n").encode("utf-8", "backslashreplace"))


def _takes_nothing(function: Any) -> bool:
    try:
        inspect.signature(function).bind()
    except (TypeError, ValueError):
        return False
    return True


def _told(error: BaseException) -> tuple[bytes, int]:
    """Say in one line how a program failed, and with which code to end."""
    is_full = isinstance(error, OSError) and error.errno == errno.ENOMEM
    if isinstance(error, MemoryError) or is_full:
        return b"MemoryError", _FAILED
    if isinstance(error, SystemExit):
        if isinstance(error.code, int):
            return b"", int(error.code) & 0xFF
        return str(error.code)[:400].encode("utf-8", "backslashreplace"), _FAILED
    text = f"{error.msg} (line {error.lineno})" if isinstance(error, SyntaxError) else str(error)
    line = f"{type(error).__name__}: {text[:400]}" if text else type(error).__name__
    return line.encode("utf-8", "backslashreplace"), _FAILED


def be_program(source: bytearray, pipes: tuple[int, int], settings: dict[str, Any]) -> NoReturn:
    """Turn this copy into a jailed process and run the program in it; never return."""
    end, write, tell = os._exit, os.write, _told
    code = _UNREADY
    try:
        os.setsid()
        os.dup2(pipes[0], 1)
        os.dup2(pipes[1], 2)
        os.closerange(3, 1 << 16)
        _set_stream("stdin", io.TextIOWrapper(io.FileIO(0, closefd=False), "utf-8"))
        errors = io.BufferedWriter(io.FileIO(2, "w", closefd=False))
        _set_stream("stderr", io.TextIOWrapper(errors, "utf-8", "backslashreplace", None, True))
        if sys.platform == "linux":
            confine.die_with_parent()
            confine.leave_no_core()
            if os.getppid() != settings["self"]:
                end(code)
        libraries.seed()
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
