"""Small studies, as files and from Python, and what two stores have in common."""

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from problems import split

from nsh import Geometric, Neurashed, Rules, SaveAt, System
from nsh.neurashed import figure4
from nsh.study import Study, measurements

FILE = """\
seeds = 5
steps = 8
chunk = 4
key = 3

[system]
name = "neurashed"
graph = "figure4"

[hyper]
growth = { name = "geometric", factor = 1.06 }
decay = { name = "geometric", factor = 0.99 }

[grid]
growth.factor = [1.05, 1.5, 2.0]

[record]
every = 4
what = ["cross_entropy", "log_amplification"]
"""

GRID = {"growth.factor": [1.05, 1.5, 2.0]}


def small_study(**changes):
    graph, inputs = figure4()
    system = Neurashed(graph)
    what = ["cross_entropy", "log_amplification"]
    fields = {
        "hyper": Rules(Geometric(1.06), Geometric(0.99)),
        "save": SaveAt(measurements(what, system, inputs.x, inputs.y, key=3), every=4),
        "seeds": 5,
        "steps": 8,
        "grid": GRID,
        "key": 3,
        "chunk": 4,
    }
    examples = system.prepare(inputs.x, inputs.y)
    problem, rest = split(system, examples, **(fields | changes))
    return Study(problem, **rest)


class Swelling(System):
    """A number that starts normal; above the threshold it grows beyond all bounds, below it rests.

    Quick to compile, and one knows which seeds diverge.
    """

    def prepare(self, x, y):
        return jnp.asarray(x, float)

    def init(self, key, hyper):
        return jax.random.normal(key, (), float)

    def step(self, state, batch, hyper, key):
        return jnp.where(state > hyper["threshold"], state * 1e30, state)

    def outputs(self, state, example):
        return jnp.stack([state, -state]) * example

    def features(self, state, example):
        return (jnp.stack([state, example]),)


def number(now):
    return {"number": now.state}


def swelling(**changes):
    """A study of it, in which none of the seeds below the threshold of 1 diverges."""
    system = Swelling()
    fields = {
        "system": system,
        "examples": system.prepare([1.0, 2.0], None),
        "hyper": {"threshold": 1.0},
        "save": SaveAt(number, every=10),
        "seeds": 40,
        "steps": 20,
    }
    problem, rest = split(**(fields | changes))
    return Study(problem, **rest)


def for_file():
    """The same for a study file."""
    return Swelling(), [1.0, 2.0], [0, 1], None, {"threshold": 1.0}


class Peaked(Swelling):
    """After a step |1 - rate|^(1/2), which has no slope at rate 1."""

    def step(self, state, batch, hyper, key):
        return jnp.sqrt(jnp.abs(1 - hyper["rate"]))


def on_a_peak():
    return Peaked(), [1.0, 2.0], [0, 1], None, {"rate": 1.0}


def root(now):
    return {"root": now.state}


def write(directory, text=FILE, name="small.toml"):
    path = directory / name
    path.write_text(text)
    return path


def assert_same_bytes(one: xr.Dataset, other: xr.Dataset):
    assert set(one.variables) == set(other.variables)
    for name in one.variables:
        here, there = one[name].values, other[name].values
        assert here.dtype == there.dtype
        assert here.shape == there.shape
        assert np.ascontiguousarray(here).tobytes() == np.ascontiguousarray(there).tobytes(), name


def files(directory):
    """Every file of a store but the one that says when it was begun, with its bytes."""
    root = directory / "data.zarr"
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path != root / "zarr.json"
    }
