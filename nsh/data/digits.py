"""Handwritten digits to train on, and subclasses within their classes."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32

from nsh._checks import (
    MOST_CLASSES,
    require,
    require_all,
    require_integer,
    require_labels,
    require_numeric,
)
from nsh._extras import extra
from nsh._types import ArrayLike


class Digits(NamedTuple):
    """NumPy arrays: images [n, 8, 8] with pixels in 0..1, labels [n] in 0..9."""

    train_x: Float32[np.ndarray, "train 8 8"]
    train_y: Int32[np.ndarray, " train"]
    test_x: Float32[np.ndarray, "test 8 8"]
    test_y: Int32[np.ndarray, " test"]


def digits(test_share: float = 0.25) -> Digits:
    """The 1797 handwritten digits that come with scikit-learn (test set of UCI's "optdigits").

    Split into training and test set once and for all: stratified by class, shuffled with the fixed
    random state 0, so every call and every seed sees the same split. Pixels 0..16 become 0..1.
    Raises `ValueError` unless both sets get all ten classes, `ImportError` without scikit-learn.

    Example:
        >>> from nsh.data import digits
        >>> data = digits()
        >>> data.train_x.shape, data.test_x.shape, data.train_x.max().item()
        ((1347, 8, 8), (450, 8, 8), 1.0)
    """
    require(0.01 <= test_share <= 0.99, "test_share", test_share, "a share in 0.01..0.99")
    x, y = _sklearn("datasets").load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = _sklearn("model_selection").train_test_split(
        (x / 16).reshape(-1, 8, 8).astype(np.float32),
        y.astype(np.int32),
        test_size=test_share,
        random_state=0,
        stratify=y,
    )
    return Digits(train_x, train_y, test_x, test_y)


def subclasses(
    x: ArrayLike, y: ArrayLike, per_class: int = 2, seed: int = 0
) -> Int32[np.ndarray, " n"]:
    """Subclass of each sample: ``class * per_class + cluster``, by k-means within each class.

    Best of 10 starts drawn from `seed`; deterministic. x [n, ...], y [n] -> [n]. Raises
    `ValueError` where a class has fewer than `per_class` distinct samples, `ImportError` without
    scikit-learn.

    Example:
        >>> from nsh.data import subclasses
        >>> x = np.array([[0.0], [0.1], [5.0], [9.0], [9.1], [2.0]])
        >>> parts = subclasses(x, [0, 0, 0, 1, 1, 1])
        >>> (parts[0] == parts[1]).item(), (parts[0] == parts[2]).item()
        (True, False)
    """
    x = require_numeric("x", x)
    require(x.ndim >= 2 and len(x) >= 1, "x.shape", x.shape, "[n, ...] with n >= 1")
    require_all(np.isfinite(x), "x", x, "finite")
    per_class = require_integer("per_class", per_class, 1)
    y = require_labels(y, len(x), MOST_CLASSES // per_class)
    seed = require_integer("seed", seed, 0, 2**32 - 1)
    ids = np.empty(len(x), np.int32)
    for label in np.unique(y):
        members = x[y == label].reshape((y == label).sum(), -1)
        distinct = len(np.unique(members, axis=0))
        allowed = f"at most {distinct}, the number of distinct samples of class {label}"
        require(per_class <= distinct, "per_class", per_class, allowed)
        means = _sklearn("cluster").KMeans(per_class, n_init=10, random_state=seed)
        ids[y == label] = label * per_class + means.fit_predict(members)
    return ids


def _sklearn(part: str) -> ModuleType:
    with extra("data", "nsh.data.digits"):
        return importlib.import_module(f"sklearn.{part}")
