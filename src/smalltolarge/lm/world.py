"""The processes of one recording: what they tell each other, and what happens when one is gone.

One process alone is a world of 1, which exchanges nothing, so that one engine serves any number.
Every process reads and tokenises the data and holds the same weights; rank 0 alone writes.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import _set_pg_timeout

from smalltolarge.errors import (
    DataError,
    IntegrityError,
    Interrupted,
    RecipeError,
    S2LError,
    printable,
)
from smalltolarge.lm.plan import SHARDS
from smalltolarge.lm.shelf import differences

log = logging.getLogger("smalltolarge")

_PATIENCE = timedelta(days=1)
"""For what processes do each in its own time, as reading; one that ends is noticed at once, and one
that is stopped by its silence."""
_TRIES = 5
"""How often gloo tries to connect, each time for as long as its timeout says."""
_PULSE = 1.0
"""Seconds between two signs of life."""
_LOOKING = 5.0
"""Seconds in which those that are there answer, when one is gone."""
_LOOK_EVERY = 0.05
_CHUNK = 2**24
"""Numbers of the gradients that are exchanged at once: 64 MB, held twice."""


class World:
    """The processes of one recording, as one of them sees them."""

    def __init__(self, rank: int = 0, size: int = 1, seconds: float = 300.0) -> None:
        self.rank, self.size, self.seconds = rank, size, seconds
        self.is_exact = SHARDS % size == 0
        """Whether gradients have the bits of one process: in worlds of 1, 2, 4 and 8."""
        self.speaker = 0
        """The rank that says what went wrong: 0, or the next that is there."""
        self.is_whole = True
        """Whether none is known to be gone."""
        self.has_agreed = False
        """Whether all were stopped together."""
        self._hosts = [""] * size
        self._silence = [0.0] * size
        """Seconds for which this process was running and has heard nothing of each."""
        self._left = threading.Event()
        self._store: Any = None
        self._patient: Any = None
        self._prompt: Any = None

    def describe(self) -> None:
        """Say how many there are, and where."""
        if self.size > 1:
            log.info("%d processes on %s", self.size, ", ".join(dict.fromkeys(self._hosts)))

    def warn(self, units: float) -> None:
        """Warn of a size that is not exact, or has too many for a batch of so many ``units``."""
        if self.size == 1:
            return
        if not self.is_exact:
            log.warning(
                "%d processes add gradients by an all-reduce: losses differ by rounding from those "
                "of one process. 2, 4 and 8 processes give the same bits.",
                self.size,
            )
        if units < self.size:
            log.warning(
                "a batch has %.1f units of work on average, and no more processes than that are "
                "busy in training. A lower --unit-tokens cuts it into more.",
                units,
            )

    def gather(self, value: Any) -> list[Any]:
        """Give what every process says, plain data, by rank; waits for the last."""
        if self.size == 1:
            return [value]
        said = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        with self._noticing():
            lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
            self._wait_for(dist.all_gather, lengths, torch.tensor([len(said)]))
            longest = max(int(length) for length in lengths)
            rooms = [torch.zeros(longest, dtype=torch.uint8) for _ in range(self.size)]
            mine = torch.cat([said, said.new_zeros(longest - len(said))])
            self._wait_for(dist.all_gather, rooms, mine)
        return [
            json.loads(room[: int(length)].numpy().tobytes())
            for room, length in zip(rooms, lengths, strict=True)
        ]

    def tell(self, value: Any) -> Any:
        """Give what rank 0 says, plain data."""
        return self.gather(value if self.rank == 0 else None)[0]

    def compare(self, fingerprint: Mapping[str, Any]) -> None:
        """Raise ``DataError`` where a process has other data, settings or versions than rank 0."""
        told = self.gather(dict(fingerprint))
        for rank, other in enumerate(told):
            if other != told[0]:
                raise DataError(
                    f"{self._name(rank)} has not what rank 0 has: "
                    f"{differences(told[0], other, 'is {} on rank 0, {} there')}. Give all "
                    "processes the same files, settings and versions."
                )

    def compare_weights(self, weights: Sequence[torch.Tensor], step: int) -> None:
        """Raise ``IntegrityError`` unless all processes have the same weights, to the bit."""
        if self.size == 1:
            return
        sums = [weight.detach().view(torch.int32).sum(dtype=torch.int64) for weight in weights]
        told = self.gather(torch.stack(sums).tolist())
        for rank, other in enumerate(told):
            if other != told[0]:
                raise IntegrityError(
                    f"{self._name(rank)} has other weights than rank 0 after step {step:,}: its "
                    "processor or its libraries compute otherwise. Give machines of one kind."
                )

    def check(self, check: Callable[[], None]) -> None:
        """Call ``check``; where it raises ``Interrupted`` in one process, all are stopped here."""
        if self.size == 1:
            check()
            return
        stop: Interrupted | None = None
        try:
            check()
        except Interrupted as error:
            stop = error
        flag = torch.tensor([int(stop is not None)], dtype=torch.int32)
        with self._noticing():
            dist.all_reduce(flag, group=self._prompt)
        if flag.item():
            said = self.gather(None if stop is None else str(stop))
            self.has_agreed = True
            raise stop or Interrupted(next(text for text in said if text is not None))

    def whole(self, part: torch.Tensor) -> torch.Tensor:
        """Give a float32 tensor of which every process has filled other places, the rest being 0.

        In place. The bits are added as whole numbers, so that nothing is rounded.
        """
        if self.size > 1:
            with self._noticing():
                dist.all_reduce(part.view(torch.int32), group=self._group(part))
        return part

    def spread(self, tensors: dict[str, torch.Tensor] | None) -> dict[str, torch.Tensor] | None:
        """Give the tensors that rank 0 has, on the CPU, by name; None where it has none."""
        if self.size == 1:
            return tensors
        shapes = self.tell(
            tensors
            and {
                name: [str(tensor.dtype).removeprefix("torch."), *tensor.shape]
                for name, tensor in tensors.items()
            }
        )
        if not shapes:
            return None
        if self.rank:
            tensors = {
                name: torch.empty(shape, dtype=getattr(torch, dtype))
                for name, (dtype, *shape) in shapes.items()
            }
        assert tensors is not None
        for name in shapes:
            with self._noticing():
                dist.broadcast(tensors[name], 0, group=self._prompt)
        return tensors

    def add_gradients(self, weights: Sequence[torch.Tensor]) -> None:
        """Replace the gradient of each weight by its sum over all processes.

        In an exact world by the upper levels of the tree of which ``Training`` adds the lower ones
        inside each process: pairs exchange what they have. Two numbers have one sum in either
        order, so both have the same bits.
        """
        if self.size == 1:
            return
        there = torch.tensor([weight.grad is not None for weight in weights], dtype=torch.int32)
        with self._noticing():
            dist.all_reduce(there, group=self._prompt)
        learned = [weight for weight, some in zip(weights, there.tolist(), strict=True) if some]
        for weight in learned:
            if weight.grad is None:  # minus 0: whatever it is added to keeps its bits
                weight.grad = torch.full_like(weight, -0.0)
        for part in _parts([weight.grad for weight in learned if weight.grad is not None]):
            flat = torch.cat([gradient.reshape(-1) for gradient in part])
            with self._noticing():
                self._add(flat)
            sums = flat.split([gradient.numel() for gradient in part])
            for gradient, found in zip(part, sums, strict=True):
                gradient.copy_(found.view_as(gradient))

    def _add(self, mine: torch.Tensor) -> None:
        if not self.is_exact:
            dist.all_reduce(mine)
            return
        theirs, distance = torch.empty_like(mine), self.size // 2
        while distance:
            other = self.rank ^ distance
            both = [dist.P2POp(dist.isend, mine, other), dist.P2POp(dist.irecv, theirs, other)]
            for work in dist.batch_isend_irecv(both):
                work.wait()
            mine += theirs
            distance //= 2

    def _wait_for(self, exchange: Callable[..., Any], *tensors: Any) -> None:
        """Wait for an exchange that others may be long in coming to, unless one is stopped."""
        work = exchange(*tensors, group=self._patient, async_op=True)
        pause = 0.001
        while not work.is_completed():
            time.sleep(pause)
            pause = min(2 * pause, _LOOK_EVERY)
            if max(self._silence) > self.seconds:
                # Closing a group waits for what is under way in it, and this never ends.
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._patient))
                raise RuntimeError("timed out")
        work.wait()

    def _live(self) -> None:
        """Give signs of life, and hear those of the others, until this process leaves."""
        pause = min(_PULSE, self.seconds / 4)
        names = [f"alive/{rank}" for rank in range(self.size)]
        beats, heard = 0, [b""] * self.size
        with suppress(RuntimeError):
            while not self._left.wait(pause):
                beats += 1
                self._store.set(names[self.rank], str(beats))
                for rank, beat in enumerate(self._store.multi_get(names)):
                    is_silent = beat == heard[rank]
                    self._silence[rank] = self._silence[rank] + pause if is_silent else 0.0
                    heard[rank] = beat

    def _group(self, tensor: torch.Tensor) -> Any:
        return self._prompt if tensor.device.type == "cpu" else None

    def _name(self, rank: int) -> str:
        host = self._hosts[rank]
        return f"rank {rank} on {host}" if host else f"rank {rank}"

    @contextmanager
    def _noticing(self) -> Iterator[None]:
        """Turn an exchange that failed into an error that names the process that is gone."""
        try:
            yield
        except RuntimeError as error:
            raise self._lost(error) from error

    @contextmanager
    def noticing(self) -> Iterator[None]:
        """Do as much for the exchanges of a trainer, among whose errors may be others."""
        try:
            yield
        except RuntimeError as error:
            is_exchange = isinstance(error, dist.DistError) or "gloo" in str(error)
            if self.size == 1 or not is_exchange:
                raise
            raise self._lost(error) from error

    def _lost(self, error: RuntimeError) -> S2LError:
        """Find out who is gone, and why."""
        self.is_whole = False
        self.leave()  # who waits for this process notices now
        here, failed = self._answers()
        self.speaker = min(here)
        gone = [rank for rank in range(self.size) if rank not in here]
        for rank in gone:
            if rank in failed:
                code, said = failed[rank]
                self.speaker = 0 if rank == 0 else self.speaker  # it has said so itself
                kinds = {kind.exit_code: kind for kind in S2LError.__subclasses__()}
                return kinds.get(code, S2LError)(f"{self._name(rank)}: {said}")
        kept = "what is done is kept, and the same command goes on"
        if not gone:
            return Interrupted(f"an exchange failed ({printable(error, 200)}); {kept}")
        names = " and ".join(self._name(rank) for rank in gone)
        silent = f"said nothing for {self.seconds:g} s" if "imed out" in str(error) else "ended"
        return Interrupted(f"{names} {silent}; {kept}")

    def _answers(self) -> tuple[set[int], dict[int, tuple[int, str]]]:
        """Give the ranks that are still there, and the exit codes and words of those that failed.

        Without the store, which rank 0 may have kept, this process knows only of itself.
        """
        here, failed = {self.rank}, {}
        end = time.monotonic() + _LOOKING
        with suppress(RuntimeError):
            self._store.set(f"here/{self.rank}", "")
            while len(here) < self.size and time.monotonic() < end:
                time.sleep(_LOOK_EVERY)
                here |= {rank for rank in range(self.size) if self._store.check([f"here/{rank}"])}
            for rank in range(self.size):
                if self._store.check([f"failed/{rank}"]):
                    failed[rank] = tuple(json.loads(self._store.get(f"failed/{rank}")))
        return here, failed

    def join(self, kind: str) -> None:
        """Meet the others; ``kind`` of device is "cuda" or another."""
        seconds = timedelta(seconds=self.seconds)
        if kind == "cuda":
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
        self._store, *_ = next(dist.rendezvous("env://", timeout=seconds))
        names = [f"alive/{rank}" for rank in range(self.size)]
        self._store.set(names[self.rank], "0")
        try:
            self._store.wait(names, seconds)
        except RuntimeError as error:
            self.speaker = min(self._answers()[0])
            absent = [rank for rank, name in enumerate(names) if not self._store.check([name])]
            who = f"rank {', '.join(map(str, absent))} did not come in {self.seconds:g} s"
            raise RuntimeError(who if absent else str(error)) from error
        with self._noticing():
            self._connect(kind)
        threading.Thread(target=self._live, name="signs of life", daemon=True).start()
        self._hosts = self.gather(socket.gethostname())

    def _connect(self, kind: str) -> None:
        """Make the groups; who ends meanwhile is waited for as long as anywhere."""
        soon = timedelta(seconds=self.seconds / _TRIES)
        dist.init_process_group(
            "nccl" if kind == "cuda" else "gloo",
            store=dist.PrefixStore("groups", self._store),
            rank=self.rank,
            world_size=self.size,
            timeout=soon,
        )
        patient, prompt = (dist.new_group(timeout=soon, backend="gloo") for _ in range(2))
        usual = timedelta(seconds=self.seconds)
        for group, timeout in ((None, usual), (patient, _PATIENCE), (prompt, usual)):
            _set_pg_timeout(timeout, group)
        self._patient, self._prompt = patient, prompt

    def fail(self, error: BaseException) -> None:
        """Tell the others what ends this process, before it does."""
        code = error.exit_code if isinstance(error, S2LError) else 0
        said = str(error) if code else f"{type(error).__name__}: {printable(error, 300)}"
        with suppress(RuntimeError):
            self._store.set(f"failed/{self.rank}", json.dumps([code, said]))

    def follow_to_the_end(self) -> None:
        """Wait until rank 0 has ended; whoever began all would end it with the first that ends."""
        if self.rank:
            with suppress(RuntimeError):
                dist.recv(torch.zeros(1), 0, group=self._prompt)

    def leave(self) -> None:
        """Close what leads to the others."""
        self._left.set()
        if self._prompt is None:
            return
        for group in (self._prompt, self._patient):
            dist.destroy_process_group(group)
        if self.is_whole or dist.get_backend() == "gloo":  # another waits for what cannot come
            dist.destroy_process_group()
        self._prompt = self._patient = None


@contextmanager
def joined(world: World, kind: str) -> Iterator[World]:
    """Join the other processes of a world, which MASTER_ADDR and MASTER_PORT speak of.

    ``kind`` is that of the device that gradients lie on.

    Raises
    ------
    RecipeError
        They do not meet.
    Interrupted
        One ended while they met.
    """
    try:
        if world.size > 1:
            world.speaker = world.rank  # until it is known who else is there
            world.join(kind)
            world.speaker = 0
    except S2LError:
        raise
    except (RuntimeError, ValueError, KeyError) as error:
        raise RecipeError(
            f"the processes do not meet ({printable(error, 300)}). RANK, WORLD_SIZE, LOCAL_RANK, "
            "MASTER_ADDR and MASTER_PORT must be those of torchrun, or like them."
        ) from error
    try:
        yield world
    except BaseException as error:
        if world.has_agreed:
            world.follow_to_the_end()
        elif world.size > 1:
            world.fail(error)
        raise
    finally:
        world.leave()


def _parts(gradients: Sequence[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Cut a list of tensors into lists of about ``_CHUNK`` numbers."""
    part: list[torch.Tensor] = []
    for gradient in gradients:
        if part and sum(other.numel() for other in part) + gradient.numel() > _CHUNK:
            yield part
            part = []
        part.append(gradient)
    if part:
        yield part
