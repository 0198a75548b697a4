"""Linear training in the eigenbasis of a kernel: how far it has come at any time."""

from __future__ import annotations

import abc
import itertools
import math
from collections.abc import Callable
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float, Int

from nsh.theory.effective.prediction.conditioning import Status
from nsh.theory.effective.prediction.matrices import MATMUL
from nsh.theory.effective.prediction.residual_decay import ResidualDecay, table_of

UNRESOLVED = 10  # eps of the largest eigenvalue: what is below cannot be told from 0


class Spectrum(eqx.Module):
    """Eigenvalues, ascending, and eigenvectors (columns); those that cannot be told from 0 are 0.

    `condition`: largest over smallest eigenvalue, infinite if that is not above rounding.
    """

    values: Float[Array, " n"]
    vectors: Float[Array, "n n"]
    condition: Float[Array, ""]
    status: Int[Array, ""]


def spectrum(matrix: Float[Array, "n n"]) -> Spectrum:
    """Eigenvalues within 10 eps of 0, relative to the largest, are made 0: `REGULARISED`.

    One below -sqrt(eps) of the largest: `NOT_POSITIVE`, and NaN throughout. Constant for
    derivatives, which `progress` takes by other means.
    """
    values, vectors = jnp.linalg.eigh(jax.lax.stop_gradient(matrix))
    eps = float(jnp.finfo(matrix.dtype).eps)
    largest = values[-1]
    resolved = values > UNRESOLVED * eps * largest
    positive = (values[0] >= -math.sqrt(eps) * largest) & (largest >= 0)  # not so for NaN
    usable = jnp.where(jnp.all(resolved), Status.SOLVED, Status.REGULARISED)
    status = jnp.where(positive, usable, Status.NOT_POSITIVE).astype(jnp.int32)
    condition = jnp.where(resolved[0], largest / values[0], jnp.inf)
    values = jnp.where(positive, jnp.where(resolved, values, 0), jnp.nan)
    return Spectrum(values, vectors, condition, status)


class Share(eqx.Module):
    """A function F of eigenvalues: how far the residual at each of them takes the outputs."""

    def value(self, node: Array, unit: Array) -> Array:
        """``F(v)`` of v > 0 in this unit."""
        return self.column([node], unit)[0]

    @abc.abstractmethod
    def column(self, nodes: list[Array], unit: Array) -> list[Array]:
        """``F[v_i, .., v_last]`` for all i, of nodes v > 0 in this unit."""


class Done(Share):
    """``done(v, time) / v``."""

    decay: ResidualDecay
    time: Float[Array, ""]

    def value(self, node: Array, unit: Array) -> Array:
        """By the decay itself: a table, which derivatives need, takes seconds to compile."""
        decay, time = self.decay.scaled(unit, self.time)
        return decay.done(node, time) / node

    def column(self, nodes: list[Array], unit: Array) -> list[Array]:
        """Of one more node, 0, at which nothing is done."""
        decay, time = self.decay.scaled(unit, self.time)
        table = table_of(decay, [*nodes, jnp.zeros_like(nodes[0])], time)
        return [-row[-1] for row in table[:-1]]


class Slope(Share):
    """The derivative of a share by one of its numbers, the leaf at this place."""

    share: Share
    place: int = eqx.field(static=True)

    def column(self, nodes: list[Array], unit: Array) -> list[Array]:
        """That of the derivative."""
        leaves, form = jax.tree.flatten(self.share)
        number = leaves[self.place]

        def at(number: Array) -> list[Array]:
            changed = [*leaves[: self.place], number, *leaves[self.place + 1 :]]
            return jax.tree.unflatten(form, changed).column(nodes, unit)

        return jax.jvp(at, (number,), (jnp.ones_like(number),))[1]


def progress(
    matrix: Float[Array, "n n"],
    b: Float[Array, "n k"],
    time: Float[Array, ""],
    decay: ResidualDecay,
    found: Spectrum,
) -> Float[Array, "n k"]:
    """``matrix^-1 done(matrix, time) b``, with `found` the spectrum of the symmetric matrix.

    Directions of eigenvalue 0 do not move. Differentiable to any order and in any mode in matrix,
    b, time and decay, also where eigenvalues coincide (where derivatives of eigenvectors do not
    exist). The k-th derivative by the matrix takes time of order n^(k + 1), at least n^3, and
    memory n^k, at least n^2.
    """
    return _applied(matrix, b, Done(decay, time), found)


@jax.custom_jvp
def _applied(
    matrix: Float[Array, "n n"],  # noqa: ARG001, differentiated by
    b: Float[Array, "n k"],
    share: Share,
    found: Spectrum,
) -> Float[Array, "n k"]:
    """``F(matrix) b``."""
    unit, values = _in_units(found)
    null = values == 0
    done = jnp.where(null, 0, share.value(jnp.where(null, 1, values), unit)) / unit
    return _product(found.vectors, done[:, None] * _product(found.vectors.T, b))


@partial(_applied.defjvp, symbolic_zeros=True)
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    matrix, b, share, found = primals
    d_matrix, d_b, d_share, _ = tangents
    changes = _by_numbers(lambda share: _applied(matrix, b, share, found), share, d_share)
    if not _is_zero(d_b):
        changes.append(_linear(lambda b: _applied(matrix, b, share, found), d_b))
    if not _is_zero(d_matrix):
        by_matrix = _linear(partial(_with_move, matrix, [], share, found), d_matrix)
        changes.append(_product(by_matrix, b))
    return _applied(matrix, b, share, found), sum(changes, start=jnp.zeros_like(b))


@jax.custom_jvp
def _moved(
    matrix: Float[Array, "n n"],  # noqa: ARG001, differentiated by
    moves: list[Array],
    share: Share,
    found: Spectrum,
) -> Float[Array, "n n"]:
    """The derivative of ``F(matrix)`` along symmetric moves E: linear and self-adjoint in each.

    In the eigenbasis the sum, over all orders of the moves, of ``sum_jk.. F[v_i, v_j, v_k, ..]
    E1_ij E2_jk ..`` with divided differences of F (Daleckii and Krein, 1965).
    """
    (unit, values), basis, order = _in_units(found), found.vectors, len(moves)
    inner = [_product(_product(basis.T, move + move.T), basis) / (2 * unit) for move in moves]

    def row(given: tuple[Array, list[Array]]) -> Array:
        value, firsts = given
        grid = jnp.meshgrid(*[values] * order, indexing="ij")
        differences = _differences(share, [jnp.full_like(grid[0], value), *grid], unit)
        total = jnp.zeros_like(values)
        for first, *others in itertools.permutations(range(order)):
            factors = [firsts[first], [0]]
            for axis, other in enumerate(others):
                factors += [inner[other], [axis, axis + 1]]
            axes = [*range(order)]
            total += jnp.einsum(differences, axes, *factors, [order - 1], precision=MATMUL)
        return total

    rows = jax.vmap(row) if order == 1 else partial(jax.lax.map, row)
    return _product(_product(basis, rows((values, inner)) / unit), basis.T)


@partial(_moved.defjvp, symbolic_zeros=True)
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    matrix, moves, share, found = primals
    d_matrix, d_moves, d_share, _ = tangents
    changes = _by_numbers(lambda share: _moved(matrix, moves, share, found), share, d_share)
    for place, change in enumerate([*d_moves, d_matrix]):
        if not _is_zero(change):
            fixed = [*moves[:place], *moves[place + 1 :]]
            by_move = partial(_with_move, matrix, fixed, share, found)
            changes.append(_linear(by_move, change))
    return _moved(matrix, moves, share, found), sum(changes, start=jnp.zeros_like(matrix))


def _with_move(
    matrix: Array, fixed: list[Array], share: Share, found: Spectrum, move: Array
) -> Array:
    return _moved(matrix, [*fixed, move], share, found)


def _linear(apply: Callable[[Array], Array], x: Array) -> Array:
    """``apply(x)``, of a linear self-adjoint map, which stays differentiable when transposed.

    JAX forgets the rule of a function that it transposes, so that its derivatives would be lost.
    It keeps those of a linear system: ``s - apply(r) = 0, r = x`` has the solution s = apply(x).
    """

    def equations(unknown: Array) -> Array:
        r, s = unknown
        return jnp.stack([s - apply(r), r])

    def solve(_: object, sides: Array) -> Array:
        first, second = sides
        return jnp.stack([second, first + apply(second)])

    sides = jnp.stack([jnp.zeros_like(x), x])
    return jax.lax.custom_linear_solve(equations, sides, solve, symmetric=True)[1]


def _by_numbers(found: Callable[[Share], Array], share: Share, d_share: Share) -> list[Array]:
    """How what is found changes with the numbers of the share."""
    return [
        change * found(Slope(share, place))
        for place, change in enumerate(jax.tree.leaves(d_share))
        if not _is_zero(change)
    ]


def _is_zero(tangent: object) -> bool:
    return isinstance(tangent, SymbolicZero)


def _in_units(found: Spectrum) -> tuple[Array, Array]:
    """The largest eigenvalue, or 1, and the eigenvalues in this unit."""
    unit = jnp.where(found.values[-1] > 0, found.values[-1], 1)
    return unit, found.values / unit


def _differences(share: Share, nodes: list[Array], unit: Array) -> Float[Array, "..."]:
    """``F[v_0, .., v_k]`` elementwise, where F is 0 around v = 0.

    For m nodes that are 0 that is the divided difference of ``F / v^m`` over the others: one
    triangular solve for each.
    """
    nodes = list(jnp.sort(jnp.stack(nodes), axis=0))  # divided differences are symmetric
    nulls = sum((node == 0).astype(jnp.int32) for node in nodes)
    nodes = [jnp.where(node == 0, 1, node) for node in nodes]
    column = share.column(nodes, unit)
    for count in range(1, len(nodes)):
        solved = [column[-1] / nodes[-1]]
        for node, entry in zip(nodes[-2::-1], column[-2::-1], strict=True):
            solved.insert(0, (entry - solved[0]) / node)
        column = [jnp.where(nulls >= count, *two) for two in zip(solved, column, strict=True)]
    result = jnp.zeros_like(nodes[0])
    for place, entry in enumerate(column):
        result = jnp.where(nulls == place, entry, result)
    return result


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=MATMUL)
