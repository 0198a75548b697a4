"""Local elasticity: how much an update at one example moves the logits of another.

H. He and W. J. Su, "The local elasticity of neural networks", arXiv 1910.06943 (ICLR 2020).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree

from nsh._checks import require
from nsh._shown import Shown
from nsh.measure._tools import (
    checked_labels,
    checked_rows,
    map_rows,
    mean_over_pairs,
    outputs_of,
    safe_norm,
    same_group,
    where_labelled,
)
from nsh.system import Scaled, System, in_common_unit


def elasticity(
    system: System,
    state: PyTree,
    hyper: PyTree,
    updated: PyTree,
    probe: PyTree,
    key: Key[Array, ""],
) -> Float[Array, ""]:
    """Local elasticity of one example, `probe`, under an update at another, `updated`.

    ``LE(x, x') = ||z(x', w+) - z(x', w)|| / ||z(x, w+) - z(x, w)||``: z the outputs, x the updated
    example, w+ the state after one update at x alone, `System.update_at` (He and Su, arXiv
    1910.06943). Both are
    `examples` without the leading axis; `key` goes to the step.

    0 if the update does not move the logits of x. Logits may be `Scaled` beyond floating point;
    a quotient of scales above ``max_float ** (1/3)`` is cut to that size. Differentiable, forward
    and reverse, where the system is and the update moves the logits of x; the slope is 0 where it
    does not move those of x'.

    Example:
        In a linear classifier, an update at one unit vector reaches another through the bias
        alone, which is half of what moves its own logits:

        >>> from nsh.measure import elasticity
        >>> from nsh.networks import Linear, Network
        >>> network = Network(lambda key: Linear(2, 2, key=key), optax.sgd)
        >>> hyper, key = {"optimiser": {"learning_rate": 0.1}}, jax.random.key(0)
        >>> state = network.init(key, hyper)
        >>> examples = network.prepare(np.eye(2), np.array([0, 1]))
        >>> updated, probe = (jax.tree.map(lambda leaf: leaf[i], examples) for i in (0, 1))
        >>> round(float(elasticity(network, state, hyper, updated, probe, key)), 3)
        0.5
    """
    for example in (updated, probe):
        system.check_examples(_batch_of_one(example))
    after = system.update_at(state, updated, hyper, key)
    own = _change(outputs_of(system, state, updated), outputs_of(system, after, updated))
    other = _change(outputs_of(system, state, probe), outputs_of(system, after, probe))
    return _quotient(other, own)


def elasticity_matrix(
    system: System,
    state: PyTree,
    hyper: PyTree,
    examples: PyTree,
    key: Key[Array, ""],
    *,
    probes: PyTree | None = None,
) -> Float[Array, "n m"]:
    """Local elasticity between all pairs: row = updated example, column = probe.

    `probes` default to `examples`; then the diagonal is 1, or 0 where a row's update does not move
    the logits of its own example (the whole row is 0 there). Every row steps from the same state
    with the same key. See `elasticity`; rows are computed in chunks of bounded memory.

    Example:
        A linear classifier with a bias, as in `elasticity`:

        >>> from nsh.measure import elasticity_matrix
        >>> from nsh.networks import Linear, Network
        >>> network = Network(lambda key: Linear(2, 2, key=key), optax.sgd)
        >>> hyper, key = {"optimiser": {"learning_rate": 0.1}}, jax.random.key(0)
        >>> examples = network.prepare(np.eye(2), np.array([0, 1]))
        >>> state = network.init(key, hyper)
        >>> elasticity_matrix(network, state, hyper, examples, key).round(3).tolist()
        [[1.0, 0.5], [0.5, 1.0]]
    """
    watched = examples if probes is None else probes
    for given in (examples, watched):
        system.check_examples(given)
    before = jax.vmap(lambda example: outputs_of(system, state, example))(watched)

    def row(updated: PyTree):
        after = system.update_at(state, updated, hyper, key)

        def change(outputs: PyTree, example: PyTree):
            return _change(outputs, outputs_of(system, after, example))

        own = None if probes is None else change(outputs_of(system, state, updated), updated)
        return jax.vmap(change)(before, watched), own

    held = sum(leaf.size for leaf in jax.tree.leaves((state, watched, before)))
    changes, own = map_rows(row, examples, held)
    if probes is None:
        # Not computed once more: rounding of small changes would move the diagonal off 1.
        own = jax.tree.map(jnp.diagonal, changes)
    return _quotient(changes, jax.tree.map(lambda number: number[:, None], own))


class ElasticityContrast(Shown):
    """Mean local elasticity over pairs of different examples; NaN where there is no such pair.

    `within_subclass`: same class and subclass. `within_class`: same class, different subclass.
    `across_classes`: different classes. `ratio`: mean over all pairs of the same class, divided by
    `across_classes` (infinite if that is 0).
    """

    within_subclass: Float[Array, ""]
    within_class: Float[Array, ""]
    across_classes: Float[Array, ""]
    ratio: Float[Array, ""]


def elasticity_contrast(
    matrix: Float[Array, "n n"],
    labels: Int[Array, " n"],
    subclasses: Int[Array, " n"] | None = None,
) -> ElasticityContrast:
    """Local elasticity within subclasses, within classes and across classes.

    Without `subclasses` every example is a subclass of its own: `within_subclass` is NaN and
    `within_class` is over all pairs of the same class. Subclass numbers need only differ within a
    class. Raises `ValueError` on bad labels or shapes; NaN on traced labels below 0. Differentiable
    in `matrix`.

    Example:
        >>> from nsh.measure import elasticity_contrast
        >>> matrix = jnp.array([[1.0, 0.5, 0.25], [0.5, 1.0, 0.25], [0.25, 0.25, 1.0]])
        >>> contrast = elasticity_contrast(matrix, jnp.array([0, 0, 1]))
        >>> float(contrast.within_class), float(contrast.across_classes), float(contrast.ratio)
        (0.5, 0.25, 2.0)
    """
    matrix = checked_rows(matrix, "matrix")
    n = len(matrix)
    require(matrix.shape == (n, n), "matrix.shape", matrix.shape, f"({n}, {n})")
    labels, inside = checked_labels(labels, n)
    parts = jnp.arange(n) if subclasses is None else subclasses
    parts, inside_too = checked_labels(parts, n, field="subclasses")
    same_class = same_group(labels)
    same_subclass = same_class & same_group(parts)
    across = mean_over_pairs(matrix, ~same_class)
    contrast = ElasticityContrast(
        within_subclass=mean_over_pairs(matrix, same_subclass),
        within_class=mean_over_pairs(matrix, same_class & ~same_subclass),
        across_classes=across,
        ratio=mean_over_pairs(matrix, same_class) / across,
    )
    return where_labelled(contrast, inside & inside_too)


def _batch_of_one(example: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[None], example)


def _change(before: PyTree, after: PyTree) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """``(size, log_unit)`` of the outputs' change: true size = size * e^log_unit."""
    # One unit for w and w+, or the difference would mean nothing; another one per example, so
    # that an example of small logits keeps its digits beside one of huge logits.
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), before, after)
    if isinstance(both, Scaled):
        both, log_unit = in_common_unit(both)
    else:
        log_unit = None
    moved = [jnp.ravel(leaf[1] - leaf[0]) for leaf in jax.tree.leaves(both)]
    size = safe_norm(moved[0] if len(moved) == 1 else jnp.concatenate(moved))
    return size, jnp.zeros((), size.dtype) if log_unit is None else log_unit


def _quotient(
    other: tuple[Float[Array, "*n"], Float[Array, "*n"]],
    own: tuple[Float[Array, "*#n"], Float[Array, "*#n"]],
) -> Float[Array, "*n"]:
    (size, log_unit), (own_size, own_log_unit) = other, own
    moved = own_size != 0
    limit = jnp.log(jnp.finfo(size.dtype).max) / 3
    scale = jnp.exp(jnp.minimum(log_unit - own_log_unit, limit))
    return jnp.where(moved, size / jnp.where(moved, own_size, 1) * scale, 0)
