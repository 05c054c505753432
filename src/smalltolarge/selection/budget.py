"""How much to choose: a number of rows, a share of them, or a number of completion tokens."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, SupportsIndex

import numpy as np

from smalltolarge.errors import BudgetError, RecipeError, printable

_NUMBER = r"(?:[0-9]{1,3}(?:[,_][0-9]{3})+|[0-9]+)(?:\.[0-9]+)?"
_AMOUNT = re.compile(rf"({_NUMBER})\s*([kKmMgG]?)(%|-tokens)?")
_FORM = 'a number of rows ("30000", "30K"), a share ("11%") or "2M-tokens"'
_LONGEST = 50
_SUFFIX = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}


@dataclass(frozen=True)
class Budget:
    """An amount in one of three units."""

    amount: Fraction
    unit: Literal["rows", "share", "tokens"]

    @classmethod
    def parse(cls, given: str | SupportsIndex) -> Budget:
        """Read "30000", "30K", "11%" or "2M-tokens"; a whole number is a number of rows.

        Raises
        ------
        RecipeError
            It is none of these.
        BudgetError
            It is nothing, or more than everything.
        """
        text = str(given) if isinstance(given, str) else _rows(given)
        match = _AMOUNT.fullmatch(text.strip()) if len(text) <= _LONGEST else None
        if match is None:
            hint = "; commas and underscores part groups of three digits, a point the decimals"
            odd = hint if re.search("[0-9][,_]", text) else ""
            raise RecipeError(f"budget {printable(text)!r}: {_FORM} is needed{odd}")
        number, suffix, unit = match.groups()
        amount = Fraction(re.sub("[_,]", "", number)) * _SUFFIX[suffix.lower()]
        if unit == "%":
            amount /= 100
            if amount > 1 or suffix:
                raise BudgetError(f"budget {text}: a share is at most 100%")
        elif amount.denominator != 1:
            raise RecipeError(
                f"budget {text}: rows and tokens are whole numbers; a share is written with %, "
                f"as in {float(amount * 100):g}%"
            )
        if amount == 0:
            raise BudgetError(f"budget {text} chooses nothing: {_FORM} above 0 is needed")
        kind = {"%": "share", "-tokens": "tokens", None: "rows"}[unit]
        return cls(amount, kind)  # type: ignore[arg-type]

    def least_rows(self, n: int) -> int:
        """Check that the budget fits n rows and give the rows it asks for (1 for tokens).

        Raises
        ------
        BudgetError
            It is more rows than there are, or a share below one row.
        """
        if self.unit == "tokens":
            return 1
        if self.unit == "share":
            rows = int(self.amount * n)
            if rows == 0:
                raise BudgetError(
                    f"budget {float(self.amount * 100):g}% of {n:,} rows is less than one row"
                )
            return rows
        if self.amount > n:
            raise BudgetError(
                f"budget {int(self.amount):,} rows: only {n:,} can be used. Ask for at most that, "
                "or for 100%."
            )
        return int(self.amount)

    def rows(self, order: np.ndarray, n_tokens: np.ndarray | None) -> int:
        """Say how many rows of ``order`` (most wanted first) the budget buys.

        A token budget buys the longest beginning of ``order`` that does not exceed it.

        Raises
        ------
        BudgetError
            The budget does not fit the rows, or tokens are asked for and not known.
        """
        if self.unit != "tokens":
            return self.least_rows(len(order))
        if n_tokens is None:
            raise BudgetError(
                "a budget in tokens needs the number of completion tokens of every example: give "
                "--trajectories with a column n_tokens, or a budget in rows or percent"
            )
        total = np.cumsum(n_tokens[order], dtype=np.int64)
        if self.amount > total[-1]:
            raise BudgetError(
                f"budget {int(self.amount):,} tokens: all completions together have "
                f"{int(total[-1]):,}"
            )
        rows = int(np.searchsorted(total, int(self.amount), side="right"))
        if rows == 0:
            raise BudgetError(
                f"budget {int(self.amount):,} tokens: the first completion alone has {total[0]:,}"
            )
        return rows


def _rows(given: SupportsIndex) -> str:
    """Write a whole number of rows, whatever whole-number type it is of, as text."""
    try:
        if not isinstance(given, bool):
            return printable(operator.index(given))
    except TypeError:
        pass
    shown = printable(given)
    example = f"{given:g}%" if isinstance(given, float) and 1 < given <= 100 else "11%"
    if isinstance(given, float) and 0 < given <= 1:
        example = f"{given * 100:g}%"
    raise RecipeError(
        f"budget {shown} is a {type(given).__name__}: rows are a whole number (30000), and a share "
        f'is a text with % ("{example}")'
    )
