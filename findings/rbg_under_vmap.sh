#!/usr/bin/env bash
# JAX 0.10.2: one key, given three times to a vmap, draws three different numbers with impl="rbg".
#
# Seen: threefry2x32 [1.004 1.004 1.004]; rbg [-1.867 -0.257 0.363]; unsafe_rbg [-0.475 -0.045 -0.735].
# Four keys, one by one and under vmap: the rbg draws differ, and so does their mean (-0.912, -0.306).
#
# JAX says that rbg is not vmap-invariant. What one would not expect from it is that even *equal* keys
# get unequal draws: common random numbers (the same initial weights at each learning rate, by vmap)
# are silently not common, differences over a grid are noise, and a seed is another network when run alone.
# nsh: keys of rbg and unsafe_rbg are refused with a `ValueError` before anything is compiled; the
# guide (methods) says why.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
cd "$folder"
JAX_PLATFORMS=cpu venv/bin/python - <<'END'
import jax
import jax.numpy as jnp
import numpy as np

for impl in ("threefry2x32", "rbg", "unsafe_rbg"):
    keys = jax.random.split(jax.random.key(0, impl=impl), 4)
    thrice = np.asarray(jax.vmap(jax.random.normal)(keys[jnp.zeros(3, int)]))
    alone = np.asarray([jax.random.normal(key, (2,)) for key in keys])
    together = np.asarray(jax.vmap(lambda key: jax.random.normal(key, (2,)))(keys))
    print(f"{impl}: one key thrice {thrice.round(3)}; means {alone.mean():.3f}, {together.mean():.3f}")
    same = impl == "threefry2x32"
    assert (np.unique(thrice).size == 1) == same, "equal keys behave differently now"
    assert np.array_equal(alone, together) == same, "vmap behaves differently now"
END
