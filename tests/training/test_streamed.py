"""Streamed examples: the same bits as in memory, whoever trains; and sources that fail."""

import subprocess
import sys
from pathlib import Path

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nsh import (
    Epochs,
    FullBatch,
    System,
    TrainingProblem,
    WithReplacement,
    ensemble,
    explain,
    hyper_grid,
    hypergradient,
    train,
)
from nsh.data import Classes, joined, source
from nsh.data.source import source_of
from nsh.networks import Classification, Linear, Network, Regression
from nsh.theory.two_layer import Symmetric, TwoLayer
from nsh.training import Sequential, stream
from nsh.training.streamed import ReadAhead

N, SHAPE, CLASSES = 40, (3, 4), 3
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (N, *SHAPE), np.uint8)
Y = RNG.integers(0, CLASSES, N)


class Softmax(System):
    """Softmax regression on bytes, as parts of 256: exact, compiled or not."""

    def prepare(self, x, y):
        x, y = np.asarray(x), np.asarray(y)
        if x.shape[1:] != SHAPE or not np.isfinite(x).all():
            raise ValueError(f"x = {x.shape}: must be finite, [n, 3, 4]")
        if y.max() >= CLASSES:
            raise ValueError(f"y = {y.max()}: must be below {CLASSES}")
        return Softmax.convert(self, jnp.asarray(x), jnp.asarray(y))

    def convert(self, x, y):
        return {"x": x.astype(float) / 256, "y": y.astype(jnp.int32)}

    def init(self, key, hyper):
        return jax.random.normal(key, (CLASSES, 12))

    def step(self, state, batch, hyper, key):
        def loss(weights):
            log = jax.nn.log_softmax(batch["x"].reshape(-1, 12) @ weights.T)
            return -jnp.mean(jnp.take_along_axis(log, batch["y"][:, None], 1))

        noise = jax.random.normal(key, state.shape)
        return state - hyper["rate"] * (jax.grad(loss)(state) + 0.01 * noise)

    def outputs(self, state, example):
        return state @ example["x"].reshape(12)

    def features(self, state, example):
        return (example["x"].reshape(12),)


SYSTEM, HYPER = Softmax(), {"rate": 0.5}


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    path = tmp_path_factory.mktemp("streamed") / "x.bin"
    path.write_bytes(b"header" + X.tobytes())
    return np.memmap(path, np.uint8, "r", 6, X.shape)


@pytest.fixture(scope="module")
def streamed(mapped):
    return stream(SYSTEM, mapped, Y)


def problem(examples, sampler=None, steps=7):
    sampler = WithReplacement(5) if sampler is None else sampler
    return TrainingProblem(SYSTEM, examples, HYPER, steps=steps, sampler=sampler)


def same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_run_has_the_bits_of_one_in_memory(streamed):
    expected = train(problem(SYSTEM.prepare(X, Y), Epochs(5)), KEY)
    same(train(problem(streamed, Epochs(5)), KEY).state, expected.state)


def test_an_ensemble_has_the_bits_of_one_in_memory_and_compiles_once(streamed, mapped, caplog):
    hyper = hyper_grid(lambda rate: {"rate": rate}, rate=[0.1, 0.5])

    def final(examples):
        given = TrainingProblem(
            SYSTEM, examples, hyper, steps=7, sampler=WithReplacement(5), grid_ndim=1
        )
        return ensemble(given, KEY, seeds=3, vmap_size=2).state

    found = final(streamed)
    same(found, final(SYSTEM.prepare(X, Y)))
    again = stream(SYSTEM, np.memmap(mapped.filename, np.uint8, "r", 6, X.shape), Y)
    with jax.log_compiles():
        same(found, final(streamed))
        same(found, final(again))  # another object of the same file
    assert not [r for r in caplog.records if "Finished XLA compilation" in r.message]


@pytest.mark.parametrize(
    ("mode", "method"),
    [
        ("reverse", Sequential("sqrt")),
        pytest.param("reverse", Sequential("step"), marks=pytest.mark.long),
        pytest.param("forward", Sequential("step"), marks=pytest.mark.long),
    ],
)
def test_hypergradients_have_the_bits_of_those_in_memory(streamed, mode, method):
    def objective(run):
        return jnp.sum(run.state**2)

    found = [
        hypergradient(objective, problem(examples), KEY, seeds=2, mode=mode, method=method)
        for examples in (SYSTEM.prepare(X, Y), streamed)
    ]
    same((found[0].value, found[0].gradient), (found[1].value, found[1].gradient))
    assert np.all(np.asarray(found[0].gradient["rate"]) != 0)


def test_any_array_like_and_any_pytree_of_them_can_be_streamed(mapped, streamed):
    """Views of a mapped file, arrays one after the other, and those that take indices alone."""

    class OnlyIndexed:
        shape, dtype = X.shape, X.dtype

        def __getitem__(self, indices):
            assert np.all(np.diff(indices) > 0)  # as HDF5 files want them
            return X[indices]

    expected = SYSTEM.prepare(X, Y)
    flipped = np.memmap(mapped.filename, np.uint8, "r", 6, X.shape)[:, ::-1]
    for x in (X, OnlyIndexed(), joined([mapped[:7], X[7:30], mapped[30:]]), flipped[:, ::-1]):
        same(next(stream(SYSTEM, x, Y.tolist()).blocks(SYSTEM, N)), expected)
    for x, rows in ((flipped, X[:, ::-1]), (mapped[::-1], X[::-1]), (mapped.swapaxes(1, 2), None)):
        rows = X.swapaxes(1, 2) if rows is None else rows
        chosen = np.array([0, 3, 4, 5, 39])
        np.testing.assert_array_equal(source_of(x).read(chosen), rows[chosen])

    class Pair(Softmax):
        def prepare(self, x, y):
            return Softmax.prepare(self, np.asarray(x["a"]) + np.asarray(x["b"][0]), y)

        def convert(self, x, y):
            return Softmax.convert(self, x if eqx.is_array(x) else x["a"] + x["b"][0], y)

    found = stream(Pair(), {"a": mapped, "b": (np.zeros_like(X),)}, Y)
    same(next(found.blocks(Pair(), N)), expected)
    same(found.batch(Pair(), jnp.array([3, 1])), streamed.batch(SYSTEM, jnp.array([3, 1])))


def test_blocks_are_all_prepared_examples_in_order(streamed):
    blocks = list(streamed.blocks(SYSTEM, 12))
    assert [len(block["y"]) for block in blocks] == [12, 12, 12, 4]
    same(jax.tree.map(lambda *parts: jnp.concatenate(parts), *blocks), SYSTEM.prepare(X, Y))


def test_each_is_applied_to_all_that_is_read(mapped, streamed):
    def inverted(x):
        return 255 - x

    found = stream(SYSTEM, mapped, Y, each=inverted)
    expected = SYSTEM.prepare(255 - X, Y)
    same(next(found.blocks(SYSTEM, N)), expected)
    at = jnp.array([3, 1])
    batch = jax.jit(lambda examples, at: examples.batch(SYSTEM, at))(found, at)
    same(batch, jax.tree.map(lambda leaf: leaf[at], expected))
    assert "on 40 examples, read as they are needed, 7 steps" in explain(problem(found))


def test_numbers_of_64_bits_cross_as_they_can(mapped):
    wide = X.astype(">i8")
    same(next(stream(SYSTEM, wide, Y).blocks(SYSTEM, N)), SYSTEM.prepare(X, Y))
    if not jax.config.read("jax_enable_x64"):
        wide[3, 0, 1] = 2**40
        with pytest.raises(ValueError, match=r"x\[3, 0, 1\] = 1099511627776: must be in"):
            stream(SYSTEM, wide, Y)


def test_networks_see_what_prepare_makes(mapped):
    """Names of classes, numbers as targets, tokens, and the places of examples."""
    names = np.array(["owl", "cat", "dog"])[Y]
    classify = Network(lambda key: Linear(12, 3, key=key), optax.sgd, Classification(
        classes=Classes.of(names)))  # fmt: skip
    regress = Network(lambda key: Linear(12, 1, key=key), optax.sgd, Regression())
    embed = Network(Tokens, optax.sgd)
    for network, x, y in [
        (classify, mapped, names), (classify, mapped, names.tolist()), (regress, mapped, Y / 3),
        (regress, mapped, Y.astype(np.uint8)), (embed, mapped[:, 0].astype(">i8"), Y),
    ]:  # fmt: skip
        expected = network.prepare(x, y)
        examples = stream(network, x, y)
        same(next(examples.blocks(network, N)), expected)
        at = jnp.array([5, 0, 5])
        same(examples.batch(network, at), jax.tree.map(lambda leaf, at=at: leaf[at], expected))
        found = jax.eval_shape(lambda at, e=examples, n=network: e.batch(n, at), at)
        chex.assert_trees_all_equal_shapes_and_dtypes(found, examples.batch(network, at))


class Tokens(eqx.Module):
    table: eqx.nn.Embedding

    def __init__(self, key):
        self.table = eqx.nn.Embedding(256, CLASSES, key=key)

    def __call__(self, tokens):
        return jnp.mean(jax.vmap(self.table)(tokens), axis=0)


def test_data_that_change_later_change_no_examples():
    """Arrays that start at multiples of 64 bytes can be shared with JAX, not copied."""
    room = np.zeros(4 * N + 64, np.uint8)
    at = -room.ctypes.data % 64
    y = room[at : at + 4 * N].view(np.float32)
    for network in (
        Network(lambda key: Linear(12, 1, key=key), optax.sgd, Regression()),
        TwoLayer(12, Symmetric(4)),
    ):
        y[:] = 1
        prepared = network.prepare(X, y).y
        streamed = [] if isinstance(network, TwoLayer) else [stream(network, X, y).y]
        y[:] = 2
        for kept in (prepared, *streamed):
            assert np.asarray(kept).max() == 1


@pytest.mark.long
def test_several_devices_stream_at_once(tmp_path):
    program = (
        "import jax; jax.config.update('jax_num_cpu_devices', 2);"
        "import sys; sys.path += sys.argv[1:];"
        "import test_streamed as t; import nsh, numpy as np;"
        "s = t.stream(t.SYSTEM, t.X, t.Y); m = t.SYSTEM.prepare(t.X, t.Y);"
        "a, b = (nsh.ensemble(t.problem(e), t.KEY, seeds=6, vmap_size=1).state for e in (s, m));"
        "assert len(jax.devices()) == 2; t.same(a, b); print('same')"
    )
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", program, str(here), str(here.parent / "support")],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.stdout == "same\n", done.stderr


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stream(SYSTEM, X[:-1], Y), r"y\.shape = \(40,\): must be \(39, ...\)"),
        (lambda: stream(SYSTEM, X[:0], Y[:0]), r"x\.shape = \(0, 3, 4\)"),
        (lambda: stream(SYSTEM, X[:, :2], Y), r"x = \(40, 2, 4\)"),
        (lambda: stream(SYSTEM, X, Y + 1), "y = 3: must be below 3"),
        (lambda: stream(SYSTEM, X.astype(str), Y), r"x\.dtype = '<U"),
        (lambda: stream(SYSTEM, {"a": X, "b": X[1:]}, Y), r"x\['b'\]\.shape = \(39, 3, 4\)"),
        (lambda: stream(SYSTEM, [], Y), r"x\.dtype|x\.shape = \(0,\)"),
        (lambda: stream(Memory(), X, Y), "Memory cannot read data batch by batch"),
        (lambda: stream(Other(), X, Y), r"Other\.convert\(x, y\) = PyTreeDef"),
        (lambda: problem(stream(SYSTEM, X, Y), FullBatch()), r"sampler = FullBatch\(\)"),
        (lambda: problem(stream(SYSTEM, X, Y), Epochs(41)), "size = 41"),
        (lambda: joined([]), r"arrays = \(\)"),
        (lambda: joined([X, X[:, :2]]), r"arrays\[1\] = 'rows \(2, 4\) of uint8'"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


class Other(Softmax):
    def convert(self, x, y):
        return {"x": x, "label": y}


class Memory(Softmax):
    def convert(self, x, y):
        return System.convert(self, x, y)


def test_errors_in_later_blocks_say_where(monkeypatch):
    monkeypatch.setattr(source, "BYTES_AT_ONCE", 10 * X[0].size)
    y = Y.copy()
    y[25] = 7
    with pytest.raises(ValueError, match=r"examples 20\.\.29: y = 7: must be below 3"):
        stream(SYSTEM, X, y)


@pytest.mark.parametrize("change", ["truncated", "written", "gone"])
def test_a_file_that_changes_is_named(tmp_path, change):
    path = tmp_path / "images.bin"
    path.write_bytes(X.tobytes())
    examples = stream(SYSTEM, np.memmap(path, np.uint8, "r", 0, X.shape), Y)
    if change == "gone":  # it is open
        path.unlink()
        same(next(examples.blocks(SYSTEM, N)), SYSTEM.prepare(X, Y))
        return
    with path.open("r+b") as file:
        file.truncate(7) if change == "truncated" else file.write(b"x" * 99)
    with pytest.raises(OSError, match=r"images\.bin: has changed since it was opened"):
        next(examples.blocks(SYSTEM, 5))


def test_a_source_that_fails_ends_the_run_and_may_work_again():
    class Failing:
        shape, dtype, fails = X.shape, X.dtype, False

        def __getitem__(self, indices):
            if self.fails:
                raise OSError("the disk is gone")
            return X[indices]

    x = Failing()
    given = problem(stream(SYSTEM, x, Y))
    expected = train(given, KEY).state
    x.fails = True
    with pytest.raises(Exception, match="the disk is gone"):
        jax.block_until_ready(train(given, jax.random.key(1)).state)
    x.fails = False
    same(train(given, KEY).state, expected)


def test_the_next_rows_are_read_while_a_step_computes():
    """Each batch but the first is asked for by the step before; none is read twice."""
    read = []

    class Watched:
        shape, dtype = X.shape, X.dtype

        def __getitem__(self, indices):
            read.append(tuple(indices))
            return X[indices]

    reader = ReadAhead((source_of(Watched()),))
    batches = [np.array([i, i + 1]) for i in range(6)]
    order = [(0, 0, 1), (1, 0, 2), (2, 1, 3), (3, 2, 4), (4, 3, 5), (5, 4, 5)]
    for now, before, after in [*order, *reversed(order)]:
        (found,) = reader(*(jnp.asarray(batches[i]) for i in (now, before, after)))
        np.testing.assert_array_equal(found, X[batches[now]])
        reader(*(jnp.asarray(batches[i]) for i in (now, before, after)))  # waits for the thread
    assert read[:6] == [(i, i + 1) for i in range(6)]  # in time, and no more than once
    assert read[6:] == [(i, i + 1) for i in (1, 0)]  # backwards: what is not kept any more
