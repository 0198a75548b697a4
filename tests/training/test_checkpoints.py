"""Long runs in stretches: resumed is uninterrupted, bit for bit; what is damaged is recognised."""

import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsh import (
    Constant,
    Epochs,
    Geometric,
    Neurashed,
    Rules,
    SaveAt,
    System,
    TrainingProblem,
    ensemble,
    train,
)
from nsh.neurashed import figure4
from nsh.training import Checkpoints, ClosedForm

pytestmark = pytest.mark.core
KEY = jax.random.key(3)


class Walk(System):
    """A state that files do not hold as it is: a random key, and numbers of 16 and 8 bits."""

    def prepare(self, x, y):
        return jnp.asarray(x)

    def init(self, key, hyper):
        small = jnp.zeros((), jnp.float8_e4m3fn)
        return {"key": key, "place": jnp.zeros(3, jnp.bfloat16), "small": small}

    def step(self, state, batch, hyper, key):
        own, after = jax.random.split(state["key"])
        moved = jax.random.normal(own, (3,)) + jnp.sum(batch) * jax.random.uniform(key)
        place = state["place"] + moved.astype(jnp.bfloat16)
        return {"key": after, "place": place, "small": moved[0].astype(state["small"].dtype)}

    def outputs(self, state, example):
        return state["place"]

    def features(self, state, example):
        return (state["place"],)


def everything(now):
    return now.state, now.step


def problem(steps=25, every=5):
    examples = jnp.arange(6.0)
    save = SaveAt(everything, every=every)
    return TrainingProblem(Walk(), examples, None, steps=steps, sampler=Epochs(2), save=save)


class Killed(Exception):
    """Stands for the end of the process."""


def many(directory, told=None, asked=None, every=10, seeds=3, **options):
    return ensemble(
        problem() if asked is None else asked, KEY, seeds=seeds, callback=told,
        checkpoints=Checkpoints(directory, every), **options,
    )  # fmt: skip


def one(directory, told=None, asked=None, every=10):
    asked = problem() if asked is None else asked
    return train(asked, KEY, checkpoints=Checkpoints(directory, every), callback=told)


def killed_after(count):
    def told(_):
        nonlocal count
        count -= 1
        if count == 0:
            raise Killed

    return told


def as_numbers(tree):
    def number(leaf):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.key_data(leaf)
        small = leaf.dtype == jnp.float8_e4m3fn
        return np.asarray(leaf).view(np.uint8) if small else leaf

    return jax.tree.map(number, tree)


def assert_same(mine, other):
    assert [a.dtype for a in jax.tree.leaves(mine)] == [a.dtype for a in jax.tree.leaves(other)]
    mine, other = (as_numbers((run.state, run.saved, run.status)) for run in (mine, other))
    chex.assert_trees_all_equal_shapes_and_dtypes(mine, other)
    chex.assert_trees_all_equal(mine, other)


@pytest.mark.thorough
@pytest.mark.parametrize("run", [many, one])
def test_a_run_that_was_killed_goes_on_bit_for_bit(run, tmp_path):
    done = []
    whole = run(tmp_path / "whole", done.append)
    assert sum(done) == pytest.approx(3 if run is many else 25)
    assert len(done) == 3
    out = tmp_path / "killed"
    for kills in (1, 2):  # the second time after what is there is told, and one stretch more
        with pytest.raises(Killed):
            run(out, killed_after(kills))
    assert_same(run(out), whole)
    assert_same(run(out), whole)  # what is done is read
    np.testing.assert_array_equal(np.moveaxis(whole.saved[1], -1, 0).T, _times(run))
    # the same steps without checkpoints: the same keys, the same mini-batches
    alone = train(problem(), KEY) if run is one else ensemble(problem(), KEY, seeds=3)
    assert_same(alone, whole)


def _times(run):
    times = np.arange(0, 26, 5)
    return times if run is one else np.tile(times, (3, 1))


def test_chunks_are_saved_one_by_one(tmp_path):
    whole, out = many(tmp_path / "whole", chunk=2), tmp_path / "killed"
    with pytest.raises(Killed):
        many(out, killed_after(4), chunk=2)
    assert {path.name for path in out.iterdir()} == {"description.json", "members-0", "members-2"}
    assert_same(many(out, chunk=2), whole)


@pytest.mark.parametrize("kind", ["carried", "recorded"])
def test_damaged_files_are_recognised(kind, tmp_path):
    whole = one(tmp_path)
    files = sorted((tmp_path / "run").glob(f"*.{kind}"))
    assert len(files) == {"carried": 2, "recorded": 3}[kind]
    content = files[-1].read_bytes()
    changed = bytearray(content)
    changed[-1] ^= 1
    for damage in (content[:-3], bytes(changed), b""):
        files[-1].write_bytes(damage)
        done = []
        assert_same(one(tmp_path, done.append), whole)
        assert done == [20, 5]  # the stretch before it was used
    files[0].unlink()  # of all that is there, or of what nobody has any more
    assert_same(one(tmp_path), whole)


def test_a_half_written_file_leaves_nothing(tmp_path):
    whole = one(tmp_path)
    half = tmp_path / "run" / ".0000000020.4711.carried"
    half.write_bytes(b"half")
    assert_same(one(tmp_path), whole)
    assert not half.exists()


def test_another_run_is_refused_and_the_difference_named(tmp_path):
    many(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=r"problem.steps: 25 there, 30 here"):
        many(tmp_path, asked=problem(30))
    with pytest.raises(ValueError, match=r"run.seeds: 3 there, 4 here"):
        many(tmp_path, seeds=4)
    with pytest.raises(ValueError, match=r"run.every: 10 there, 5 here"):
        many(tmp_path, every=5)
    with pytest.raises(ValueError, match=r"run.function: \"?ensemble"):
        one(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    (tmp_path / "description.json").write_text("{")
    with pytest.raises(ValueError, match="move the directory away"):
        many(tmp_path)


def test_files_are_those_of_equinox(tmp_path):
    one(tmp_path)
    first, _, rest = (tmp_path / "run" / "0000000025.carried").read_bytes().partition(b"\n")
    assert json.loads(first)["steps"] == 25
    assert rest.startswith(b"\x93NUMPY")


def counted_problem():
    graph, inputs = figure4()
    system = Neurashed(graph, Constant(1.0), Constant(1.0))
    rules = Rules(Geometric(1.01), Geometric(0.99))
    examples = system.prepare(inputs.x, inputs.y)
    return TrainingProblem(system, examples, rules, steps=1050)


def test_sums_are_settled_within_stretches(tmp_path):
    """A stretch is no multiple of the 100 steps after which sums are settled."""
    asked = counted_problem()
    found = train(asked, KEY, checkpoints=Checkpoints(tmp_path, 350)).state
    counted = train(asked, KEY, method=ClosedForm()).state
    np.testing.assert_allclose(
        found.log_amplification, counted.log_amplification, rtol=1e-6, atol=1e-6
    )


def test_no_steps_at_all(tmp_path):
    assert_same(one(tmp_path, asked=problem(0)), train(problem(0), KEY))


def test_only_methods_that_step(tmp_path):
    asked, checkpoints = counted_problem(), Checkpoints(tmp_path, 5)
    with pytest.raises(ValueError, match=r"ClosedForm\(\): must be Sequential\(\)"):
        train(asked, KEY, method=ClosedForm(), checkpoints=checkpoints)
    with pytest.raises(ValueError, match="outside: files are written"):
        jax.jit(lambda key: train(asked, key, checkpoints=checkpoints).state)(KEY)
    with pytest.raises(ValueError, match="every = 0"):
        Checkpoints(tmp_path, 0)
