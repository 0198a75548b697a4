"""A module replaced by its Taylor polynomial in the parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from nsh._checks import require, require_integer
from nsh.networks.calling import calling_of, copied


class Taylor(eqx.Module):
    """``f_k(w, x) = sum_{j <= k} D^j f(w_0, x) [w - w_0]^j / j!``, f a module, w_0 as it is now.

    Order 1, the default, is the linearised network (Lee et al., arXiv 1902.06720, section 2.2).
    Trained by gradient descent on squared error, it has the outputs of `mse_dynamics` at the
    module's own `empirical_ntk`. Order 2 is the first in which the tangent kernel changes.

    `module`: any Equinox module, also one with a state or a key; Taylor is called like it. `now`
    holds w, `start` holds w_0. Only w is trained in a `Network`, whose `make` is then
    ``lambda key: Taylor(make(key))``. Costs up to ``2 ** order`` evaluations. Differentiable.
    Raises `ValueError` unless the module is callable and `order` is an integer >= 1.

    Example:
        >>> from nsh.networks import Taylor
        >>> import equinox as eqx
        >>> def cube(w, x):
        ...     return w**3 * x
        >>> one, three = (jax.tree_util.Partial(cube, jnp.array(w)) for w in (1.0, 3.0))
        >>> expansions = [eqx.tree_at(lambda t: t.now, Taylor(one, k), three) for k in (1, 2, 3)]
        >>> [float(expansion(jnp.array(1.0))) for expansion in expansions]  # 1 + 3 2 + 3 4 + 8
        [7.0, 19.0, 27.0]
    """

    start: Any
    now: Any
    order: int = eqx.field(static=True)

    def __init__(self, module: Any, order: int = 1):
        require(callable(module), "module", module, "callable on one input")
        self.start = self.now = module
        self.order = require_integer("order", order, 1)

    def trainable(self) -> PyTree:
        """The filter of what a `Network` trains: `now`."""
        none = jax.tree.map(lambda _: False, self)
        return eqx.tree_at(lambda expansion: expansion.now, none, replace=True)

    def __call__(self, x: PyTree, state: Any = None, *, key: Key[Array, ""] | None = None) -> Any:
        """What the module gives for one example: outputs, or outputs and the state after it.

        The state is that of the module at w_0.
        """
        calling = calling_of(self.now, None)
        now, rest = eqx.partition(self.now, eqx.is_inexact_array)
        start = jax.lax.stop_gradient(eqx.filter(self.start, eqx.is_inexact_array))
        moved = jax.tree.map(jnp.subtract, now, start)

        def called(parameters: PyTree) -> tuple[PyTree, Any]:
            return calling(eqx.combine(parameters, rest), x, copied(state), key)

        def outputs(parameters: PyTree) -> PyTree:
            return called(parameters)[0]

        def derivative(function: Callable[[PyTree], PyTree]) -> Callable[[PyTree], PyTree]:
            return lambda parameters: jax.jvp(function, (parameters,), (moved,))[1]

        total, after = called(start)
        term, factorial = outputs, 1.0
        for order in range(1, self.order + 1):
            term, factorial = derivative(term), factorial * order
            total = jax.tree.map(lambda a, b, f=factorial: a + b / f, total, term(start))
        return (total, after) if calling.state else total
