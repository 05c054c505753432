"""What a recording keeps while it goes on, so that it can be killed: tensors, never a pickle."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from smalltolarge import store
from smalltolarge.errors import IntegrityError, MissingArtifact, printable

log = logging.getLogger("smalltolarge")

_SCHEMA = 3
_STATE = "state.safetensors"


class Shelf:
    """Files of tensors in the folder of a recording: tokens, losses by checkpoint, one state.

    Every file carries its name, the fingerprint of what it follows from, and a digest of all that
    and of its tensors.
    """

    def __init__(self, folder: Path | None, fingerprint: Mapping[str, Any]) -> None:
        self.folder = folder
        self.fingerprint = json.dumps({"schema": _SCHEMA, **fingerprint}, sort_keys=True)

    def losses(self, k: int, step: int) -> np.ndarray | None:
        """Read the losses of checkpoint ``k``, after ``step`` steps; None where there are none of
        this recording.
        """
        read = self.read(f"losses-{k}.safetensors", {"step": str(step)})
        return None if read is None else read[0]["losses"].numpy()

    def keep_losses(self, k: int, step: int, losses: np.ndarray) -> None:
        """Write the losses of checkpoint ``k``, after ``step`` steps."""
        tensors = {"losses": torch.from_numpy(losses)}
        self.keep(f"losses-{k}.safetensors", tensors, {"step": str(step)})

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, str]] | None:
        """Read the state; None where there is none of this recording."""
        return self.read(_STATE)

    def keep_state(self, tensors: dict[str, torch.Tensor], facts: dict[str, str]) -> None:
        """Write the one state, in place of the one before."""
        self.keep(_STATE, tensors, facts)

    def keep(self, name: str, tensors: dict[str, torch.Tensor], facts: dict[str, str]) -> None:
        """Write a file of tensors, whole or not at all."""
        if self.folder is None:
            return
        metadata = facts | {"name": name, "fingerprint": self.fingerprint}
        metadata["digest"] = _digest(tensors, metadata)
        write_tensors(self.folder / name, tensors, metadata)

    def holds(self, name: str) -> bool:
        """Whether there is such a file, of this fingerprint."""
        if self.folder is None or not (path := self.folder / name).is_file():
            return False
        try:
            with safe_open(str(path), framework="pt") as file:
                return bool((file.metadata() or {}).get("fingerprint") == self.fingerprint)
        except (SafetensorError, OSError):
            return False

    def read(
        self, name: str, facts: Mapping[str, str] = MappingProxyType({})
    ) -> tuple[dict[str, torch.Tensor], dict[str, str]] | None:
        """Read a file, memory-mapped; None where there is none, or it is damaged or another's.

        ``facts`` are among those that it was written with.
        """
        if self.folder is None or not (path := self.folder / name).is_file():
            return None
        try:
            with safe_open(str(path), framework="pt") as file:
                metadata = dict(file.metadata() or {})
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            written = metadata.pop("digest", "")
            if written != _digest(tensors, metadata):
                raise IntegrityError("its digest is not that of its content")
            there = dict(json.loads(metadata["fingerprint"]))
            same = metadata["fingerprint"] == self.fingerprint
            if same and not {"name": name, **facts}.items() <= metadata.items():
                raise IntegrityError(f"it was written as {metadata['name']}")
        except (SafetensorError, IntegrityError, OSError, ValueError, KeyError) as error:
            log.warning(
                "%s cannot be used (%s); it is set aside as %s and its work is done again",
                path,
                printable(str(error), 200),
                store.set_aside(path).name,
            )
            return None
        if not same:
            log.warning(
                "%s is of another recording and is ignored: %s",
                path,
                differences(there, json.loads(self.fingerprint), "was {}, is {}"),
            )
            return None
        return tensors, metadata


def write_tensors(
    path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]
) -> None:
    """Write tensors as one safetensors file, whole or not at all; no copy is held."""
    with store.atomic_file(path) as aside:
        save_file(dict(tensors), aside, dict(metadata))


def write_weights(path: Path, weights: Mapping[str, torch.Tensor]) -> None:
    """Write the weights of a model, for ``read_weights``."""
    write_tensors(path, weights, {})


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read a file of tensors.

    Raises
    ------
    MissingArtifact
        There is no such file.
    IntegrityError
        It cannot be read.
    """
    if not path.is_file():
        raise MissingArtifact(f"no weights at {path}")
    try:
        with safe_open(str(path), framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise IntegrityError(f"{path} is not a file of tensors: {error}") from error


def differences(there: Mapping[str, Any], now: Mapping[str, Any], words: str) -> str:
    """Say in what two fingerprints differ: settings and versions one by one, both values in
    ``words``.
    """
    told = []
    for key in sorted(there.keys() | now.keys()):
        old, new = there.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            told += [
                f"{name} {words.format(old.get(name), new.get(name))}"
                for name in sorted(old.keys() | new.keys())
                if old.get(name) != new.get(name)
            ]
        elif old != new:
            told.append(key)
    return printable(", ".join(told), 300)


def _digest(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> str:
    found = hashlib.blake2b(digest_size=16)
    found.update(json.dumps(dict(metadata), sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.view(-1).view(torch.uint8).numpy())
    return found.hexdigest()
