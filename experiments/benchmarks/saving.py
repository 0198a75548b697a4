"""A long run that is saved every 1,000 steps, against the same run that is not."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.case import Case, Contender, Target
from experiments.benchmarks.work import Data, Work
from nsh import SaveAt, TrainingProblem, WithReplacement, ensemble
from nsh._fingerprint.surroundings import device
from nsh.data import digits
from nsh.measure import accuracy, observe
from nsh.networks import Network, digit_mlp
from nsh.training import Checkpoints, Run, Snapshot

__all__ = ["cases", "device"]

HERE = "experiments.benchmarks.saving"
RATE, RECORDINGS, MOST = 0.05, 10, 1.03


@dataclasses.dataclass(frozen=True)
class Saving:
    """Sizes of the case of MLPs on the digits."""

    hidden: tuple[int, ...] = (256, 128)
    batch: int = 32
    seeds: int = 8
    steps: int = 5_000
    every: int = 1_000
    """Steps between two checkpoints."""


QUICK = Saving((4,), batch=4, seeds=2, steps=20, every=10)


def cases(sizes: Saving) -> list[Case]:
    """The case."""
    given = dataclasses.asdict(sizes)
    every = given.pop("every")
    saved = f"saved every {every:,} steps"
    return [
        Case(
            "saving",
            f"{sizes.seeds} MLPs on the digits, {sizes.steps:,} steps",
            (
                Contender("not saved", f"{HERE}:alone", given),
                Contender(saved, f"{HERE}:saved", {**given, "every": every}),
            ),
            (Target(saved, "not saved", "most", MOST),),
            None, 1e-6,
        )
    ]  # fmt: skip


def alone(_: Data, **sizes: Any) -> Work:
    """One program for the whole run."""
    return _work(functools.partial(trained, None, **sizes))


def saved(_: Data, *, every: int, **sizes: Any) -> Work:
    """A stretch after the other, into a directory that is new each time."""

    def run() -> Run:
        with tempfile.TemporaryDirectory() as directory:
            return trained(Checkpoints(directory, every), **sizes)

    return _work(run)


def _work(run: Any) -> Work:
    def check() -> Data:
        found = run()
        leaves = jax.tree.leaves((found.state.params, found.saved))
        return {f"leaf{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)}

    # programs are compiled by the first call
    return Work(lambda: jax.block_until_ready(run().state), run, check=check)


def trained(
    checkpoints: Checkpoints | None, *, hidden: Any, batch: int, seeds: int, steps: int
) -> Run:
    """All seeds; the test accuracy is recorded at equal intervals."""
    network, data = made(tuple(hidden)), digits()
    examples = network.prepare(data.train_x, data.train_y)
    hyper = {"optimiser": {"learning_rate": jnp.asarray(RATE)}}
    save = SaveAt(on_test_set, every=steps // RECORDINGS)
    problem = TrainingProblem(
        network, examples, hyper, steps=steps, sampler=WithReplacement(batch), save=save
    )
    return ensemble(problem, jax.random.key(0), seeds=seeds, checkpoints=checkpoints)


@functools.cache
def made(hidden: tuple[int, ...]) -> Network:
    """The network, the same for all calls, for which nothing is compiled again."""
    return digit_mlp(hidden, "relu")


def on_test_set(now: Snapshot) -> Any:
    """The accuracy on the test set."""
    data = digits()
    test = now.system.prepare(data.test_x, data.test_y)
    return accuracy(observe(now.system, now.state, test).outputs, test.y)
