"""What a study is as JSON: equal for equal values, different for all others."""

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import sys
import threading
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sklearn.datasets
from studies import small_study

from nsh import Geometric, Rules
from nsh._fingerprint.description import Description, canonical, differences
from nsh.data import joined
from nsh.data import source as sources
from nsh.data.source import source_of
from nsh.networks import digit_mlp


def fingerprint(value):
    return Description().of(value)


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
    small_study().problem.save,
    digit_mlp((4,)),
    digit_mlp((4, 4)),
    digit_mlp((4,), "relu"),
]


def test_different_values_have_different_descriptions():
    texts = [canonical(fingerprint(value)) for value in VALUES]
    assert len(set(texts)) == len(texts)
    for text in texts:
        json.loads(text, parse_constant=lambda name: pytest.fail(name))


def test_equal_values_have_the_same_description():
    for _ in range(2):
        assert fingerprint(scaled(2.0)) == fingerprint(scaled(2.0))
        assert fingerprint(optax.adam(0.1)) == fingerprint(optax.adam(0.1))
        assert fingerprint(jnp.arange(50)) == fingerprint(np.arange(50, dtype=jnp.arange(50).dtype))
    study = small_study()
    assert fingerprint(study) == fingerprint(small_study())
    assert fingerprint(study) != fingerprint(dataclasses.replace(study, seeds=6))


def test_where_a_function_stands_does_not_matter():
    moved = of_source("# a comment\n\n\ndef f(x): return x + 1")
    assert fingerprint(moved) == fingerprint(of_source("def f(x): return x + 1"))


HELPERS = """
LIMIT = 2.0
def unread(x): return x
def half(x): return x / LIMIT
"""
MINE = """
import functools, jax, jax.numpy as jnp, helpers_of_mine
from helpers_of_mine import half
RATE = 0.5
TABLE = {"a": [1.0, 2.0]}
class Base:
    shift = 3.0
    def below(self, x): return x + self.shift
class System(Base):
    def step(self, x): return self.below(x) * RATE
    @property
    def size(self): return 4
    @staticmethod
    def fixed(x): return x - 5
def decorated(f):
    @functools.wraps(f)
    def g(x): return 6 * f(x)
    return g
@decorated
def twice(x): return x * 2.5
@jax.jit
def compiled(x): return x + 7
@functools.cache
def cached(): return 8
@jax.custom_jvp
def ruled(x): return x * 9
@ruled.defjvp
def slope(p, t): return ruled(*p), t[0] * 10
def default(x, y=11): return x + y
bound = functools.partial(default, y=12)
def nested(x):
    def inner(x): return inner(x) if x else outer_of_all(x)
    return inner(x)
def outer_of_all(x): return nested(x) if x > 13 else x
def imports(x):
    from helpers_of_mine import half as other
    return other(x)
compare = (lambda bound: lambda x: x > bound)(14)
picked = TABLE.get
def what(x):
    "What is recorded."
    helpers_of_mine.half(x), half(x), twice(x), compiled(x), cached(), ruled(x), bound(x)
    nested(x), imports(x), compare(x), picked("a")
    return System().step(x), jnp.tanh(x)
"""


def of_module(monkeypatch, mine, helpers=HELPERS):
    """What a study knows of `what` in two modules with this source."""
    modules = {name: types.ModuleType(name) for name in ("helpers_of_mine", "mine_of_all")}
    for source, (name, module) in zip((helpers, mine), modules.items(), strict=True):
        monkeypatch.setitem(sys.modules, name, module)
        exec(source, vars(module))
    description = Description()
    value = description.of(modules["mine_of_all"].what)
    assert not description.unseen
    return canonical([value, description.code])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("RATE = 0.5", "RATE = 0.6"),
        ("[1.0, 2.0]", "[1.0, 2.1]"),
        ("shift = 3.0", "shift = 3.1"),
        ("x + self.shift", "x - self.shift"),
        ("return 4", "return 5"),
        ("x - 5", "x - 6"),
        ("6 * f(x)", "7 * f(x)"),
        ("x * 2.5", "x * 2.6"),
        ("x + 7", "x + 8"),
        ("return 8", "return 9"),
        ("x * 9", "x * 8"),
        ("t[0] * 10", "t[0] * 11"),
        ("y=11", "y=12"),
        ("y=12", "y=13"),
        ("x > 13", "x > 14"),
        (")(14)", ")(15)"),
        ("jnp.tanh", "jnp.sinh"),
        ("half(x): return x / LIMIT", "half(x): return x * LIMIT"),
        ("LIMIT = 2.0", "LIMIT = 2.5"),
    ],
)
def test_whatever_a_function_leads_to_is_looked_at(monkeypatch, old, new):
    assert (MINE + HELPERS).count(old) == 1
    edited = [source.replace(old, new) for source in (MINE, HELPERS)]
    assert of_module(monkeypatch, *edited) != of_module(monkeypatch, MINE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("RATE = 0.5", "# half\n\nRATE = 0.5"),
        ('"What is recorded."', '"What is not."'),
        ("unread(x): return x", "unread(x): return -x"),
    ],
)
def test_what_changes_no_number_is_not(monkeypatch, old, new):
    assert (MINE + HELPERS).count(old) == 1
    edited = [source.replace(old, new) for source in (MINE, HELPERS)]
    assert of_module(monkeypatch, *edited) == of_module(monkeypatch, MINE)


def test_what_code_reads_and_cannot_be_seen_is_listed():
    lock = threading.Lock()
    names = {"__name__": "somewhere", "lock": lock}
    exec("def f(x): return lock, open(x), eval(x)", names)
    description = Description()
    description.of(names["f"])
    assert description.unseen == {
        "somewhere.lock": "_thread.lock",
        "what somewhere.f reaches by open()": "not in its code",
        "what somewhere.f reaches by eval()": "not in its code",
    }


@pytest.mark.long
def test_releases_of_packages_are_met_and_code_may_be_deep():
    names = {"__name__": "somewhere", "load_digits": sklearn.datasets.load_digits}
    exec("def f0(): return load_digits()", names)
    for i in range(2000):
        exec(f"def f{i + 1}(): return f{i}()", names)
    description = Description()
    description.of(names["f2000"])
    release = importlib.metadata.version("scikit-learn")
    assert description.releases == {"sklearn": f"scikit-learn {release}"}
    assert len(description.code) == 2001


def test_differences_show_where_texts_differ():
    before, now = list(range(100)), [*range(70), 71, *range(71, 100)]
    (line,) = differences({"grid": before}, {"grid": now})
    assert "69, 70, 71, 72" in line
    assert "69, 71, 71, 72" in line
    floats = [fingerprint({"a": np.array(0.99, kind)}) for kind in ("float32", "float64")]
    assert differences(*floats) == ["a.dtype: float32 there, float64 here"]
    assert differences({"a": True}, {"a": 1}) == ["a: true there, 1 here"]


def test_data_are_told_by_their_content_wherever_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "BYTES_AT_ONCE", 100)  # in blocks
    x = np.random.default_rng(0).normal(size=(50, 3))
    x.tofile(tmp_path / "x")
    mapped = np.memmap(tmp_path / "x", x.dtype, "r", shape=x.shape)
    expected = hashlib.sha256(x.tobytes()).hexdigest()
    for value in (
        x,
        mapped,
        source_of(x),
        source_of(mapped),
        source_of(joined([x[:9], mapped[9:]])),
    ):
        assert fingerprint(value) == {"dtype": "float64", "shape": [50, 3], "sha256": expected}
    assert fingerprint(source_of(x[::-1]))["sha256"] != expected


def test_differences_are_named():
    before = fingerprint(small_study())
    now = fingerprint(small_study(hyper=Rules(Geometric(1.07), Geometric(0.99)), seeds=7))
    assert differences(before, before) == []
    found = differences(before, now)
    assert found[0] == "problem.hyper.growth.factor: 1.06 there, 1.07 here"
    assert found[1] == "seeds: 5 there, 7 here"
    assert len(found) == 2


def test_what_cannot_be_told_apart_is_refused():
    with pytest.raises(ValueError, match="object at"):
        fingerprint({"a": object()})
