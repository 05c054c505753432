"""The command line: what holds of every command, from its first line to its last.

Nothing is imported here that takes time, so that signals are heard and errors explained at once.
"""

from __future__ import annotations

import errno
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator

from smalltolarge.cli import stopping, streams
from smalltolarge.errors import Interrupted, OutOfSpace, RecipeError, S2LError, harmless, printable

_UNFORESEEN = 70
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOMEM}
_LESS_MEMORY = {
    "evaluate": "lower --batch-size",
    "inspect": "lower --sample, or give --no-gradients",
    "record": "lower --unit-tokens, or choose a smaller proxy",
    "run": "lower proxy.unit_tokens and target.unit_tokens, or choose smaller models",
    "select": "give fewer rows, or lower --unit-tokens where a proxy is trained",
    "train": "lower --unit-tokens, or choose a smaller model",
}


def main() -> None:
    """Run the command line; an error is one message and an exit code, no traceback."""
    streams.open_streams()
    stopping.listen()
    code = _code(_run)
    unwritten = _code(sys.stdout.flush)
    sys.exit(code or unwritten)


def _run() -> None:
    from smalltolarge.cli.commands import app

    for argument in sys.argv[1:]:
        if any("\udc80" <= character <= "\udcff" for character in argument):
            raise RecipeError(f"{printable(argument)}: names must be valid UTF-8")
    app([_as_path(argument) for argument in sys.argv[1:] if argument != "--debug"])


def _code(work: Callable[[], object]) -> int:
    """Give the exit code of some work; what it raises is explained."""
    try:
        work()
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError) and stop.code != streams.UNREAD:
            return _fail(stop.__context__)
        return stop.code if isinstance(stop.code, int) else 0
    except BaseException as error:
        return _fail(error)
    return 0


def _as_path(argument: str) -> str:
    """Give "~x" as a name in this folder where there is no user x."""
    is_name = argument.startswith("~") and os.path.expanduser(argument) == argument
    return os.path.abspath(argument) if is_name else argument


def _fail(error: BaseException) -> int:
    """Say what went wrong, in one message; give the exit code."""
    if "--debug" in sys.argv:
        traceback.print_exception(error)
    said, code = _explained(error)
    print(f"error: {harmless(said)}", file=sys.stderr)
    return code


def _explained(error: BaseException) -> tuple[str, int]:
    stop = next((one for one in _causes(error) if isinstance(one, Interrupted)), None)
    if stop is not None:  # a library may have wrapped it
        return str(stop), stop.exit_code
    if isinstance(error, KeyboardInterrupt):
        return str(stopping.stopped("", 2)), Interrupted.exit_code
    if isinstance(error, S2LError):
        return str(error), error.exit_code
    if isinstance(error, MemoryError):
        command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
        less = _LESS_MEMORY.get(command, "give fewer rows")
        return f"the memory does not suffice: {less}", OutOfSpace.exit_code
    if isinstance(error, OSError) and error.strerror:
        name = "" if error.filename is None else f"{printable(error.filename, 200)}: "
        if error.errno in _NO_ROOM:
            return f"{name}{error.strerror}", OutOfSpace.exit_code
        if name:
            return f"{name}{error.strerror}: check the name and the rights", RecipeError.exit_code
    what = f"{type(error).__name__}: {printable(error, 300)}"
    file, line, is_ours = _origin(error)
    whose = "a mistake in s2l" if is_ours else "a mistake, and it is in code from outside s2l"
    return (
        f"this is {whose}: {what} ({file}:{line}). "
        + ("Please report it with the command; " if is_ours else "")
        + "--debug shows the traceback",
        _UNFORESEEN,
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _origin(error: BaseException) -> tuple[str, int, bool]:
    """Find the last line that is of no library: its file, its number, whether it is ours."""
    ours = os.path.dirname(os.path.dirname(__file__))
    libraries = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib"))
    file, line, is_ours = "?", 0, True
    for frame in traceback.extract_tb(error.__traceback__):
        here = frame.filename.startswith(ours + os.sep)
        if here or not frame.filename.startswith((*libraries, "<")):
            file, line, is_ours = frame.filename, frame.lineno or 0, here
    return (os.path.relpath(file, os.path.dirname(ours)) if is_ours else file), line, is_ours
