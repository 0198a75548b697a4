"""What a study is as JSON: equal for equal values, different for all others."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from studies import small_study

from nsh import Geometric, Rules
from nsh.networks import digit_mlp
from nsh.study.identity import canonical, described, differences


def doubled(x):
    """Twice x."""
    return 2 * x


def scaled(factor):
    return lambda x: factor * x


def of_source(source):
    names = {"__name__": "somewhere"}
    exec(source, names)
    return names["f"]


VALUES = [
    None,
    1,
    1.0,
    float("nan"),
    "1",
    [1, 2],
    {"a": 1},
    jnp.arange(3.0),
    jnp.arange(3),
    np.arange(100),
    np.arange(100)[::-1],
    jax.random.key(0),
    jax.random.key(1),
    jnp.tanh,
    optax.sgd(0.1),
    optax.sgd(0.2),
    scaled(2.0),
    scaled(3.0),
    doubled,
    functools.partial(doubled, 1),
    of_source("def f(x): return x + 1"),
    of_source("def f(x): return x + 2"),
    of_source("def f(x, y=1): return x + 1"),
    Geometric(1.5),
    Rules(Geometric(1.5), Geometric(0.5)),
    jax.ShapeDtypeStruct((2,), jnp.float32),
    small_study().save,
    digit_mlp((4,)),
    digit_mlp((4, 4)),
    digit_mlp((4,), "relu"),
]


def test_different_values_have_different_descriptions():
    texts = [canonical(described(value)) for value in VALUES]
    assert len(set(texts)) == len(texts)
    for text in texts:
        json.loads(text, parse_constant=lambda name: pytest.fail(name))


def test_equal_values_have_the_same_description():
    for _ in range(2):
        assert described(scaled(2.0)) == described(scaled(2.0))
        assert described(optax.adam(0.1)) == described(optax.adam(0.1))
        assert described(jnp.arange(50)) == described(np.arange(50, dtype=jnp.arange(50).dtype))
    study = small_study()
    assert described(study) == described(small_study())
    assert described(study) != described(dataclasses.replace(study, seeds=6))


def test_where_a_function_stands_does_not_matter():
    moved = of_source("# a comment\n\n\ndef f(x): return x + 1")
    assert described(moved) == described(of_source("def f(x): return x + 1"))


def test_differences_are_named():
    before = described(small_study())
    now = described(small_study(hyper=Rules(Geometric(1.07), Geometric(0.99)), seeds=7))
    assert differences(before, before) == []
    found = differences(before, now)
    assert found[0] == "hyper.growth.factor: 1.06 there, 1.07 here"
    assert found[1] == "seeds: 5 there, 7 here"
    assert len(found) == 2


def test_what_cannot_be_told_apart_is_refused():
    with pytest.raises(ValueError, match="object at"):
        described({"a": object()})
