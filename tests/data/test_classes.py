"""Labels of any kind become 0, 1, ... and are named again."""

from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nsh.data import Classes

pytestmark = pytest.mark.core

KINDS = st.one_of(
    st.lists(st.text(), min_size=1), st.lists(st.integers(-(2**62), 2**62), min_size=1),
    st.lists(st.booleans(), min_size=1),
)  # fmt: skip


@pytest.mark.thorough
@settings(max_examples=100, deadline=None)
@given(KINDS)
def test_decoded_is_what_was_encoded(labels):
    if any("\0" in str(label) for label in labels):  # NumPy's texts end with the last that is not 0
        return
    classes = Classes.of(labels)
    numbers = classes.encode(labels)
    assert classes.names == tuple(sorted(set(labels)))
    assert numbers.dtype == np.int32
    assert numbers.tolist() == [classes.names.index(label) for label in labels]
    assert classes.decode(numbers).tolist() == labels
    assert len(classes) == len(set(labels))


@pytest.mark.parametrize(
    "y",
    [
        np.array(["b", "a", "b"]), np.array(["b", "a", "b"], object), np.array([b"b", b"a", b"b"]),
        np.array(["b", "a", "b"], np.dtypes.StringDType()),
    ],
)  # fmt: skip
def test_text_of_any_type_is_text(y):
    assert Classes.of(y) == Classes(("a", "b"))
    assert Classes(("a", "b")).encode(y).tolist() == [1, 0, 1]


def test_numbers_of_any_type_are_whole_numbers():
    for kind in (np.uint8, ">i2", np.int64, np.float32):
        classes = Classes.of(np.array([7, 1, 7], kind))
        assert classes.names == (1, 7)
        assert [type(name) for name in classes.names] == [int, int]
        assert Classes((1, 7)).encode(np.array([7, 1], kind)).tolist() == [1, 0]


def test_a_value_in_an_order_of_ones_own():
    classes = Classes(("plane", "car", "bird"))
    assert classes.encode(["bird", "plane"]).tolist() == [2, 0]
    assert classes != Classes.of(["plane", "car", "bird"])
    assert len({classes, Classes(("plane", "car", "bird"))}) == 1
    assert classes.decode(np.array([[1]])).tolist() == [["car"]]
    with pytest.raises(AttributeError):
        setattr(classes, "names", ())  # noqa: B010


ANIMALS = Classes(("cat", "dog"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Classes.of([]), r"y = \[\]: must be at least one label"),
        (lambda: Classes.of(["a", None]), r"y\[1\] = None: .*none is missing"),
        (lambda: Classes.of(["a", float("nan")]), r"y\[1\] = nan: .*none is missing"),
        (lambda: Classes.of([1, "a"]), r"y\[1\] = 'a': must be of the same kind as y\[0\] = 1"),
        (lambda: Classes.of([True, 2]), r"y\[1\] = 2: must be of the same kind as y\[0\] = True"),
        (lambda: Classes.of(np.array(["a", 2], object)), r"y\[1\] = 2: must be of the same kind"),
        (lambda: Classes.of(np.array([1.0, np.nan])), r"y\[1\] = nan"),
        (lambda: Classes.of([0.5]), r"y\[0\] = 0.5: .*whole number; targets of regression"),
        (lambda: Classes.of([1j]), r"y\[0\] = 1j"),
        (lambda: Classes.of(np.array(["2026"], "M8[D]")), r"y\.dtype = 'datetime64"),
        (lambda: Classes.of(np.ma.array([1, 2], mask=[False, True])), "y = 'a masked array'"),
        (lambda: Classes(()), r"names = \(\)"),
        (lambda: Classes(cast(Any, "abc")), "names = 'abc'"),
        (lambda: Classes(("a", "b", "a")), "names = 'a': must be there once"),
        (lambda: ANIMALS.encode(["cat", "dgo"]), r"y\[1\] = dgo: .*'cat', 'dog'; did you mean dog"),
        (lambda: ANIMALS.encode([0, 1]), "y = 'numbers': must be text, as .*'cat', 'dog'"),
        (lambda: Classes((1, 5)).encode([5, 4]), r"y\[1\] = 4: .*1, 5; the nearest is 5"),
        (lambda: ANIMALS.decode([0, 2]), r"labels\[1\] = 2: must be a class in 0\.\.1"),
        (lambda: ANIMALS.decode([-1]), r"labels\[0\] = -1"),
        (lambda: ANIMALS.decode([0.0]), r"labels\.dtype = 'float64'"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("as_users_have_it")
def test_bad_labels_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
