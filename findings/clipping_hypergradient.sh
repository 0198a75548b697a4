#!/usr/bin/env bash
# Optax 0.2.8: clipping that clips nothing makes gradients through training NaN.
#
# clip_by_global_norm(1), adaptive_grad_clip(.1) and clip_by_block_rms(1) given an update that is
# exactly 0: it stays 0, and its slope by whatever it depends on is NaN in reverse mode (in forward
# mode 0 for the first two, NaN for the third), since the norm that is not needed has an infinite
# slope there. Seen: value 0, reverse NaN for all three. plain sgd: 0.
#
# Expected: the slope of the branch that is taken, which is 1. A gradient is exactly 0 where a hinge
# loss is satisfied, where all ReLU units are dead or a batch is fitted: one such step among thousands
# makes the derivative by the learning rate NaN, and there is no eps to cure it.
# nsh: the guide (optimisers) warns of clipping; tuning says with a status of its own that gradients
# are not finite.
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

wrappers = {
    "none": optax.identity(),
    "clip_by_global_norm": optax.clip_by_global_norm(1.0),
    "adaptive_grad_clip": optax.adaptive_grad_clip(0.1),
    "clip_by_block_rms": optax.clip_by_block_rms(1.0),
}
for name, wrapper in wrappers.items():
    optimiser, parameters = optax.chain(wrapper, optax.sgd(0.1)), jnp.ones((2, 2))

    def change(scale, optimiser=optimiser):
        gradient = scale * jnp.zeros((2, 2))
        return jnp.sum(optimiser.update(gradient, optimiser.init(parameters), parameters)[0])

    reverse, forward = float(jax.grad(change)(1.0)), float(jax.jacfwd(change)(1.0))
    print(f"{name}: value {float(change(1.0))}, reverse {reverse}, forward {forward}")
    assert change(1.0) == 0
    assert math.isnan(reverse) == (name != "none"), f"{name} has changed"
END
