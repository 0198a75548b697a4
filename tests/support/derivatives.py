"""Derivatives three ways, in 64-bit floats whatever the run's own."""

import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

x64 = (
    jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64  # pyright: ignore
)

# the programs run a few times only, so that compiling them is all of the cost
QUICKLY = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def check_three_ways(function, *arguments, eps=1e-6, tolerance=1e-6):
    """Forward mode, reverse mode and central differences agree, along a random direction.

    `arguments`: pytrees of NumPy arrays, so that nothing of 32 bits comes in from outside.
    """
    with x64(True):
        start, unravel = ravel_pytree(arguments)

        def flat(x):
            return ravel_pytree(function(*unravel(x)))[0]

        forward = jax.jit(lambda x, v: jax.jvp(flat, (x,), (v,)), compiler_options=QUICKLY)
        reverse = jax.jit(lambda x, w: jax.vjp(flat, x)[1](w)[0], compiler_options=QUICKLY)
        random = np.random.default_rng(0)
        direction = jnp.asarray(random.normal(size=start.shape))
        value, tangent = map(np.asarray, forward(start, direction))
        above, below = (forward(start + h * direction, direction)[0] for h in (eps, -eps))
        differences = (np.asarray(above) - np.asarray(below)) / (2 * eps)
        assert np.all(np.isfinite(value))
        assert np.any(tangent != 0)
        np.testing.assert_allclose(tangent, differences, rtol=tolerance, atol=tolerance)
        weights = random.normal(size=value.shape)
        slopes = np.asarray(reverse(start, jnp.asarray(weights)))
        assert np.all(np.isfinite(slopes))
        np.testing.assert_allclose(
            slopes @ np.asarray(direction), weights @ tangent, rtol=1e-9, atol=1e-9
        )


def check_second_derivatives(function, *arguments, eps=1e-5, tolerance=1e-6):
    """Second derivatives, in two nested modes, agree with differences of first ones.

    Of a random combination of the results, along a random direction.
    """
    with x64(True):
        start, unravel = ravel_pytree(arguments)
        random = np.random.default_rng(0)
        direction = jnp.asarray(random.normal(size=start.shape))

        def scalar(x):
            results = ravel_pytree(function(*unravel(x)))[0]
            return jnp.asarray(np.random.default_rng(1).normal(size=results.shape)) @ results

        gradient = jax.grad(scalar)

        def along(x):
            return jax.jvp(scalar, (x,), (direction,))[1]

        @jax.jit
        def both_modes(x):
            return jax.jvp(gradient, (x,), (direction,))[1], jax.grad(along)(x)

        slope = jax.jit(gradient, compiler_options=QUICKLY)
        above, below = (slope(start + h * direction) for h in (eps, -eps))
        differences = np.asarray(above - below) / (2 * eps)
        assert np.any(np.abs(differences) > tolerance)
        for found in both_modes.lower(start).compile(QUICKLY)(start):
            np.testing.assert_allclose(found, differences, rtol=tolerance, atol=tolerance)
