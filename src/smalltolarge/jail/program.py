"""What the copy of the warm process does: give up all rights, run one program, end.

It has three open files: an empty input, and two pipes that the warm process reads. So a program can
say nothing but what it prints, and only of itself. What it leaves in its folder is removed.
"""

from __future__ import annotations

import ast
import errno
import gc
import inspect
import io
import os
import socket
import sys
import threading
import types
from typing import Any, NoReturn

import confine  # type: ignore[import-not-found]
import libraries  # type: ignore[import-not-found]
import syscalls  # type: ignore[import-not-found]

_WELL, _FAILED, _UNREADY = 0, 1, 120
_NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS}


class _Counted(io.FileIO):
    """Standard output that knows whether anything was written."""

    count = 0

    def write(self, data: Any, /) -> int:
        self.count += len(data)
        return super().write(data)


def _set_stream(name: str, stream: io.TextIOWrapper) -> None:
    setattr(sys, name, stream)
    setattr(sys, f"__{name}__", stream)


def _calculate(source: bytearray) -> str:
    """Run a program as ``__main__``; give what it calculated if it printed nothing itself."""
    output = _Counted(1, "w", closefd=False)
    shown = io.TextIOWrapper(
        io.BufferedWriter(output), "utf-8", errors="backslashreplace", line_buffering=True
    )
    _set_stream("stdout", shown)
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    names = main.__dict__
    value = last = None
    try:
        tree = ast.parse(source.decode(), "<program>")
        libraries.stand_in(tree)
        is_value = bool(tree.body) and isinstance(tree.body[-1], ast.Expr)
        end = tree.body.pop() if is_value else None
        exec(_compiled(tree), names)  # noqa: S102 - the one place: in a process jailed by now
        if isinstance(end, ast.Expr):
            last = eval(_compiled(ast.Expression(end.value)), names)  # noqa: S307 - as above
        elif tree.body and isinstance(tree.body[-1], ast.Assign):
            last = names.get(getattr(tree.body[-1].targets[0], "id", ""))
    except SystemExit as error:
        if error.code not in (None, 0):
            raise
    finally:
        if not shown.closed:
            shown.flush()
    if output.count == 0:
        solution = names.get("solution")
        if callable(solution) and _takes_nothing(solution):
            value = solution()
        found = (value, *(names.get(name) for name in ("answer", "ans", "result")), last)
        value = next((one for one in found if one is not None), None)
    threading._shutdown()  # type: ignore[attr-defined]  # as Python does: threads go on to their end
    if not shown.closed:
        shown.flush()
    if output.count or value is None or isinstance(value, types.ModuleType | types.FunctionType):
        return ""
    return f"{value}\n"


def _compiled(tree: ast.Module | ast.Expression) -> Any:
    how = "exec" if isinstance(tree, ast.Module) else "eval"
    return compile(tree, "<program>", how, dont_inherit=True)


def _takes_nothing(function: Any) -> bool:
    try:
        inspect.signature(function).bind()
    except (TypeError, ValueError):
        return False
    return True


def _told(error: BaseException, is_confined: bool) -> tuple[bytes, int]:
    """Say in one line how a program failed, and with which code to end."""
    is_full = isinstance(error, OSError) and error.errno == errno.ENOMEM
    if isinstance(error, MemoryError) or is_full:
        return b"MemoryError", _FAILED
    if isinstance(error, SystemExit):
        if isinstance(error.code, int):
            return b"", int(error.code) & 0xFF
        return str(error.code)[:400].encode("utf-8", "backslashreplace"), _FAILED
    text = f"{error.msg} (line {error.lineno})" if isinstance(error, SyntaxError) else str(error)
    if is_confined and isinstance(error, OSError) and error.errno in _NOT_ALLOWED:
        text = f"the jail does not allow this ({text[:160]})"
    line = f"{type(error).__name__}: {text[:400]}" if text else type(error).__name__
    return line.encode("utf-8", "backslashreplace"), _FAILED


_REFUSED = {
    "os.exec": "start a process",
    "os.fork": "start a process",
    "os.forkpty": "start a process",
    "os.posix_spawn": "start a process",
    "os.spawn": "start a process",
    "os.system": "start a process",
    "pty.spawn": "start a process",
    "socket.getaddrinfo": "use the network",
    "socket.gethostbyname": "use the network",
    "subprocess.Popen": "start a process",
}


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """Say in words what the kernel would refuse without."""
    what = _REFUSED.get(event)
    if event == "socket.__new__" and arguments[1] != socket.AF_UNIX:
        what = "use the network"
    if what is not None:
        raise PermissionError(f"a program in the jail may not {what}")


def _confine(asks: socket.socket, settings: dict[str, Any]) -> None:
    """Give up all rights but to calculate, and to what is counted."""
    machine = syscalls.machine()
    listener = -1
    try:
        listener = confine.listen(settings["asking"], machine)
        socket.send_fds(asks, [b"1"], [listener])
        os.close(listener)
    except OSError:  # whoever started us is asked already: nothing can be counted here
        asks.send(b"0")
    asks.close()
    if settings["landlock"]:
        confine.restrict_signals()
    sys.addaudithook(_refuse)
    confine.restrict_calls(settings["filters"][listener >= 0])


def be_program(
    source: bytearray, pipes: tuple[int, int], asks: socket.socket, settings: dict[str, Any]
) -> NoReturn:
    """Turn this copy into a jailed process and run the program in it; never return."""
    # What follows the last NUL of the error output is the reason why a program failed, or what it
    # calculated and did not print.
    end, write, tell = os._exit, os.write, _told
    code = _UNREADY
    try:
        os.setsid()
        os.dup2(pipes[0], 1)
        os.dup2(pipes[1], 2)
        os.dup2(asks.detach(), 3)
        os.closerange(4, 1 << 16)
        _set_stream("stdin", io.TextIOWrapper(io.FileIO(0, closefd=False), "utf-8"))
        errors: Any = io.FileIO(2, "w", closefd=False)
        _set_stream(
            "stderr", io.TextIOWrapper(errors, "utf-8", "backslashreplace", write_through=True)
        )
        if sys.platform == "linux":
            confine.die_with_parent()
            confine.leave_no_core()
            if os.getppid() != settings["self"]:
                end(code)
        libraries.seed()
        libraries.settle(settings["scratch"])
        gc.enable()
        confine.limit(settings["seconds"], settings["address_space"])
        asks = socket.socket(fileno=3)
        if settings["is_confined"]:
            _confine(asks, settings)
        else:
            asks.close()
            confine.limit_processes()
        code = _FAILED
        value = _calculate(source).replace("\0", "").encode("utf-8", "backslashreplace")
        code = _WELL
        if value:
            write(2, b"\0" + value)
    except BaseException as error:
        try:
            line, code = tell(error, settings["is_confined"])
        except BaseException as another:  # a message that cannot be had: the name alone
            line = type(another if isinstance(another, MemoryError) else error).__name__.encode()
        write(2, b"\0" + line)
    finally:
        end(code)
