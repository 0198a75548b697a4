"""Linear training at several times: by the kernel's spectrum, or by one solve if it is over."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from nsh.theory.effective.prediction.accuracy import Errors, error_of_mean
from nsh.theory.effective.prediction.conditioning import Factor, Status, factorise
from nsh.theory.effective.prediction.matrices import MATMUL
from nsh.theory.effective.prediction.prediction import worst
from nsh.theory.effective.prediction.residual_decay import ResidualDecay
from nsh.theory.effective.prediction.spectral import UNRESOLVED, Spectrum, progress, spectrum

T = TypeVar("T")


class LinearTraining(eqx.Module):
    """``matrix^-1 done(matrix, t)`` of a training kernel at times t, as a map."""

    times: Float[Array, " times"]

    @abc.abstractmethod
    def at(self, time: Float[Array, ""], b: Float[Array, "n k"]) -> Float[Array, "n k"]:
        """The map at one of the times."""

    @abc.abstractmethod
    def condition(self) -> Float[Array, ""]:
        """Of the matrix."""

    @abc.abstractmethod
    def status(self) -> Int[Array, ""]:
        """How well it was solved."""

    @abc.abstractmethod
    def rounding(self) -> Float[Array, ""]:
        """That of the matrix's entries which the method amounts to, in eps of the diagonal."""

    @abc.abstractmethod
    def left_out(self, time: Float[Array, ""], b: Float[Array, "n k"]) -> Float[Array, "n k"]:
        """How far directions that were left out might have moved, at least."""

    def moved(self, b: Float[Array, "n k"]) -> Float[Array, "times n k"]:
        """The map at all times."""
        return jax.vmap(lambda time: self.at(time, b))(self.times)

    def error(
        self,
        train: Float[Array, "n n"],
        cross: Float[Array, "tests n"],
        b: Float[Array, "n k"],
        errors: Errors,
    ) -> Float[Array, "times tests k"]:
        """That of ``cross moved(b)``: as of a solve, the map's derivative being as large up to 2.

        Constant for derivatives.
        """
        fixed, b = jax.lax.stop_gradient((self, b))

        def one(time: Array, moved: Array) -> Array:
            return error_of_mean(
                lambda b: fixed.at(time, b), train, cross, moved, errors,
                rounding=fixed.rounding(), known=fixed.left_out(time, b),
            )  # fmt: skip

        return jax.vmap(one)(fixed.times, fixed.moved(b))


class BySpectrum(LinearTraining):
    """One eigendecomposition serves all times."""

    matrix: Float[Array, "n n"]
    decay: ResidualDecay
    found: Spectrum

    def at(self, time: Float[Array, ""], b: Float[Array, "n k"]) -> Float[Array, "n k"]:
        """See `progress`."""
        return progress(self.matrix, b, time, self.decay, self.found)

    def condition(self) -> Float[Array, ""]:
        """Of the spectrum."""
        return self.found.condition

    def status(self) -> Int[Array, ""]:
        """Also whether training diverges."""
        growing = self.decay.diverges(self.found.values[-1], jnp.max(self.times, initial=0))
        return worst(self.found.status, growing, Status.DIVERGED)

    def rounding(self) -> Float[Array, ""]:
        """An eigendecomposition is exact for a matrix that differs by eps of the largest value."""
        n = len(self.matrix)
        size = jnp.mean(jnp.diagonal(self.matrix)) * n**0.5
        return jnp.maximum(self.found.values[-1] / jnp.where(size > 0, size, 1), 1)

    def left_out(self, time: Float[Array, ""], b: Float[Array, "n k"]) -> Float[Array, "n k"]:
        """As if of the largest eigenvalue that cannot be told from 0."""
        found = self.found
        largest = jnp.maximum(found.values[-1], jnp.finfo(b.dtype).tiny)
        smallest = UNRESOLVED * float(jnp.finfo(b.dtype).eps) * largest
        share = jnp.where(found.values == 0, self.decay.done(smallest, time) / smallest, 0)
        inner = jnp.matmul(found.vectors.T, b, precision=MATMUL)
        return jnp.matmul(found.vectors, share[:, None] * inner, precision=MATMUL)


class ByFactor(LinearTraining):
    """After infinitely long gradient flow: the inverse."""

    factor: Factor

    def at(self, time: Float[Array, ""], b: Float[Array, "n k"]) -> Float[Array, "n k"]:  # noqa: ARG002
        """``matrix^-1 b``."""
        return self.factor.solve(b)

    def condition(self) -> Float[Array, ""]:
        """Of the factor."""
        return self.factor.condition

    def status(self) -> Int[Array, ""]:
        """Of the factor."""
        return self.factor.status

    def rounding(self) -> Float[Array, ""]:
        """That of the entries."""
        return jnp.ones_like(self.factor.condition)

    def left_out(self, time: Float[Array, ""], b: Float[Array, "n k"]) -> Float[Array, "n k"]:  # noqa: ARG002
        """Nothing."""
        return jnp.zeros_like(b)


def after_training(
    train: Float[Array, "n n"],
    times: Float[Array, "*times"],
    decay: ResidualDecay,
    ended: bool,
    use: Callable[[LinearTraining], T],
) -> T:
    """``use`` of the training at these times; `ended`: gradient flow, and all times infinite.

    Then a Cholesky factor does, at a tenth of the cost, unless the kernel is singular to rounding.
    """
    train, times = (train + train.T) / 2, times.reshape(-1)

    def by_spectrum() -> T:
        return use(BySpectrum(times, train, decay, spectrum(train)))

    if not ended:
        return by_spectrum()
    factor = factorise(train)
    limit = UNRESOLVED * float(jnp.finfo(train.dtype).eps)
    regular = (factor.status == Status.SOLVED) & (factor.condition * limit < 1)
    return jax.lax.cond(regular, lambda: use(ByFactor(times, factor)), by_spectrum)
