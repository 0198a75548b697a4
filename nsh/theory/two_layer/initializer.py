"""Where the particles of a two-layer network start: draws, or nodes for the infinite width."""

from __future__ import annotations

import abc
import importlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from nsh._checks import (
    as_numbers,
    is_concrete,
    plain_integer,
    require,
    require_all,
    require_integer,
    require_numeric,
)
from nsh._extras import extra
from nsh._shown import Shown
from nsh._types import ArrayLike

LARGEST, MOST_AXES = 2**21, 21201  # of a net of Sobol' points: the latter is SciPy's

Drawn = tuple[Float[Array, "width outputs"], Float[Array, "width inputs"], Float[Array, " width"]]


class ParticleInitializer(Shown):
    """The particles before training.

    Example:
        >>> from nsh.theory.two_layer import ParticleInitializer, TwoLayer
        >>> class Zero(ParticleInitializer):
        ...     def draw(self, key, inputs, outputs):
        ...         return jnp.zeros((2, outputs)), jnp.zeros((2, inputs)), jnp.full(2, 0.5)
        >>> TwoLayer(3, Zero()).init(jax.random.key(0), {"alpha": 1.0}).mass.tolist()
        [0.5, 0.5]
    """

    @abc.abstractmethod
    def draw(self, key: Key[Array, ""], inputs: int, outputs: int) -> Drawn:
        """u [width, outputs], theta [width, inputs] and masses [width], which sum to 1."""

    def check(self, inputs: int, outputs: int) -> None:
        """Raise `ValueError` where it cannot serve a network of this size."""


class Independent(ParticleInitializer):
    """`width` units with u, theta ~ N(0, 1) in every entry, independent; f = O(alpha / sqrt m).

    Example:
        >>> from nsh.theory.two_layer import Independent
        >>> u, theta, mass = Independent(4).draw(jax.random.key(0), inputs=3, outputs=1)
        >>> theta.shape, mass.tolist()
        ((4, 3), [0.25, 0.25, 0.25, 0.25])
    """

    width: int = eqx.field(static=True, converter=plain_integer)

    def __check_init__(self):
        require_integer("width", self.width, 1)

    def draw(self, key: Key[Array, ""], inputs: int, outputs: int) -> Drawn:
        """See `ParticleInitializer.draw`."""
        return _normal(key, self.width, inputs, outputs)


class Symmetric(ParticleInitializer):
    """As `Independent`, but the second half repeats the first with -u in place of u: f = 0.

    Antisymmetric initialisation (Chizat, Oyallon, Bach, arXiv 1812.07956, section 1.2): the
    network starts at 0 exactly whatever alpha is. `width` is even.

    Example:
        >>> from nsh.theory.two_layer import Symmetric
        >>> u, theta, mass = Symmetric(4).draw(jax.random.key(0), inputs=3, outputs=1)
        >>> (u[:2] + u[2:]).tolist()
        [[0.0], [0.0]]
    """

    width: int = eqx.field(static=True, converter=plain_integer)

    def __check_init__(self):
        width = require_integer("width", self.width, 2)
        require(width % 2 == 0, "width", width, "even")

    def draw(self, key: Key[Array, ""], inputs: int, outputs: int) -> Drawn:
        """See `ParticleInitializer.draw`."""
        u, theta, mass = _normal(key, self.width // 2, inputs, outputs)
        return jnp.concatenate([u, -u]), jnp.tile(theta, (2, 1)), jnp.tile(mass / 2, 2)


class Quadrature(ParticleInitializer):
    """`width` nodes for the infinite width: quasi-random points of N(0, 1) in every entry.

    A Sobol' net in all entries of u and theta, shifted at random by the key (Cranley and Patterson,
    SIAM J. Numer. Anal. 1976); as in `Symmetric`, each with -u in place of u too, so f = 0. In
    mean-field training particles only meet through f, so following the nodes gives the limit
    m -> infinity. Errors fall about as 1 / width, instead of 1 / sqrt(width) as for drawn units,
    in few dimensions, with a kink in the activation or without.

    Each key gives an independent and unbiased set of nodes, so the spread over some seeds of an
    ensemble (`nsh.training.mean_over_seeds`) is the error of whatever is computed from them.
    `width` is a power of 2, 256 at least (else `ValueError`). Raises `ImportError` without SciPy.

    Example:
        >>> from nsh.theory.two_layer import Quadrature
        >>> u, theta, mass = Quadrature(256).draw(jax.random.key(0), inputs=1, outputs=1)
        >>> round(float(mass @ theta[:, 0] ** 2), 1)  # E theta^2 = 1
        1.0
    """

    width: int = eqx.field(static=True, converter=plain_integer)

    def __check_init__(self):
        width = require_integer("width", self.width, 256, LARGEST)
        require(width & (width - 1) == 0, "width", width, "a power of 2")

    def check(self, inputs: int, outputs: int) -> None:
        """Raise `ValueError` where there is no Sobol' net of so many entries."""
        axes, allowed = outputs + inputs, f"at most {MOST_AXES}: draw the particles"
        require(axes <= MOST_AXES, "inputs + outputs", axes, allowed)

    def draw(self, key: Key[Array, ""], inputs: int, outputs: int) -> Drawn:
        """See `ParticleInitializer.draw`."""
        axes = outputs + inputs
        net = jnp.asarray(_sobol(self.width // 2, axes), float)
        point = (net + jax.random.uniform(key, (1, axes))) % 1
        edge = float(jnp.finfo(point.dtype).epsneg)
        place = jax.scipy.special.ndtri(jnp.clip(point, edge, 1 - edge))
        u, theta = place[:, :outputs], place[:, outputs:]
        mass = jnp.full(self.width, 1 / self.width, place.dtype)
        return jnp.concatenate([u, -u]), jnp.tile(theta, (2, 1)), mass


class FromArrays(ParticleInitializer):
    """Particles as given, e.g. those that other training ended with; mass 1 / width by default.

    Masses are >= 0 and sum to 1.

    Example:
        >>> from nsh.theory.two_layer import FromArrays
        >>> FromArrays(u=[[1.0], [3.0]], theta=[[2.0], [4.0]])
        FromArrays(u=[[1.], [3.]], theta=[[2.], [4.]], mass=[0.5, 0.5])
    """

    u: Float[Array, "width outputs"]
    theta: Float[Array, "width inputs"]
    mass: Float[Array, " width"]

    def __init__(self, u: ArrayLike, theta: ArrayLike, mass: ArrayLike | None = None):
        self.u, self.theta = as_numbers("u", u, float), as_numbers("theta", theta, float)
        require(self.u.ndim == 2 and len(self.u) >= 1, "u.shape", self.u.shape, "(width, outputs)")
        like = f"({len(self.u)}, inputs), a row to each of u's"
        shape = self.theta.shape
        require(self.theta.ndim == 2 and shape[0] == len(self.u), "theta.shape", shape, like)
        width = len(self.u)
        even = jnp.full(width, 1 / width, self.u.dtype)
        self.mass = even if mass is None else as_numbers("mass", mass, float)
        require(self.mass.shape == (width,), "mass.shape", self.mass.shape, f"({width},)")

    def check(self, inputs: int, outputs: int) -> None:
        """Raise `ValueError` unless the particles fit the network."""
        require(self.u.shape[1] == outputs, "u.shape", self.u.shape, f"(width, {outputs})")
        require(
            self.theta.shape[1] == inputs, "theta.shape", self.theta.shape, f"(width, {inputs})"
        )
        for name in ("u", "theta", "mass"):
            value = getattr(self, name)
            if is_concrete(value):
                require_all(np.isfinite(require_numeric(name, value)), name, value, "finite")
        if is_concrete(self.mass):
            require_all(np.asarray(self.mass) >= 0, "mass", self.mass, ">= 0")
            total = float(np.sum(np.asarray(self.mass, np.float64)))
            require(abs(total - 1) < 1e-4, "sum of mass", total, "1")

    def draw(self, key: Key[Array, ""], inputs: int, outputs: int) -> Drawn:  # noqa: ARG002
        """See `ParticleInitializer.draw`; the key is not used."""
        return self.u, self.theta, self.mass


def _normal(key: Key[Array, ""], width: int, inputs: int, outputs: int) -> Drawn:
    of_u, of_theta = jax.random.split(key)
    # drawn flat: the same numbers as drawn in shape, and XLA compiles it ten times faster on a CPU
    u = jax.random.normal(of_u, (width * outputs,)).reshape(width, outputs)
    theta = jax.random.normal(of_theta, (width * inputs,)).reshape(width, inputs)
    return u, theta, jnp.full(width, 1 / width, u.dtype)


def _sobol(count: int, axes: int) -> Float[np.ndarray, "count axes"]:
    """The first points of the Sobol' sequence, a net if their number is a power of 2."""
    with extra("theory", "Quadrature"):
        qmc = importlib.import_module("scipy.stats.qmc")
    return qmc.Sobol(axes, scramble=False).random(count)
