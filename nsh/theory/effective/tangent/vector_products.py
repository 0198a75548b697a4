"""The tangent kernel of a finite network as a linear map."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree, Shaped

from nsh._checks import require
from nsh.theory.effective.tangent.calls import Called, Module, called, checked_outputs
from nsh.theory.effective.tangent.rates import rates_of


def ntk_vector_product(
    module: Module,
    x: Shaped[Array, "n ..."],
    v: Float[Array, "m ..."],
    z: Shaped[Array, "m ..."] | None = None,
    *,
    rates: PyTree | None = None,
    state: PyTree | None = None,
    key: Key[Array, ""] | None = None,
    training: bool = False,
) -> Float[Array, "n ..."]:
    """``sum_j,z Theta_ij(x, z) v_j(z)`` without forming Theta: a forward after a reverse mode.

    As `empirical_ntk`; v is [m] or [m, outputs], the result [n] or [n, outputs]. Costs a few
    evaluations of the module on all inputs. Differentiable.

    Example:
        >>> from nsh.theory.effective import ntk_vector_product
        >>> model = jax.tree_util.Partial(jnp.dot, jnp.ones(2))
        >>> x = jnp.array([[1.0, 2.0], [0.0, 3.0]])
        >>> ntk_vector_product(model, x, jnp.array([1.0, 0.0])).tolist()
        [5.0, 6.0]
    """
    given = called(module, state, key, training)
    other = x if z is None else z
    shape = (len(other), *checked_outputs(given, x=x, z=other))
    require(v.shape == shape, "v.shape", v.shape, f"{shape}, as the module's values at z")
    return product(given, x, v, other, rates_of(given, rates))


@eqx.filter_jit
def product(given: Called, x: Array, v: Array, z: Array, rates: list[Array]) -> Array:
    """The product, of what is checked."""
    parameters = given.parameters

    def values(parameters: list[Array], inputs: Array) -> Array:
        return given.all(parameters, inputs, jnp.arange(len(inputs)))

    with jax.default_matmul_precision("highest"):
        _, pull = jax.vjp(lambda p: values(p, z), parameters)
        pulled = zip(pull(v)[0], rates, strict=True)
        direction = [slope * rate for slope, rate in pulled]
        return jax.jvp(lambda p: values(p, x), (parameters,), (direction,))[1]
