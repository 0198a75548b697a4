#!/usr/bin/env bash
# Optax 0.2.8: inject_hyperparams(adam) with its own defaults gives NaN for bfloat16 parameters.
#
# It turns every number into an array of the parameters' type, and b2 = 0.999 as bfloat16 is 1: the
# bias correction divides 0 by 0. Seen after one step, learning rate 0.01, gradient 0.5: plain adam
# -0.01001; injected adam, adamw, amsgrad, nadam, lamb NaN; injected yogi and adabelief 0, without a
# word: they never train.
#
# Expected: the update that the plain optimiser makes. `inject_hyperparams` is how learning rates are
# read, logged and vmapped, and bfloat16 is what accelerators are used with.
# `hyperparam_dtype=jnp.float32` is the way round: seen, it gives -0.01001.
# nsh: hyperparameters keep the type that they are given in; tested for b2 = .999 and bfloat16 in
# tests/networks/test_optimisers.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 optax==0.2.8
cd "$folder"
JAX_PLATFORMS=cpu venv/bin/python - <<'END'
import jax.numpy as jnp
import numpy as np
import optax

parameters, gradient = jnp.ones(3, jnp.bfloat16), jnp.full(3, 0.5, jnp.bfloat16)


def first(optimiser):
    update, _ = optimiser.update(gradient, optimiser.init(parameters), parameters)
    return float(update[0])


plain = first(optax.adam(0.01))
wide = first(optax.inject_hyperparams(optax.adam, hyperparam_dtype=jnp.float32)(0.01))
print(f"adam: plain {plain:.5f}, injected with hyperparam_dtype {wide:.5f}")
for name in ("adam", "adamw", "amsgrad", "nadam", "lamb", "yogi", "adabelief"):
    injected = first(optax.inject_hyperparams(getattr(optax, name))(learning_rate=0.01))
    print(f"{name}: injected {injected}")
    still = name in ("yogi", "adabelief")
    assert injected == 0 if still else np.isnan(injected), f"injected {name} has changed"
assert abs(plain + 0.01) < 1e-3 and abs(wide + 0.01) < 1e-3
END
