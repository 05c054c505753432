"""The same command in several processes of this machine, begun by torch's own launcher."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from torch.distributed import TCPStore
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, start_processes

from smalltolarge.errors import Interrupted

_HERE = "127.0.0.1"
_LOOK_EVERY = 0.2
"""Seconds."""


def launch(
    command: tuple[str, ...],
    number: int,
    environment: Mapping[str, str],
    check: Callable[[], None],
    came: Callable[[], int],
) -> tuple[int, str]:
    """Run ``python COMMAND`` in so many processes that meet; give the exit code of all.

    The first one that fails ends the others: they are asked to end, and killed after 30 seconds.
    When ``check`` raises ``Interrupted``, they all get the signal that ``came``.

    Returns
    -------
    the exit code, and what ended the first that was ended by a signal, in words
    """
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    store = TCPStore(_HERE, 0, is_master=True, wait_for_workers=False)
    shared = {
        **environment,
        "MASTER_ADDR": _HERE,
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": str(True),
        "WORLD_SIZE": str(number),
        "LOCAL_WORLD_SIZE": str(number),
    }
    # It would turn signals into exceptions; those of the command are heard otherwise.
    os.environ["TORCHELASTIC_SIGNALS_TO_HANDLE"] = "SIGQUIT"
    processes = start_processes(
        "s2l",
        sys.executable,
        dict.fromkeys(range(number), command),
        {rank: {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(number)},
        DefaultLogsSpecs(log_dir=os.devnull),
    )
    try:
        while (done := processes.wait(_LOOK_EVERY, _LOOK_EVERY / 2)) is None:
            try:
                check()
            except Interrupted:
                check = _nothing
                for process in processes.pids().values():
                    with suppress(ProcessLookupError):
                        os.kill(process, came())
    finally:
        processes.close()
    return _outcome(done.failures)


def _nothing() -> None:
    pass


def _outcome(failures: Mapping[int, Any]) -> tuple[int, str]:
    """Give one exit code: an error's before that of being stopped; and the first killed rank."""
    codes = [failures[rank].exitcode for rank in sorted(failures)]
    if not codes:
        return 0, ""
    rank, first = next(iter(failures.items()))
    errors = [code for code in codes if code > 0 and code != Interrupted.exit_code]
    ended = ""
    if first.exitcode < 0:
        ended = f"rank {rank} was ended by {signal.Signals(-first.exitcode).name}"
    return (errors or [Interrupted.exit_code])[0], ended
