"""Examples as tokens: which are usable and which are left out, in one flat array."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from smalltolarge.lm.shelf import Shelf
from smalltolarge.settings import TrainingSettings

NO_COMPLETION = "no completion token within max_length"
COMPLETION_CUT = "completion cut"
_FILE = "tokens.safetensors"
TEMPLATE_LOSS = "answer changed or left out by the chat template"
_REASONS = (NO_COMPLETION, COMPLETION_CUT, TEMPLATE_LOSS)


@dataclass(frozen=True, eq=False)
class Tokenized:
    """The m examples that have a completion token, as tokens; the others by reason."""

    tokens: np.ndarray
    """int32 (total,): the tokens of all examples one after the other."""
    completion: np.ndarray
    """bool (total,): tokens that the loss is taken over."""
    lengths: np.ndarray
    """int64 (m,): tokens of each example."""
    kept: np.ndarray
    """int64 (m,) increasing: row numbers into the examples."""
    left_out: tuple[tuple[int, str], ...]
    """(row number, reason) of every other example."""
    n_truncated: int
    """Kept examples whose completion is cut in part."""
    dropped: tuple[tuple[str, int, int], ...] = ()
    """(what the chat template leaves out, in how many examples, row number of the first)."""

    @property
    def offsets(self) -> np.ndarray:
        """int64 (m + 1,): example i is tokens[offsets[i]:offsets[i + 1]]."""
        return np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int64)

    @property
    def n_tokens(self) -> np.ndarray:
        """int32 (m,): completion tokens of each example."""
        return np.add.reduceat(self.completion, self.offsets[:-1], dtype=np.int32)

    def take(self, rows: np.ndarray) -> Tokenized:
        """Give some of the examples, int64 (b,), in that order; nothing is left out then."""
        lengths = self.lengths[rows]
        begins = np.repeat(self.offsets[rows] - (np.cumsum(lengths) - lengths), lengths)
        places = begins + np.arange(int(lengths.sum()))
        return Tokenized(
            tokens=self.tokens[places],
            completion=self.completion[places],
            lengths=lengths,
            kept=np.arange(len(rows)),
            left_out=(),
            n_truncated=0,
        )

    def digest(self, ids: np.ndarray) -> str:
        """Digest tokens and masks by id, bytes "S" (m,); the order of the rows does not matter."""
        found = hashlib.blake2b(digest_size=16)
        tokens, mask, offsets = self.tokens.data, self.completion.data, self.offsets.tolist()
        for place in np.argsort(ids, kind="stable").tolist():
            start, end = offsets[place], offsets[place + 1]
            found.update(ids[place] + b" ")
            found.update(tokens[start:end])
            found.update(mask[start:end])
        return found.hexdigest()

    def keep(self, shelf: Shelf, tokenizer: str) -> None:
        """Write it, with the tokenizer that made it."""
        rows = [row for row, _ in self.left_out]
        reasons = [_REASONS.index(reason) for _, reason in self.left_out]
        arrays = {
            "tokens": self.tokens,
            "completion": self.completion,
            "lengths": self.lengths,
            "kept": self.kept,
            "left_out": np.array([rows, reasons], dtype=np.int64).reshape(2, -1),
        }
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        facts = {
            "tokenizer": tokenizer,
            "n_truncated": str(self.n_truncated),
            "dropped": json.dumps(self.dropped),
        }
        shelf.keep(_FILE, tensors, facts)

    @staticmethod
    def is_kept_in(shelf: Shelf) -> bool:
        """Whether ``keep`` wrote to this shelf."""
        return shelf.holds(_FILE)

    @classmethod
    def kept_in(cls, shelf: Shelf) -> tuple[Tokenized, str] | None:
        """Read what ``keep`` wrote, memory-mapped, and its tokenizer; None where there is none."""
        found = shelf.read(_FILE)
        if found is None:
            return None
        tensors, facts = found
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        rows, reasons = arrays["left_out"].tolist()
        left_out = tuple((row, _REASONS[reason]) for row, reason in zip(rows, reasons, strict=True))
        tokenized = cls(
            tokens=arrays["tokens"],
            completion=arrays["completion"],
            lengths=arrays["lengths"],
            kept=arrays["kept"],
            left_out=left_out,
            n_truncated=int(facts["n_truncated"]),
            dropped=tuple((what, rows, row) for what, rows, row in json.loads(facts["dropped"])),
        )
        return tokenized, facts["tokenizer"]


class Collecting:
    """Takes tokenised examples row by row, and decides what becomes of each."""

    def __init__(self, settings: TrainingSettings) -> None:
        self.settings = settings
        self.tokens: list[np.ndarray] = []
        self.masks: list[np.ndarray] = []
        self.kept: list[int] = []
        self.left_out: list[tuple[int, str]] = []
        self.n_truncated = 0

    @property
    def _row(self) -> int:
        return len(self.kept) + len(self.left_out)

    def leave_out(self, reason: str) -> None:
        """Take the next row as one that is not trained on."""
        self.left_out.append((self._row, reason))

    def add(self, tokens: np.ndarray, completion: np.ndarray) -> None:
        """Take the next row: int32 tokens and a bool mask of its completion."""
        longest = self.settings.max_length
        truncated = len(tokens) > longest
        tokens, completion = tokens[:longest], completion[:longest].copy()
        completion[:1] = False  # nothing predicts the first token
        if not completion.any():
            self.leave_out(NO_COMPLETION)
        elif truncated and self.settings.on_truncated == "exclude":
            self.leave_out(COMPLETION_CUT)
        else:
            self.n_truncated += truncated
            self.tokens.append(tokens)
            self.masks.append(completion)
            self.kept.append(self._row)

    def finish(self, dropped: Iterable[tuple[str, int, int]]) -> Tokenized:
        """Give what was taken, and what the chat template left out of it."""
        none = np.zeros(0)
        return Tokenized(
            tokens=np.concatenate([none.astype(np.int32), *self.tokens]),
            completion=np.concatenate([none.astype(bool), *self.masks]),
            lengths=np.array([len(tokens) for tokens in self.tokens], dtype=np.int64),
            kept=np.array(self.kept, dtype=np.int64),
            left_out=tuple(self.left_out),
            n_truncated=self.n_truncated,
            dropped=tuple(dropped),
        )
