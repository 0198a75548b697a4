#!/usr/bin/env bash
# Equinox 0.13.8: BatchNorm(mode="batch") overstates its running variance, 100-fold after one step.
#
# In inference the running mean and variance are divided by 1 - momentum^t, which debiases averages
# that start at 0. The mean starts at 0, the variance at 1: momentum^t / (1 - momentum^t) is left.
# Seen for data of mean 0 and variance 1, momentum 0.99, running variance after t equal batches:
# t = 1: 100.0, t = 10: 10.5, t = 100: 1.58, t = 500: 1.007; expected 1 at every t.
# The documentation says that the unbiased variance is used; the variance is the biased one.
#
# So accuracy in inference is wrong for the first hundreds of steps, while the loss in training is
# not: curves over training show a delay that is not there. nsh: the page on networks says so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 equinox==0.13.8
cd "$folder"
JAX_PLATFORMS=cpu venv/bin/python - <<'END'
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

layer, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(1, "batch", mode="batch")
quiet = eqx.nn.inference_mode(layer)
batch = jnp.array([[-1.0], [1.0]])  # mean 0, variance 1


@jax.jit
def trained(state):
    return jax.vmap(layer, axis_name="batch", in_axes=(0, None), out_axes=(0, None))(batch, state)[1]


@jax.jit
def variance(state):
    out, _ = jax.vmap(quiet, axis_name="batch", in_axes=(0, None), out_axes=(0, None))(batch, state)
    return 1 / out[1, 0] ** 2  # of x = 1


seen = {}
for t in range(1, 501):
    state = trained(state)
    if t in (1, 10, 100, 500):
        seen[t] = float(variance(jax.tree.map(lambda x: x, state)))
        print(f"t = {t}: {seen[t]:.3f}")
np.testing.assert_allclose(
    [seen[t] for t in seen], [1 + 0.99**t / (1 - 0.99**t) for t in seen], rtol=1e-3
)
END
