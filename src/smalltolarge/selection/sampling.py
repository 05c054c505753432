"""Random keys and even sampling.

Everything here orders rows totally, so that a subset is the beginning of an order: it has exactly
the size asked for, the subset of a smaller budget is inside that of a larger one, and neither the
order of the input nor the number of threads matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context, Decimal
from hashlib import blake2b

import numpy as np

from smalltolarge.errors import DataError

_BLOCK = 2**16  # rows worked on at once


def random_keys(ids: np.ndarray, seed: int) -> np.ndarray:
    """Give every id a uniform key: the first 8 bytes of BLAKE2b(id) keyed by the seed.

    Parameters
    ----------
    ids : bytes "S" (n,)
    seed : int, 0 to 2**64 - 1

    Returns
    -------
    uint64 (n,)
    """
    keyed = blake2b(digest_size=8, key=seed.to_bytes(8, "little"))

    def digest(name: bytes) -> bytes:
        own = keyed.copy()
        own.update(name)
        return own.digest()

    keys = np.empty(len(ids), dtype=np.uint64)
    for begin in range(0, len(ids), _BLOCK):
        names = ids[begin : begin + _BLOCK].tolist()
        keys[begin : begin + _BLOCK] = np.frombuffer(b"".join(map(digest, names)), dtype=">u8")
    return keys


def order_by_key(keys: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Sort rows by key; equal keys by id. int64 (n,)."""
    order = np.argsort(keys)
    ascending = keys[order]
    tied = np.flatnonzero(ascending[1:] == ascending[:-1])
    places = np.union1d(tied, tied + 1)
    rows = order[places]
    order[places] = rows[np.lexsort((ids[rows], keys[rows]))]
    return order


def order_by_value(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Sort rows by value, the smallest first; equal values as in ``order``. int64 (n,)."""
    found: np.ndarray = order[np.argsort(values[order], kind="stable")]
    return found


def smallest_first(labels: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Rename groups 0, 1, ... from the smallest to the largest; empty ones get no name.

    Groups of one size are ordered by their first row in ``order``.

    Parameters
    ----------
    labels : int (n,), not negative
    order : int64 (n,)

    Returns
    -------
    int32 (n,)
    """
    sizes = np.bincount(labels)
    first = np.zeros(len(sizes), dtype=np.int64)
    for begin in reversed(range(0, len(order), _BLOCK)):
        groups = labels[order[begin : begin + _BLOCK]]
        # Backwards, so that of several rows of a group the first is written last.
        first[groups[::-1]] = np.arange(begin, begin + len(groups))[::-1]
    names = np.lexsort((first, sizes))[np.count_nonzero(sizes == 0) :]
    rank = np.zeros(len(sizes), dtype=np.int32)
    rank[names] = np.arange(len(names), dtype=np.int32)
    renamed: np.ndarray = rank[labels]
    return renamed


def even_order(groups: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Interleave groups so that every beginning of the result is spread evenly over them.

    Round by round, each group that still has rows gives its next one (by ``order``), the largest
    group first. The first b rows are then exactly what Algorithm 1 of the S2L paper draws for
    budget b: groups taken smallest first, each giving at most (what is left) / (groups left)
    rounded down, so that what small groups cannot give, and the remainders, go to the larger.

    Parameters
    ----------
    groups : int (n,), named as by ``smallest_first``
    order : int64 (n,), the rows by preference inside their groups

    Returns
    -------
    int64 (n,)
    """
    sizes = np.bincount(groups)
    # In a round, the groups that give nothing any more are the smallest, with the lowest numbers.
    giving = len(sizes) - np.searchsorted(sizes, np.arange(sizes.max()), side="right")
    begins = np.cumsum(giving) - giving
    given = np.zeros(len(sizes), dtype=np.int64)
    result = np.empty_like(order)
    for begin in range(0, len(order), _BLOCK):
        rows = order[begin : begin + _BLOCK]
        found = groups[rows]
        by_group = np.argsort(found, kind="stable")
        rows, found = rows[by_group], found[by_group]
        counts = np.bincount(found, minlength=len(sizes))
        rounds = np.arange(len(rows)) + np.repeat(given - (np.cumsum(counts) - counts), counts)
        result[begins[rounds] + len(sizes) - 1 - found] = rows
        given += counts
    return result


def balanced_order(groups: np.ndarray, order: np.ndarray, balance: float) -> np.ndarray:
    """Interleave groups so that every beginning holds rows of each by its size ** (1 - balance).

    With 1 that is ``even_order``; with 0 each group has the share that it has of all rows, which a
    random draw has on average. Between them a group of s rows has the weight
    w = s ** (1 - balance), and its row i is placed at (i + 1/2) / w; what small groups cannot give
    goes to the others by their weights.

    Parameters
    ----------
    groups : int (n,), named as by ``smallest_first``
    order : int64 (n,), the rows by preference inside their groups
    balance : 0 to 1

    Returns
    -------
    int64 (n,)
    """
    if balance == 1:
        return even_order(groups, order)
    sizes = np.bincount(groups)
    by_group = order[np.argsort(groups[order], kind="stable")]
    inside = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    place = np.empty(len(order))
    place[by_group] = (inside + 0.5) / np.repeat(_weights(sizes, balance), sizes)
    return order_by_value(place, order)


def _weights(sizes: np.ndarray, balance: float) -> np.ndarray:
    """Give size ** (1 - balance), float64 (k,), in decimal arithmetic: alike on every machine."""
    exact = Context(prec=28)
    power = exact.subtract(Decimal(1), Decimal(repr(balance)))
    found = {size: float(exact.power(Decimal(size), power)) for size in set(sizes.tolist())}
    return np.array([found[size] for size in sizes.tolist()])


def matched_order(values: np.ndarray, order: np.ndarray, bins: int) -> np.ndarray:
    """Shuffle rows so that every beginning has the distribution of ``values`` over all rows.

    The rows are cut by value into bins of equal size, and inside a bin taken by ``order``. Row i
    of a bin of m is placed at (i + 1/2) / m, so each bin has given its share at any point; what
    stands at one place is ordered by ``order``, which makes the last, partial round random.

    Parameters
    ----------
    values : (n,)
    order : int64 (n,), the rows at random
    bins : at least 1

    Returns
    -------
    int64 (n,)
    """
    n = len(order)
    which = np.empty(n, dtype=np.int64)
    which[order_by_value(values, order)] = np.arange(n) * min(bins, n) // n
    by_bin = order_by_value(which, order)
    sizes = np.bincount(which)
    place = np.empty(n)
    inside = np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    place[by_bin] = (inside + 0.5) / np.repeat(sizes, sizes)
    return order_by_value(place, order)


def number_sources(sources: Sequence[str | None] | None, asked: str) -> np.ndarray:
    """Number the sources; rows without one are a group of their own. int64 (n,).

    Raises
    ------
    DataError
        No row has a source; ``asked`` is the setting or method that splits by it.
    """
    if sources is None or all(source is None for source in sources):
        raise DataError(
            f"{asked} splits by the source of the examples, and no example has one: there is no "
            "source column. Name the column that says where a row is from with --columns "
            'source=COLUMN (in Python columns={"source": COLUMN}), or choose without it.'
        )
    numbers: dict[str | None, int] = {}
    return np.array([numbers.setdefault(source, len(numbers)) for source in sources])
