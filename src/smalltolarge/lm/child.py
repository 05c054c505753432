"""A fork of this process in which what strangers wrote is tried: there it may hang, fill the memory
or end the process.

One child serves a whole run: it is begun with the first question, and again after it was ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from smalltolarge.errors import RefusedForSafety

_PATIENCE = 10
"""Seconds that are waited for each second of processor time."""
_ON_AVERAGE = 0.02
"""Seconds of processor time for each of many questions."""


class _Work(NamedTuple):
    begin: Callable[[Any], Callable[[Any], Any]]
    seconds: int
    megabytes: int


class NotDone(NamedTuple):
    """What an answer is where the question raised an exception, in its words."""

    reason: str


_WORK: dict[str, _Work] = {}
Ask = Callable[[Any, Sequence[Any]], list[Any]]


def in_child(seconds: int, megabytes: int) -> Callable[[Callable[..., Any]], Ask]:
    """Have a function run in the child, a question within ``seconds`` of processor time and, on
    Linux, so many ``megabytes`` more than there are.

    The function takes what all questions are about and gives a function that answers one. What
    comes of it takes the questions and gives their answers, all of them JSON. An answer may be
    ``NotDone``, or ``RefusedForSafety`` for what went beyond the limits or ended the child, and for
    all after it.
    """

    def register(begin: Callable[[Any], Callable[[Any], Any]]) -> Ask:
        name = f"{begin.__module__}.{begin.__qualname__}"
        _WORK[name] = _Work(begin, seconds, megabytes)
        return lambda about, questions: _ask(name, about, questions)

    return register


def close() -> None:
    """End the child, if there is one; the next question begins another."""
    global _child
    with _lock:
        if _child is not None:
            _child.end()
        _child = None


class _Child:
    """The parent's side of a fork."""

    def __init__(self) -> None:
        self.parent = os.getpid()
        self.channel, theirs = Pipe()
        self.process = os.fork()
        if self.process == 0:
            _serve(theirs)
        theirs.close()

    def answer(self, seconds: float) -> Any:
        """Give the next answer; None where the child has ended or says nothing for so long."""
        with contextlib.suppress(OSError, EOFError):
            if self.channel.poll(seconds):
                return json.loads(self.channel.recv_bytes())
        return None

    def end(self) -> int:
        """End it; gives the signal that has ended it."""
        self.channel.close()
        if self.parent != os.getpid():
            return 0
        os.kill(self.process, signal.SIGKILL)  # one that has ended keeps the signal it ended by
        status = os.waitpid(self.process, 0)[1]
        return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


_child: _Child | None = None
_lock = threading.RLock()


def _ask(name: str, about: Any, questions: Sequence[Any]) -> list[Any]:
    global _child
    work = _WORK[name]
    beyond = RefusedForSafety(f"did not finish within {work.seconds} s and {work.megabytes} MB")
    answers: list[Any] = []
    with _lock:
        if _child is not None and _child.parent != os.getpid():
            _child.end()
            _child = None
        child = _child = _child or _Child()
        try:
            with contextlib.suppress(OSError):  # then it has ended, and no answer comes
                child.channel.send_bytes(json.dumps([name, about, questions]).encode())
            while len(answers) < len(questions) and (
                told := child.answer(_PATIENCE * work.seconds)
            ):
                kind, answer = told
                answers.append({"raised": NotDone(answer), "beyond": beyond}.get(kind, answer))
        finally:  # whatever interrupts: a child with answers left is not asked again
            if len(answers) < len(questions):
                _child = None
                ended_by = child.end()
    if len(answers) < len(questions):
        if ended_by not in (0, signal.SIGPROF, signal.SIGKILL):
            beyond = RefusedForSafety(f"ended the process ({signal.Signals(ended_by).name})")
        answers += [beyond] * (len(questions) - len(answers))
    return answers


def _serve(channel: Connection) -> NoReturn:
    """Answer until the parent closes its side."""
    try:
        _be_alone(channel.fileno())
        while True:
            name, about, questions = json.loads(channel.recv_bytes())
            work = _WORK[name]
            _limit(work)
            answer, spent = None, 0.0
            for number, question in enumerate(questions):
                began = _arm(work.seconds)
                try:
                    answer = answer or work.begin(about)
                    told = json.dumps(["done", answer(question)])
                except MemoryError:
                    told = json.dumps(["beyond", ""])
                except BaseException as error:  # a panic in Rust is no Exception
                    told = json.dumps(["raised", str(error) or type(error).__name__])
                spent += _arm(0) - began
                if spent > work.seconds + _ON_AVERAGE * number:
                    os._exit(0)
                channel.send_bytes(told.encode())
    finally:
        os._exit(0)


def _be_alone(channel: int) -> None:
    """Keep nothing open but the channel, and the signals for the parent."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.closerange(3, channel)
    os.closerange(channel + 1, min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 2**16))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for other in (signal.SIGTERM, signal.SIGHUP, signal.SIGPROF, signal.SIGUSR1):
        signal.signal(other, signal.SIG_DFL)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # its threads are the parent's


def _limit(work: _Work) -> None:
    """Bound the memory from now on; files that are mapped to be read do not count."""
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[5])
        most = pages * resource.getpagesize() + work.megabytes * 2**20
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _arm(seconds: int) -> float:
    """Have the kernel end this process after so much processor time; what it has had so far."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    return sum(os.times()[:2])
