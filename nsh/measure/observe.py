"""What a system makes of a set of examples: the arrays that the other measurements take."""

from __future__ import annotations

import jax
from jaxtyping import Array, Float, PyTree

from nsh._shown import Shown
from nsh.measure._tools import levels_of, outputs_of
from nsh.system import Scaled, System, finite_logits, in_common_unit

EXPECTED = (
    "`observe` takes examples from system.prepare(x, y) and the state of one seed; "
    "for an ensemble's: jax.vmap(lambda state: observe(system, state, examples))(run.state)"
)


class Observation(Shown):
    """Outputs and features of n examples at one state.

    `outputs`: leading axis n; those of a classifier are logits [n, classes], as plain finite
    numbers. `features[l]` [n, d_l] of level l are in units of
    ``exp(log_units[l])`` (1 for a system whose features are plain arrays).
    """

    outputs: PyTree
    features: tuple[Float[Array, "n _"], ...]
    log_units: tuple[Float[Array, ""], ...]


def observe(system: System, state: PyTree, examples: PyTree) -> Observation:
    """The outputs and the features of all levels, for every example of the leading axis.

    A level's feature of one example is flattened to a vector; levels are `Scaled` to one unit over
    the examples (`nsh.system.in_common_unit`). Of an ensemble:
    ``jax.vmap(lambda state: observe(system, state, examples))(run.state)``. Differentiable as far
    as the system is. Raises `ValueError` unless a classifier's logits are a vector and features a
    tuple of vectors.

    Example:
        >>> from nsh.measure import observe
        >>> from nsh.networks import Linear, Network
        >>> network = Network(lambda key: Linear(2, 3, key=key), optax.sgd)
        >>> state = network.init(jax.random.key(0), {"optimiser": {"learning_rate": 0.1}})
        >>> found = observe(network, state, network.prepare(np.eye(2), np.array([0, 1])))
        >>> found.outputs.shape, found.features[0].tolist()
        ((2, 3), [[1.0, 0.0], [0.0, 1.0]])
    """
    try:
        outputs = outputs_of_all(system, state, examples)
        levels = jax.vmap(lambda one: levels_of(system, state, one))(examples)
    except (AttributeError, TypeError, ValueError) as complaint:
        complaint.add_note(EXPECTED)
        raise
    flat = [_flat_in_common_unit(level) for level in levels]
    return Observation(
        outputs, tuple(values for values, _ in flat), tuple(log_unit for _, log_unit in flat)
    )


def outputs_of_all(system: System, state: PyTree, examples: PyTree) -> PyTree:
    """The outputs of every example of the leading axis, as plain numbers."""
    system.check_examples(examples)
    return jax.vmap(lambda one: _finite(outputs_of(system, state, one)))(examples)


def _flat_in_common_unit(
    level: Float[Array, "n ..."] | Scaled,
) -> tuple[Float[Array, "n d"], Float[Array, ""]]:
    values, log_unit = in_common_unit(level)
    return values.reshape(values.shape[0], -1), log_unit


def _finite(outputs: PyTree) -> PyTree:
    return finite_logits(outputs) if isinstance(outputs, Scaled) else outputs
