"""The digits' fixed split and their subclasses."""

import sys

import numpy as np
import pytest

from nsh.data import digits, subclasses


def rows(x):
    return sorted(map(tuple, x.reshape(len(x), -1)))


def test_split_is_fixed_stratified_and_complete():
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    data = digits()
    np.random.seed(7)  # noqa: NPY002
    for once, again in zip(data, digits(), strict=True):
        np.testing.assert_array_equal(once, again)
    assert data.train_x.shape[1:] == data.test_x.shape[1:] == (8, 8)
    assert data.train_x.dtype == data.test_x.dtype == np.float32
    assert data.train_y.dtype == data.test_y.dtype == np.int32
    x, y = np.concatenate([data.train_x, data.test_x]), np.concatenate([data.train_y, data.test_y])
    assert rows(np.column_stack([x.reshape(-1, 64) * 16, y])) == rows(
        np.column_stack([images, labels])
    )
    np.testing.assert_allclose(np.bincount(data.test_y), np.bincount(y) * 0.25, atol=1)
    assert x.min() == 0
    assert x.max() == 1
    assert len(digits(0.5).test_y) == 899


def test_planted_subclasses_are_found():
    rng = np.random.default_rng(0)
    y, planted = rng.integers(0, 3, 90), rng.integers(0, 2, 90)
    x = rng.normal(size=(90, 2, 2)) + 20.0 * planted[:, None, None]
    ids = subclasses(x, y)
    assert ids.dtype == np.int32
    np.testing.assert_array_equal(ids // 2, y)
    for label in range(3):
        pairs = {(int(i), int(p)) for i, p in zip(ids, planted, strict=True) if i // 2 == label}
        assert len(pairs) == 2


def test_each_digit_is_nearest_to_its_own_subclass():
    data = digits()
    x, y = data.test_x.reshape(-1, 64), data.test_y
    ids = subclasses(data.test_x, y, per_class=3, seed=5)
    np.testing.assert_array_equal(ids, subclasses(x, y, per_class=3, seed=5))
    assert set(ids) == set(range(30))
    means = np.stack([x[ids == i].mean(0) for i in range(30)])
    distance = ((x[:, None] - means[None]) ** 2).sum(-1)
    same_class = np.arange(30) // 3 == y[:, None]
    nearest = np.argmin(np.where(same_class, distance, np.inf), axis=1)
    assert (nearest == ids).mean() > 0.995  # k-means stops short of its last reassignments


def test_one_subclass_is_the_class():
    y = np.array([0, 2, 2, 5])
    np.testing.assert_array_equal(subclasses(np.eye(4), y, per_class=1), y)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: digits(0.0), r"test_share = 0\.0"),
        (lambda: digits(1.0), r"test_share = 1\.0"),
        (lambda: subclasses(np.ones(4), np.zeros(4, int)), r"x\.shape = \(4,\)"),
        (lambda: subclasses(np.full((4, 2), np.inf), np.zeros(4, int)), r"x\[0, 0\]"),
        (lambda: subclasses(np.eye(4), np.zeros(3, int)), r"y\.shape = \(3,\)"),
        (lambda: subclasses(np.eye(4), np.zeros(4, int), per_class=5), "per_class = 5.*at most 4"),
        (lambda: subclasses(np.ones((4, 2)), np.zeros(4, int)), "per_class = 2.*at most 1"),
        (lambda: subclasses(np.eye(4), np.zeros(4, int), per_class=0), "per_class = 0"),
        (lambda: subclasses(np.eye(4), np.zeros(4, int), seed=-1), "seed = -1"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"neurashed\[data\]"):
        digits()
