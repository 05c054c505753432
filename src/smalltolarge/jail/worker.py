"""One process in the jail, seen from the host: start it, hand it programs, end it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from dataclasses import dataclass

from smalltolarge.errors import RefusedForSafety, printable
from smalltolarge.jail import backends
from smalltolarge.jail.backends import Backend

OUTPUT_KB = 64
"""A program may print this much, and be this long."""
_OUTPUT = OUTPUT_KB << 10
_HEAD = struct.Struct(">II")
_GRACE = 5.0
"""Seconds after its limit in which a program must have been ended by the process in the jail."""
_START = 120.0
"""Seconds in which that process must have imported its libraries."""


@dataclass(frozen=True)
class Ran:
    """What came of a program."""

    printed: str
    """What it wrote to its standard output, up to the limit."""
    failure: str | None
    """Why it did not end well, in a short line; None: it did."""
    seconds: float
    """How long it ran."""
    stderr: str = ""
    """What it wrote to its standard error, up to the limit."""


class Lost(Exception):
    """The process in the jail has ended or does not answer as it should."""


class Worker:
    """A process in the jail. It is started at once, and is ready when ``read`` has returned True.

    Raises
    ------
    RefusedForSafety
        The jail cannot be started. (Also from ``read``.)
    """

    def __init__(
        self, backend: Backend, *, seconds: float, megabytes: int, folders: list[str]
    ) -> None:
        self._seconds, self._megabytes = seconds, megabytes
        self._backend: Backend = backend
        self.is_ready = False
        self.ran: Ran | None = None
        self.deadline = time.monotonic() + _START
        bwrap = shutil.which("bwrap") if backend == "bubblewrap" else None
        command = backends.command(
            backend,
            folders,
            disable_userns=bwrap is not None and backends.can_disable_userns(bwrap),
        )
        self._received = bytearray()
        self._scratch = tempfile.mkdtemp(prefix="s2l-") if bwrap is None else backends.SCRATCH
        self.socket, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(
                command,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=backends.ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            self.socket.close()
            self._remove_scratch()
            raise RefusedForSafety(f"{command[0]} cannot be started: {error.strerror}") from error
        finally:
            theirs.close()
        self.socket.settimeout(_GRACE)
        settings: dict[str, object] = {
            "address_space": None,
            "folders": folders,
            "is_confined": backend != "unconfined",
            "megabytes": megabytes,
            "needs_landlock": backend == "landlock",
            "output": _OUTPUT,
            "readable": backends.readable_folders(folders),
            "scratch": self._scratch,
            "seconds": seconds,
        }
        try:
            self._send(settings, b"")
        except Lost:
            self._refuse()

    def give(self, program: bytes) -> None:
        """Hand over a program.

        Raises
        ------
        Lost
            Nobody takes it.
        """
        self.ran = None
        self.deadline = time.monotonic() + self._seconds + _GRACE
        self._send({}, program)

    def read(self) -> bool:
        """Take in what has come; say whether an answer is complete: ``ran``, or that it is ready.

        Raises
        ------
        Lost
            Nothing more will come, or what came is no answer.
        """
        try:
            new = self.socket.recv(1 << 16)
        except OSError:
            new = b""
        if not new:
            if not self.is_ready:
                self._refuse()
            raise Lost
        self._received += new
        if len(self._received) < _HEAD.size:
            return False
        sizes = _HEAD.unpack_from(self._received)
        if sizes[0] > 4096 or sizes[1] > 2 * _OUTPUT:
            raise Lost
        if len(self._received) < _HEAD.size + sum(sizes):
            return False
        message = bytes(self._received[_HEAD.size :])
        self._received.clear()
        if self.is_ready:
            self.ran = self._told(message[: sizes[0]], message[sizes[0] :])
        self.is_ready = True
        return True

    @property
    def is_overdue(self) -> bool:
        """Whether what it was to do should have been done by now."""
        return time.monotonic() > self.deadline

    def overdue(self) -> Ran:
        """Say what came of a program that was not ended in time.

        Raises
        ------
        RefusedForSafety
            No program was under way: the jail did not start.
        """
        if not self.is_ready:
            raise RefusedForSafety(f"the {self._backend} jail did not start within {_START:.0f} s")
        return Ran("", self._too_long(), self._seconds + _GRACE)

    def kill(self) -> None:
        """End the process and all that runs in it."""
        self.socket.close()
        if self._backend == "unconfined":
            # It ends what its program started; the kernel does that only in a jail.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1)
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()
        self._remove_scratch()

    def _remove_scratch(self) -> None:
        if self._backend != "bubblewrap":
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _send(self, header: dict[str, object], raw: bytes) -> None:
        text = json.dumps(header).encode()
        try:
            self.socket.sendall(_HEAD.pack(len(text), len(raw)) + text + raw)
        except OSError as error:
            raise Lost from error

    def _refuse(self) -> None:
        """Say why the jail did not start."""
        said = b""
        if self._process.stderr is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            said = self._process.stderr.read(4096)
        self.kill()
        lines = said.decode("utf-8", "replace").strip().splitlines()
        reason = printable(lines[-1], 200) if lines else "it ended without a word"
        raise RefusedForSafety(f"the {self._backend} jail did not start: {reason}")

    def _too_long(self) -> str:
        return f"ran longer than {self._seconds:g} s"

    def _told(self, header: bytes, raw: bytes) -> Ran:
        """Read an answer. What is in it is taken for no more than text and numbers."""
        try:
            told = json.loads(header)
            how, code, seconds = str(told["how"]), int(told["code"]), float(told["seconds"])
            length = int(told["out"])
        except (ValueError, KeyError, TypeError) as error:
            raise Lost from error
        printed = raw[:length].decode("utf-8", "replace")
        stderr, mark, reason = raw[length:].decode("utf-8", "replace").rpartition("\0")
        stderr = stderr if mark else reason
        if how == "exit" and code == 0 and mark and not printed:
            printed = reason
        # A program that ended itself gave no reason: the last line of its error output will do.
        reason = reason if mark else "".join(reason.strip().splitlines()[-1:])
        failure: str | None = None
        if how == "time":
            failure = self._too_long()
        elif how == "output":
            failure = f"printed more than {OUTPUT_KB} KB"
        elif how == "signal":
            failure = f"ended by signal {code}"
        elif code != 0 and reason == "MemoryError":
            failure = f"used more than {self._megabytes} MB"
        elif code != 0:
            failure = printable(reason, 200) or f"ended with exit code {code}"
        return Ran(printed, failure, seconds, stderr)
