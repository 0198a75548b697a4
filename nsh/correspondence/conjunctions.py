"""Frequent conjunctions of bits of neighbouring inputs, no two of them alike."""

from __future__ import annotations

import itertools

import numpy as np
from jaxtyping import Bool, Int

from nsh._checks import require
from nsh.correspondence.binarise import Binarise


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
    share = np.mean(fires_all(bits, candidates), axis=0)
    frequent = (share >= support) & (share <= 1 - support)
    candidates, share = candidates[frequent], share[frequent]
    allowed = "less: no conjunction is that frequent, nor its absence"
    require(len(candidates) > 0, "support", support, allowed)
    order = np.argsort(np.abs(share - 0.5), kind="stable")
    candidates = candidates[order]
    return candidates[_distinct(fires_all(bits, candidates), overlap, most)]


def fires_all(
    bits: Bool[np.ndarray, "n width"], conjunctions: Int[np.ndarray, "conjunctions items"]
) -> Bool[np.ndarray, "n conjunctions"]:
    """Which conjunctions fire for each sample."""
    fires = bits[:, conjunctions[:, 0]]
    for item in conjunctions.T[1:]:
        fires = fires & bits[:, item]
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


def _distinct(fires: Bool[np.ndarray, "n candidates"], overlap: float, most: int) -> list[int]:
    """Candidates in order, without those too like one before them."""
    as_numbers = fires.astype(np.float32)
    counts = as_numbers.sum(axis=0)
    nearest, chosen = np.zeros(fires.shape[1]), []
    for candidate in range(fires.shape[1]):
        if len(chosen) == most:
            break
        if nearest[candidate] <= overlap:
            chosen.append(candidate)
            common = as_numbers[:, candidate] @ as_numbers
            jaccard = common / (counts + counts[candidate] - common)
            nearest = np.maximum(nearest, jaccard)
    return chosen
