"""The two-layer network with one dial, from the lazy to the mean-field regime, as a `System`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key, PyTree

from nsh._checks import (
    is_concrete,
    require,
    require_all,
    require_integer,
    require_label_type,
    require_labels,
    require_numeric,
    require_scalar,
)
from nsh._shown import Shown
from nsh._types import ArrayLike
from nsh.activations import Activation, as_activation
from nsh.activations.activation import ActivationLike
from nsh.bounds import Interval
from nsh.system import System
from nsh.theory.two_layer.initializer import ParticleInitializer
from nsh.theory.two_layer.losses import squared_error
from nsh.theory.two_layer.particles import Particles, mean_over

Trained = Literal["both", "u", "theta"]
Hyper = Mapping[str, ArrayLike]
POSITIVE: Interval = (0.0, np.inf)
NEEDED, OPTIONAL = ("alpha", "learning_rate"), ("temperature", "decay_u", "decay_theta")


class Examples(Shown):
    """Inputs and targets; without the leading axis, one example.

    Shapes: x [n, inputs]; y [n, outputs], or labels [n]; present [n]: which examples of a batch
    count, None for all.

    Example:
        >>> from nsh.theory.two_layer import Independent, TwoLayer
        >>> TwoLayer(2, Independent(4)).prepare([[1.0, 2.0]], [3.0])
        Examples(x=[[1., 2.]], y=[[3.]])
    """

    x: Float[Array, "*n inputs"]
    y: Array
    present: Bool[Array, " n"] | None = eqx.field(default=None, repr=False)


class PotentialGradient(eqx.Module):
    """At each particle, the gradient of ``V = mean_i loss'(f(x_i)) . u s(theta . x_i)``."""

    u: Float[Array, "width outputs"]
    theta: Float[Array, "width inputs"]


class TwoLayer(System):
    """``f(x) = alpha sum_j mass_j u_j s(theta_j . x)``, trained by (noisy) gradient descent.

    With masses 1 / m it is ``f = (alpha / m) sum_j u_j s(theta_j . x)`` (Fang, Dong, Zhang, arXiv
    2012.13982). The dial alpha goes from the mean-field view (1) to the lazy or NTK view
    (sqrt m). A step on a mini-batch moves each trained part w of each particle by

    ``-eta (dV/dw / alpha + decay w) + sqrt(2 eta temperature) xi``, ``xi ~ N(0, 1)``,

    V = mean over the batch of ``loss'(f(x_i)) . u s(theta . x_i)``: gradient descent on the mean
    loss with learning rate eta m / alpha^2, so that f moves at the same pace whatever alpha and m:
    ``df/dt = -K loss'`` with K the mean over particles of ``grad (u s) . grad (u s)``. At alpha =
    1 the particles follow ``d_t p = div(p grad(dL/dp + r)) + temperature Laplacian p``.

    `hyper`: a dict with alpha and learning_rate (eta), and any of temperature (noise is drawn only
    where it is given), decay_u and decay_theta (strengths of ``r = decay_u |u|^2 / 2 + decay_theta
    |theta|^2 / 2``). `in_size`: numbers of x; append a constant to x for a bias. `particle_init`:
    `Symmetric(m)`, `Independent(m)`, `Quadrature(m)` (for m = infinity) or `FromArrays(...)`.
    `activation`: a name or any elementwise function. `loss(output [out_size], y)` gives a scalar.
    `trained`: "both", "u" (random features) or "theta". SGD or gradient descent is the sampler's
    choice.

    Differentiable in `hyper` (temperature and decays: where positive). Raises `ValueError` naming
    a bad field.

    Example:
        >>> from nsh.theory.two_layer import FromArrays, TwoLayer
        >>> network = TwoLayer(1, FromArrays(u=[[1.0]], theta=[[2.0]]))
        >>> particles = network.init(jax.random.key(0), {"alpha": 1.0, "learning_rate": 0.1})
        >>> network.output(particles, jnp.array([3.0])).tolist()
        [6.0]
    """

    in_size: int = eqx.field(static=True)
    out_size: int = eqx.field(static=True)
    particle_init: ParticleInitializer
    activation: Activation
    loss: Callable[[Array, Array], Array] = eqx.field(static=True)
    trained: Trained = eqx.field(static=True)

    def __init__(
        self,
        in_size: int,
        particle_init: ParticleInitializer,
        *,
        out_size: int = 1,
        activation: ActivationLike = "relu",
        loss: Callable[[Array, Array], Array] = squared_error,
        trained: Trained = "both",
    ):
        self.in_size = require_integer("in_size", in_size, 1)
        self.out_size = require_integer("out_size", out_size, 1)
        allowed = "a ParticleInitializer, such as Symmetric(1024)"
        require(
            isinstance(particle_init, ParticleInitializer), "particle_init", particle_init, allowed
        )
        particle_init.check(self.in_size, self.out_size)
        require(callable(loss), "loss", loss, "callable: (output [out_size], y) -> scalar")
        parts = get_args(Trained)
        require(trained in parts, "trained", trained, f"one of {', '.join(map(repr, parts))}")
        self.particle_init, self.loss, self.trained = particle_init, loss, trained
        self.activation = as_activation(activation)

    @property
    def trained_parts(self) -> tuple[str, ...]:
        """The names of what training moves: "u", "theta" or both."""
        return ("u", "theta") if self.trained == "both" else (self.trained,)

    def prepare(self, x: ArrayLike, y: ArrayLike) -> Examples:
        """Finite inputs x [n, ...], flattened to [n, in_size], and targets or labels y.

        y: [n, out_size] numbers, or [n] where there is one output; [n] where there are several are
        labels. Raises `ValueError` on anything else.
        """
        x, y = require_numeric("x", x), np.asarray(y)
        require(x.ndim >= 2 and len(x) >= 1, "x.shape", x.shape, "[n, ...] with n >= 1")
        numbers = int(np.prod(x.shape[1:]))
        require(numbers == self.in_size, "x.shape", x.shape, f"{self.in_size} numbers per sample")
        with np.errstate(over="ignore"):  # as they will be: large numbers may overflow
            x = x.reshape(len(x), -1).astype(jnp.result_type(float))
        require_all(np.isfinite(x), "x", x, f"finite, as {x.dtype}")
        x = jnp.asarray(x)
        if y.ndim == 1 and self.out_size > 1:
            return Examples(x, jnp.asarray(require_labels(y, len(x), self.out_size)))
        y = require_numeric("y", y)
        fitting = y.shape == (len(x), self.out_size) or (
            self.out_size == 1 and y.shape == (len(x),)
        )
        other = "targets" if self.out_size == 1 else "labels"
        allowed = f"({len(x)}, {self.out_size}) targets or ({len(x)},) {other}"
        require(fitting, "y.shape", y.shape, allowed)
        require_all(np.isfinite(y), "y", y, "finite")
        return Examples(x, jnp.array(y.reshape(len(x), -1), float))

    @property
    def predicts(self) -> Literal["classes", "labels", "numbers", "anything"]:
        """See `System.predicts`: numbers by one output, classes by several where `y` are labels."""
        return "numbers" if self.out_size == 1 else "classes"

    def check(self, hyper: PyTree, steps: int) -> None:  # noqa: ARG002
        """Raise `ValueError` unless `hyper` has the names and signs the class states."""
        require(isinstance(hyper, dict), "hyper", hyper, "a dict")
        for name in NEEDED:
            require(name in hyper, "hyper", sorted(hyper), f"a dict with {name!r}")
        for name, value in hyper.items():
            known = name in NEEDED + OPTIONAL
            require(known, "hyper", name, f"one of {', '.join(NEEDED + OPTIONAL)}")
            require_scalar(f"hyper[{name!r}]", value)
            if is_concrete(value):
                number = require_numeric(f"hyper[{name!r}]", value)
                low = "> 0" if name in NEEDED else ">= 0"
                enough = number > 0 if name in NEEDED else number >= 0
                require_all(enough & np.isfinite(number), f"hyper[{name!r}]", number, low)

    def check_examples(self, examples: Examples) -> None:
        """Raise `ValueError` unless examples have the shapes that `prepare` gives them."""
        allowed = "Examples: give network.prepare(x, y)"
        require(isinstance(examples, Examples), "examples", type(examples).__name__, allowed)
        x, y = examples.x, examples.y
        fits = x.ndim == 2 and x.shape[1] == self.in_size
        require(fits, "examples.x.shape", x.shape, f"(n, {self.in_size})")
        if jnp.issubdtype(y.dtype, jnp.integer):
            require_label_type(y, len(x), "examples.y")
        else:  # fewer columns would broadcast
            shape = (len(x), self.out_size)
            require(y.shape == shape, "examples.y.shape", y.shape, f"{shape}")

    def masked(self, batch: Examples, present: Bool[Array, " batch"]) -> Examples:
        """The batch whose mean loss is over the examples `present` alone."""
        return dataclasses.replace(batch, present=present)

    def bounds(self, hyper: PyTree) -> PyTree:
        """All hyperparameters are positive."""
        return dict.fromkeys(hyper, POSITIVE)

    def init(self, key: Key[Array, ""], hyper: Hyper) -> Particles:
        """The particles of the particle_init, and alpha."""
        u, theta, mass = self.particle_init.draw(key, self.in_size, self.out_size)
        return Particles(u, theta, mass, jnp.asarray(hyper["alpha"], u.dtype))

    def output(self, particles: Particles, x: Float[Array, " inputs"]) -> Float[Array, " outputs"]:
        """``f(x) = alpha sum_j mass_j u_j s(theta_j . x)``."""
        hidden = self.activation(particles.theta @ x)
        return particles.alpha * mean_over(particles, hidden[:, None] * particles.u)

    def output_gradient(
        self,
        outputs: Float[Array, "n outputs"],
        y: Array,
        present: Bool[Array, " n"] | None = None,
    ) -> Float[Array, "n outputs"]:
        """``d(mean loss)/df(x_i)`` times the number of samples n; the mean of those `present`."""
        gradient = jax.vmap(jax.grad(self.loss))(outputs, y)
        if present is None:
            return gradient
        share = jnp.mean(present, dtype=gradient.dtype)
        return jnp.where(present[:, None], gradient / share, 0)

    def potential_gradient(
        self,
        particles: Particles,
        x: Float[Array, "n inputs"],
        output_gradient: Float[Array, "n outputs"],
    ) -> PotentialGradient:
        """The gradient of the potential V at each particle. Differentiable."""

        def potential(place: PotentialGradient) -> Array:
            hidden = self.activation(place.theta @ x.T)  # [width, n]
            return jnp.sum(hidden * (place.u @ output_gradient.T)) / len(x)

        return jax.grad(potential)(PotentialGradient(particles.u, particles.theta))

    def updated(
        self, particles: Particles, gradient: PotentialGradient, hyper: Hyper, key: Key[Array, ""]
    ) -> Particles:
        """The particles after a step along this gradient."""
        dtype = particles.u.dtype
        number = {name: jnp.asarray(value, dtype) for name, value in hyper.items()}
        eta = number["learning_rate"]
        changed = {}
        for place, name in enumerate(self.trained_parts):
            part = getattr(particles, name)
            slope = getattr(gradient, name) / particles.alpha
            if f"decay_{name}" in number:
                slope += number[f"decay_{name}"] * part
            part -= eta * slope
            if "temperature" in number:
                # drawn flat, which compiles ten times faster, see `particle_init`
                noise = jax.random.normal(jax.random.fold_in(key, place), (part.size,), dtype)
                part += jnp.sqrt(2 * eta * number["temperature"]) * noise.reshape(part.shape)
            changed[name] = part
        return dataclasses.replace(particles, **changed)

    def step(
        self, state: Particles, batch: Examples, hyper: Hyper, key: Key[Array, ""]
    ) -> Particles:
        """One step of (noisy) gradient descent on the batch's mean loss; see the class."""
        outputs = jax.vmap(self.output, (None, 0))(state, batch.x)
        slopes = self.output_gradient(outputs, batch.y, batch.present)
        gradient = self.potential_gradient(state, batch.x, slopes)
        return self.updated(state, gradient, hyper, key)

    def outputs(self, state: Particles, example: Examples) -> Float[Array, " outputs"]:
        """The output f(x)."""
        return self.output(state, example.x)

    def features(self, state: Particles, example: Examples) -> tuple[Float[Array, " width"]]:
        """The hidden layer ``s(theta_j . x)``."""
        return (self.activation(state.theta @ example.x),)
