"""Random keys and even sampling.

Everything here orders rows totally, so that a subset is the beginning of an order: it has exactly
the size asked for, the subset of a smaller budget is inside that of a larger one, and neither the
order of the input nor the number of threads matters.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np


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
    key = seed.to_bytes(8, "little")
    digests = b"".join(
        blake2b(name, digest_size=8, key=key).digest() for name in np.asarray(ids).tolist()
    )
    return np.frombuffer(digests, dtype=">u8").astype(np.uint64)


def order_by_key(keys: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Sort rows by key; equal keys by id. int64 (n,)."""
    return np.lexsort((ids, keys)).astype(np.int64)


def smallest_first(labels: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Rename groups 0, 1, ... from the smallest to the largest.

    Groups of one size are ordered by their first row in ``order``. Returns int32 (n,).
    """
    _, groups, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    first = np.full(len(sizes), len(order), dtype=np.int64)
    np.minimum.at(first, groups, place)
    rank = np.empty(len(sizes), dtype=np.int32)
    rank[np.lexsort((first, sizes))] = np.arange(len(sizes), dtype=np.int32)
    return rank[groups]


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
    by_group = order[np.argsort(groups[order], kind="stable")]
    sizes = np.bincount(groups)
    begins = np.cumsum(sizes) - sizes
    rounds = np.arange(len(order)) - begins[groups[by_group]]
    return by_group[np.lexsort((-groups[by_group].astype(np.int64), rounds))]
