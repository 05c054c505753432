"""Random keys and even sampling.

Everything here orders rows totally, so that a subset is the beginning of an order: it has exactly
the size asked for, the subset of a smaller budget is inside that of a larger one, and neither the
order of the input nor the number of threads matters.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

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
