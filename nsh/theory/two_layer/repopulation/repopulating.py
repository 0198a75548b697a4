"""Training that alternates with feature repopulation, as a `System`."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from nsh._checks import (
    MOST,
    is_concrete,
    plain_integer,
    require,
    require_all,
    require_integer,
    require_numeric,
    require_scalar,
)
from nsh._shown import Shown
from nsh._types import ArrayLike
from nsh.bounds import Interval
from nsh.system import System
from nsh.theory.two_layer.network import Examples, Hyper, TwoLayer
from nsh.theory.two_layer.particles import Particles
from nsh.theory.two_layer.repopulation.law import optimal_distribution
from nsh.theory.two_layer.repopulation.resample import resample

OWN = ("jitter", "kept")
SHARE: Interval = (0.0, 1.0)
REPOPULATION = 2**31  # what the step's key is folded with, which no step of the network is


class Population(Shown):
    """Particles, and how many steps they have been trained for.

    Example:
        >>> from nsh.theory.two_layer import FromArrays, Repopulating, TwoLayer
        >>> network = Repopulating(TwoLayer(1, FromArrays(u=[[1.0]], theta=[[2.0]])), every=10)
        >>> network.init(jax.random.key(0), {"alpha": 1.0}).steps.item()
        0
    """

    particles: Particles
    steps: Int[Array, ""]


class Repopulating(System):
    """A `TwoLayer` network whose hidden units are drawn anew after every `every` steps.

    Repopulation draws as many units as there are, systematically (`resample`), from
    ``(1 - kept) p* + kept mass``, with p* the `optimal_distribution` on the step's batch: f stays
    the same on average, units that contribute little make room for copies of those that contribute
    much. The theory (Fang, Dong, Zhang, arXiv 2012.13982; Fang, Gu, Zhang, Zhang, arXiv 1911.07626)
    lets the law of infinitely many features move towards p*; this alternation for finitely many,
    and both parameters below, are a construction of this package, to be judged by measurement.

    `hyper`: the network's, and optionally `jitter`, which sets each further copy of a unit apart:
    ``theta' = sqrt(1 - jitter^2) theta + jitter xi``, ``xi ~ N(0, 1)``, so that the law N(0, 1) of
    the start stays as it is and 1 draws afresh; without it, and without a temperature, copies stay
    together for good and the network becomes narrower at each repopulation. It changes f, also on
    average. And `kept`, 0 by default: it bounds importance weights by 1 / kept where a unit that is
    nearly 0 on the batch would get a huge u, and spares units that are 0 on this batch alone; at 1
    all stays as in plain training. What stays the same is the mean over draws: a single network's
    loss jumps at a repopulation.

    Derivatives with respect to `hyper` are those at fixed draws (see `resample`): not those of the
    mean over seeds. Raises `ValueError` naming a bad field.

    Example:
        >>> from nsh.theory.two_layer import FromArrays, Repopulating, TwoLayer
        >>> network = Repopulating(TwoLayer(1, FromArrays(u=[[1.0]], theta=[[2.0]])), every=10)
        >>> network.init(jax.random.key(0), {"alpha": 1.0})
        Population(
          particles=Particles(u=[[1.]], theta=[[2.]], mass=[1.], alpha=1.), steps=0
        )
    """

    network: TwoLayer
    every: int = eqx.field(static=True, converter=plain_integer)

    def __check_init__(self):
        given = type(self.network).__name__
        require(isinstance(self.network, TwoLayer), "network", given, "a TwoLayer")
        require_integer("every", self.every, 1, MOST)

    def prepare(self, x: ArrayLike, y: ArrayLike) -> Examples:
        """As `TwoLayer.prepare`."""
        return self.network.prepare(x, y)

    def check(self, hyper: PyTree, steps: int) -> None:
        """Raise `ValueError` unless `hyper` is as the class states."""
        require(isinstance(hyper, dict), "hyper", hyper, "a dict")
        for name in OWN:
            if name in hyper:
                require_scalar(f"hyper[{name!r}]", hyper[name])
            if name in hyper and is_concrete(hyper[name]):
                number = require_numeric(f"hyper[{name!r}]", hyper[name])
                inside = (number >= 0) & (number <= 1)
                require_all(inside, f"hyper[{name!r}]", number, "in 0..1")
        self.network.check(_of_network(hyper), steps)

    def check_examples(self, examples: Examples) -> None:
        """See `TwoLayer.check_examples`."""
        self.network.check_examples(examples)

    def bounds(self, hyper: PyTree) -> PyTree:
        """All hyperparameters are positive, `jitter` and `kept` below 1."""
        own = {name: SHARE for name in OWN if name in hyper}
        return self.network.bounds(_of_network(hyper)) | own

    def init(self, key: Key[Array, ""], hyper: Hyper) -> Population:
        """The network's start, at step 0."""
        return Population(self.network.init(key, _of_network(hyper)), jnp.int32(0))

    def step(
        self, state: Population, batch: Examples, hyper: Hyper, key: Key[Array, ""]
    ) -> Population:
        """One step of the network, and a repopulation if it is time for one."""
        particles = self.network.step(state.particles, batch, _of_network(hyper), key)
        steps = state.steps + 1
        particles = jax.lax.cond(
            steps % self.every == 0,
            lambda now: self.repopulated(now, batch.x, hyper, key),
            lambda now: now,
            particles,
        )
        return Population(particles, steps)

    def repopulated(
        self,
        particles: Particles,
        x: Float[Array, "n inputs"],
        hyper: Hyper,
        key: Key[Array, ""],
    ) -> Particles:
        """As many units, drawn anew and set apart; see the class."""
        law = optimal_distribution(self.network, particles, x)
        if "kept" in hyper:
            kept = jnp.asarray(hyper["kept"], law.dtype)
            law = (1 - kept) * law + kept * particles.mass
        of_draw, of_noise = jax.random.split(jax.random.fold_in(key, REPOPULATION))
        drawn = resample(particles, law, of_draw, len(law), scheme="systematic")
        if "jitter" not in hyper:
            return drawn
        theta = drawn.theta
        # systematic draws come in order, so copies are neighbours
        same = jnp.all(theta[1:] == theta[:-1], axis=-1) & jnp.all(drawn.u[1:] == drawn.u[:-1], -1)
        further = jnp.concatenate([jnp.zeros(1, bool), same])[:, None]
        # drawn flat, which compiles ten times faster
        noise = jax.random.normal(of_noise, (theta.size,), theta.dtype).reshape(theta.shape)
        jitter = jnp.asarray(hyper["jitter"], theta.dtype)
        apart = jnp.sqrt(1 - jitter**2) * theta + jitter * noise
        return eqx.tree_at(lambda p: p.theta, drawn, jnp.where(further, apart, theta))

    def outputs(self, state: Population, example: Examples) -> Float[Array, " outputs"]:
        """The output f(x)."""
        return self.network.outputs(state.particles, example)

    def features(self, state: Population, example: Examples) -> tuple[Float[Array, " width"]]:
        """The hidden layer ``s(theta_j . x)``."""
        return self.network.features(state.particles, example)

    def is_finite(self, state: Population) -> Bool[Array, ""]:
        """Whether all numbers are finite."""
        return self.network.is_finite(state.particles)


def _of_network(hyper: Hyper) -> Hyper:
    return {name: value for name, value in hyper.items() if name not in OWN}
