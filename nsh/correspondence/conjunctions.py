"""Frequent conjunctions of bits of neighbouring inputs, no two of them alike."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int

from nsh._checks import require
from nsh.correspondence.binarise import Binarise

# so many conjunctions are looked at together: memory is of this many numbers for each sample
AT_ONCE = 256


def frequent_conjunctions(
    bits: Bool[np.ndarray, "n width"],
    encode: Binarise,
    *,
    window: int,
    items: int,
    support: float,
    overlap: float,
    most: int,
) -> Int[np.ndarray, "conjunctions items"]:
    """The conjunctions chosen, each as the indices of the bits that must all fire.

    Candidates: `items` bits of different inputs in one window of side `window`, firing together in
    a share of the samples in ``support..1 - support``. Taken from the share nearest 1/2 (the most
    informative) outwards, leaving out those whose samples overlap with those of one taken already
    by more than `overlap` (Jaccard index); at most `most`. Raises `ValueError` if none is frequent.
    """
    candidates = _candidates(encode, window, items)
    share = np.concatenate([
        fires_all(bits, block).mean(axis=0) for block in _blocks(candidates)
    ])  # fmt: skip
    frequent = (share >= support) & (share <= 1 - support)
    candidates, share = candidates[frequent], share[frequent]
    allowed = "less: no conjunction is that frequent, nor its absence"
    require(len(candidates) > 0, "support", support, allowed)
    order = np.argsort(np.abs(share - 0.5), kind="stable")
    return _distinct(bits, candidates[order], overlap, most)


def fires_all(
    bits: Bool[np.ndarray, "n width"], conjunctions: Int[np.ndarray, "conjunctions items"]
) -> Bool[np.ndarray, "n conjunctions"]:
    """Find the conjunctions that fire for each sample."""
    fires = bits[:, conjunctions[:, 0]]
    for item in conjunctions.T[1:]:
        fires &= bits[:, item]
    return fires


def _candidates(encode: Binarise, window: int, items: int) -> Int[np.ndarray, "candidates items"]:
    """All conjunctions of `items` bits of different inputs within a window, each once."""
    places = np.arange(encode.inputs).reshape(encode.shape)
    sides = tuple(min(window, length) for length in encode.shape)
    windows = np.lib.stride_tricks.sliding_window_view(places, sides).reshape(-1, np.prod(sides))
    allowed = f"at most {windows.shape[1]}, the inputs in a window"
    require(items <= windows.shape[1], "items", items, allowed)
    within = itertools.combinations(range(windows.shape[1]), items)
    inputs = np.unique(np.concatenate([windows[:, list(chosen)] for chosen in within]), axis=0)
    kinds = range(encode.width // encode.inputs)
    return np.concatenate([
        inputs + encode.inputs * np.array(kind) for kind in itertools.product(kinds, repeat=items)
    ])  # fmt: skip


def _blocks(candidates: Int[np.ndarray, "candidates items"]) -> Iterator[np.ndarray]:
    for first in range(0, len(candidates), AT_ONCE):
        yield candidates[first : first + AT_ONCE]


def _distinct(
    bits: Bool[np.ndarray, "n width"],
    candidates: Int[np.ndarray, "candidates items"],
    overlap: float,
    most: int,
) -> Int[np.ndarray, "chosen items"]:
    """Candidates in order, at most so many, without those too like one before them."""
    kept = np.zeros((len(bits), 0), np.float32)
    chosen: list[np.ndarray] = []
    for block in _blocks(candidates):
        fires = fires_all(bits, block).astype(np.float32)  # whole numbers to 2^24: exact counts
        nearest = _jaccard(kept, fires).max(axis=0, initial=0)
        added = []
        for place in range(len(block)):
            if len(chosen) == most:
                break
            if nearest[place] <= overlap:
                chosen.append(block[place])
                added.append(place)
                nearest = np.maximum(nearest, _jaccard(fires[:, [place]], fires)[0])
        kept = np.concatenate([kept, fires[:, added]], axis=1)
        if len(chosen) == most:
            break
    return np.array(chosen)


def _jaccard(a: Float[np.ndarray, "n a"], b: Float[np.ndarray, "n b"]) -> Float[np.ndarray, "a b"]:
    """Samples of both by samples of either, for each pair of columns."""
    common = (a.T @ b).astype(np.float64)
    return common / (a.sum(axis=0)[:, None] + b.sum(axis=0) - common)
