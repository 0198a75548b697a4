"""How residuals decay in linear training: at an eigenvalue, and over several eigenvalues."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Table = list[list[Array]]
MOST_DIGITS = 40  # of a number of steps


class ResidualDecay(eqx.Module):
    """How a residual along an eigenvector of eigenvalue v decays with time."""

    @abc.abstractmethod
    def left(self, v: Float[Array, "..."], time: Float[Array, ""]) -> Float[Array, "..."]:
        """The share of the residual that is left, for v > 0; `time` may be infinite."""

    @abc.abstractmethod
    def done(self, v: Float[Array, "..."], time: Float[Array, ""]) -> Float[Array, "..."]:
        """``1 - left``, accurate also where little is done."""

    @abc.abstractmethod
    def diverges(self, v: Float[Array, "..."], time: Float[Array, ""]) -> Array:
        """Whether the residual grows."""

    @abc.abstractmethod
    def scaled(self, unit: Float[Array, ""], time: Float[Array, ""]) -> tuple[ResidualDecay, Array]:
        """Decay and time for eigenvalues in this unit."""

    @abc.abstractmethod
    def table(self, nodes: list[Array], time: Float[Array, ""]) -> Table:
        """What `table_of` gives."""

    @abc.abstractmethod
    def change(
        self, nodes: list[Array], time: Array, d_decay: ResidualDecay, d_time: Array
    ) -> Table:
        """The derivative of `table_of` by decay and time."""


@jax.custom_jvp
def table_of(decay: ResidualDecay, nodes: list[Array], time: Float[Array, ""]) -> Table:
    """Divided differences of `left` over all runs of consecutive nodes, of which the last is 0.

    ``table[i][j - i]`` is that over nodes i..j: entry (i, j) of ``left(B)``, where B has the nodes
    on its diagonal and ones above them (Opitz, 1964). A run that ends with the last node gives
    minus the divided difference of ``done / v`` over the others. Powers of B come by squaring,
    and no difference of nodes divides, so that nodes may coincide.

    Nodes: of one shape, in (0, 1]. Differentiable in decay and time to any order, not in the nodes.
    """
    return decay.table(nodes, time)


@table_of.defjvp
def _(
    primals: tuple[ResidualDecay, list[Array], Array],
    tangents: tuple[ResidualDecay, list[Array], Array],
) -> tuple[Table, Table]:
    decay, nodes, time = primals
    d_decay, _, d_time = tangents
    return table_of(decay, nodes, time), decay.change(nodes, time, d_decay, d_time)


class GradientFlow(ResidualDecay):
    """Gradient flow: the residual is ``exp(-v t)``."""

    def left(self, v: Float[Array, "..."], time: Float[Array, ""]) -> Float[Array, "..."]:
        """``exp(-v t)``."""
        return jnp.exp(-v * time)

    def done(self, v: Float[Array, "..."], time: Float[Array, ""]) -> Float[Array, "..."]:
        """``1 - exp(-v t)``."""
        return -jnp.expm1(-v * time)

    def diverges(self, v: Float[Array, "..."], time: Float[Array, ""]) -> Array:  # noqa: ARG002
        """Never."""
        return jnp.zeros(v.shape, bool)

    def scaled(self, unit: Float[Array, ""], time: Float[Array, ""]) -> tuple[ResidualDecay, Array]:
        """Time in the inverse unit."""
        return self, time * unit

    def table(self, nodes: list[Array], time: Float[Array, ""]) -> Table:
        """By squaring, from a time so short that the first term of a series is all."""
        ended = jnp.isinf(time)
        time = jnp.where(ended, 0, time)
        short = float(jnp.finfo(time.dtype).eps) ** 0.5
        squarings = _whole(jnp.ceil(jnp.log2(jnp.maximum(time / short, 1))))
        first = jnp.ldexp(time, -squarings)

        def early(i: int, j: int) -> Array:
            mean = sum(nodes[i + 1 : j + 1], start=nodes[i]) / (j - i + 1)
            term = self.left(mean, first)
            for order in range(1, j - i + 1):
                term *= -first / order
            return term

        def double(count: Array, table: Table) -> Table:
            return _exact(self, nodes, jnp.ldexp(first, count + 1), _product(table, table))

        start = _exact(self, nodes, first, _tabulated(len(nodes), early))
        table = jax.lax.fori_loop(0, squarings, double, start)
        return jax.tree.map(lambda end, now: jnp.where(ended, end, now), _limit(nodes), table)

    def change(
        self, nodes: list[Array], time: Array, d_decay: ResidualDecay, d_time: Array
    ) -> Table:
        """``-left(B) B`` by time."""
        del d_decay
        return jax.tree.map(lambda e: -d_time * e, _times(table_of(self, nodes, time), nodes))


class GradientDescent(ResidualDecay):
    """Gradient descent: after t steps the residual is ``(1 - rate v)^t``."""

    rate: Float[Array, ""]

    def left(self, v: Float[Array, "..."], time: Float[Array, ""]) -> Float[Array, "..."]:
        """``(1 - rate v)^t``, accurate also where rate v is below the rounding of 1."""
        x = self.rate * v
        slow = x < 0.5
        gone = time * jnp.log1p(-jnp.where(slow, x, 0.25))
        fast = jnp.power(1 - jnp.where(slow, 0.5, x), time)
        # after infinitely many steps: all, none, or no limit
        limit = jnp.where((x > 0) & (x < 2), 0.0, jnp.where(x == 0, 1.0, jnp.nan))
        return jnp.where(jnp.isinf(time), limit, jnp.where(slow, jnp.exp(gone), fast))

    def done(self, v: Float[Array, "..."], time: Float[Array, ""]) -> Float[Array, "..."]:
        """``1 - (1 - rate v)^t``."""
        x = self.rate * v
        slow = (x < 0.5) & jnp.isfinite(time)
        gone = -jnp.expm1(time * jnp.log1p(-jnp.where(slow, x, 0.25)))
        return jnp.where(slow, gone, 1 - self.left(v, time))

    def diverges(self, v: Float[Array, "..."], time: Float[Array, ""]) -> Array:
        """Beyond twice the inverse rate, or at it for ever."""
        x = self.rate * v
        return (x > 2) | ((x == 2) & jnp.isinf(time))

    def scaled(self, unit: Float[Array, ""], time: Float[Array, ""]) -> tuple[ResidualDecay, Array]:
        """The rate in the inverse unit."""
        return GradientDescent(self.rate * unit), jax.lax.stop_gradient(time)  # whole numbers

    def table(self, nodes: list[Array], time: Float[Array, ""]) -> Table:
        """By squaring, and a step more where the next binary digit of the time is 1."""
        ended = jnp.isinf(time)
        finite = jnp.where(ended, 0, time)
        digits = _whole(jnp.frexp(finite)[1])

        def double(count: Array, table: Table) -> Table:
            now = jnp.floor(jnp.ldexp(finite, count + 1 - digits))
            twice = _product(table, table)
            odd = now != 2 * jnp.floor(now / 2)
            step = jax.tree.map(lambda e, moved: e - self.rate * moved, twice, _times(twice, nodes))
            table = jax.tree.map(lambda one, two: jnp.where(odd, one, two), step, twice)
            return _exact(self, nodes, now, table)

        start = _tabulated(len(nodes), lambda i, j: jnp.full_like(nodes[0], i == j))
        table = jax.lax.fori_loop(0, digits, double, start)
        limit = _exact(self, nodes, time, _limit(nodes))
        return jax.tree.map(lambda end, now: jnp.where(ended, end, now), limit, table)

    def change(
        self, nodes: list[Array], time: Array, d_decay: ResidualDecay, d_time: Array
    ) -> Table:
        """``-t left(B) B`` by the rate, a step earlier."""
        del d_time
        assert isinstance(d_decay, GradientDescent)
        share = jnp.where(jnp.isinf(time), 0, time) * d_decay.rate
        earlier = table_of(self, nodes, jnp.maximum(time - 1, 0))
        return jax.tree.map(lambda e: -share * e, _times(earlier, nodes))


class HeavyBall(ResidualDecay):
    """Gradient descent with momentum, from rest (Polyak, 1964).

    A step takes (e, w), the residual and its change, to (e + w', w') with
    ``w' = momentum w - rate v e``; at first they are (1, 0).
    """

    rate: Float[Array, ""]
    momentum: Float[Array, ""]

    def left(self, v: Float[Array, "..."], time: Float[Array, ""]) -> Float[Array, "..."]:
        """What `done` leaves."""
        return 1 - self.done(v, time)

    def done(self, v: Float[Array, "..."], time: Float[Array, ""]) -> Float[Array, "..."]:
        """By squaring; nothing small is added to 1 on the way."""
        ended = jnp.where(self._decays(v), 1.0, jnp.nan).astype(v.dtype)
        return jnp.where(jnp.isinf(time), ended, -self._changed([v], time)[0][0])

    def diverges(self, v: Float[Array, "..."], time: Float[Array, ""]) -> Array:
        """Beyond ``2 (1 + momentum) / rate``, or at it for ever; and for momenta from 1 on."""
        x, limit = self.rate * v, 2 * (1 + self.momentum)
        return (x > limit) | (self.momentum >= 1) | ((x == limit) & jnp.isinf(time))

    def scaled(self, unit: Float[Array, ""], time: Float[Array, ""]) -> tuple[ResidualDecay, Array]:
        """The rate in the inverse unit."""
        return HeavyBall(self.rate * unit, self.momentum), jax.lax.stop_gradient(time)

    def table(self, nodes: list[Array], time: Float[Array, ""]) -> Table:
        """By squaring."""
        changed, limit, last = self._changed(nodes, time), _limit(nodes), len(nodes) - 1

        def entry(i: int, j: int) -> Array:
            now = changed[i][j - i] + (1 if i == j else 0)
            decay = [self._decays(node) for node in nodes[i : min(j + 1, last)]]
            ended = jnp.where(jnp.stack([*decay, jnp.ones_like(now, bool)]).all(axis=0),
                              limit[i][j - i], jnp.nan)  # fmt: skip
            return jnp.where(jnp.isinf(time), ended, now)

        return _tabulated(len(nodes), entry)

    def change(
        self, nodes: list[Array], time: Array, d_decay: ResidualDecay, d_time: Array
    ) -> Table:
        """By rate and momentum, through the squaring."""
        del d_time
        return jax.jvp(lambda decay: decay.table(nodes, time), (self,), (d_decay,))[1]

    def _decays(self, v: Array) -> Array:
        x = self.rate * v
        return (x > 0) & (x < 2 * (1 + self.momentum)) & (self.momentum < 1)

    def _changed(self, nodes: list[Array], time: Array) -> Table:
        """``left - 1``: the first entry of ``M^t - 1``, M being a step as a matrix of tables."""
        count, one = len(nodes), jnp.ones_like(nodes[0])
        finite = jnp.where(jnp.isinf(time), 0, time)

        def constant(number: Array) -> Table:
            return _tabulated(count, lambda i, j: one * jnp.where(i == j, number, 0))

        pull = _times(constant(-self.rate), nodes)
        step = [[pull, constant(self.momentum)], [pull, constant(self.momentum - 1)]]

        def double(place: Array | int, change: list[list[Table]]) -> list[list[Table]]:
            now = jnp.floor(jnp.ldexp(finite, jnp.asarray(place) + 1 - MOST_DIGITS))
            twice = _sum(_sum(change, change), _squares(change, change))
            more = _sum(_sum(twice, step), _squares(twice, step))
            odd = now != 2 * jnp.floor(now / 2)
            return jax.tree.map(lambda one, two: jnp.where(odd, one, two), more, twice)

        nothing = jax.tree.map(jnp.zeros_like, step)
        return jax.lax.fori_loop(0, MOST_DIGITS, double, nothing)[0][0]


def _sum(a: Any, b: Any) -> Any:
    return jax.tree.map(jnp.add, a, b)


def _squares(a: list[list[Table]], b: list[list[Table]]) -> list[list[Table]]:
    """The product of two by two matrices of tables, which commute."""
    return [
        [_sum(_product(a[i][0], b[0][j]), _product(a[i][1], b[1][j])) for j in (0, 1)]
        for i in (0, 1)
    ]


def _whole(number: Array) -> Array:
    """As an integer; 0 if it is not finite."""
    return jnp.where(jnp.isfinite(number), number, 0).astype(jnp.int32)


def _tabulated(count: int, entry: Callable[[int, int], Array]) -> Table:
    return [[entry(i, j) for j in range(i, count)] for i in range(count)]


def _exact(decay: ResidualDecay, nodes: list[Array], time: Array, table: Table) -> Table:
    """With what is known without squaring: `left` at each node, and ``done / v`` at the last."""
    last = len(nodes) - 1

    def entry(i: int, j: int) -> Array:
        if i == j:
            return jnp.ones_like(nodes[i]) if i == last else decay.left(nodes[i], time)
        known = i == last - 1
        return -decay.done(nodes[i], time) / nodes[i] if known else table[i][j - i]

    return _tabulated(len(nodes), entry)


def _product(a: Table, b: Table) -> Table:
    def entry(i: int, j: int) -> Array:
        return sum(
            (a[i][k - i] * b[k][j - k] for k in range(i + 1, j + 1)), start=a[i][0] * b[i][j - i]
        )

    return _tabulated(len(a), entry)


def _times(table: Table, nodes: list[Array]) -> Table:
    """``left(B) B``."""

    def entry(i: int, j: int) -> Array:
        own = table[i][j - i] * nodes[j]
        return own + table[i][j - i - 1] if j > i else own

    return _tabulated(len(nodes), entry)


def _limit(nodes: list[Array]) -> Table:
    """Of a residual that is gone, but at the last node: ``-(1 / v)[v_i, .., v_j]``."""
    last = len(nodes) - 1

    def entry(i: int, j: int) -> Array:
        if j < last:
            return jnp.zeros_like(nodes[i])
        result = jnp.ones_like(nodes[i])
        for node in nodes[i:last]:
            result /= -node
        return result

    return _tabulated(len(nodes), entry)
