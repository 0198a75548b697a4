#!/usr/bin/env bash
# Optax 0.2.8: the eps_root that cures adam's hypergradients does not cure radam's in reverse mode.
#
# Three steps on a quadratic of two weights, one of which has the gradient 0, differentiated by the
# learning rate. Without eps_root adam's derivative is NaN in both modes (the square root at 0), with
# eps_root = 1e-16 it is -4.155 in both. radam, which has eps_root too: forward -3.846, reverse NaN,
# with eps_root and without.
#
# Expected: eps_root, documented as there for backpropagating through the rescaling, works as in adam,
# and both modes agree. Read in the source: the rectification, not used in the first steps, may be the
# root of a negative number there, NaN, and reverse mode makes 0 * NaN of it. Values are finite
# throughout, so nothing is seen until gradients are taken.
# nsh: the guide (optimisers) has a table of all of Optax's optimisers in both modes, held by tests;
# tuning ends with a status of its own where gradients are not finite.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 optax==0.2.8
cd "$folder"
JAX_PLATFORMS=cpu venv/bin/python - <<'END'
import math

import jax
import jax.numpy as jnp
import optax

curvature = jnp.asarray([1.0, 0.0])


def trained(rate, make, **more):
    optimiser, w = make(rate, **more), jnp.ones(2)
    state = optimiser.init(w)
    for _ in range(3):
        update, state = optimiser.update(curvature * w, state, w)
        w = optax.apply_updates(w, update)
    return jnp.sum(curvature * w**2)


found = {}
for make in (optax.adam, optax.radam):
    for more in ({}, {"eps_root": 1e-16}):
        def loss(rate, make=make, more=more):
            return trained(rate, make, **more)
        reverse, forward = float(jax.grad(loss)(0.1)), float(jax.jacfwd(loss)(0.1))
        found[make.__name__, bool(more)] = reverse, forward
        print(f"{make.__name__} {more}: loss {loss(0.1):.4f}, reverse {reverse:.4f}, forward {forward:.4f}")
assert all(map(math.isnan, found["adam", False])) and all(map(math.isfinite, found["adam", True]))
reverse, forward = found["radam", True]
assert math.isnan(reverse) and math.isfinite(forward), "radam has changed"
END
