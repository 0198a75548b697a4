#!/usr/bin/env bash
# JAX 0.10.2 on a CPU: a convolution inside lax.map takes many times as long as outside.
#
# XLA gives convolutions to a fast library at the top level of a program; inside a loop they run as
# plain code. Seen: 24 times as long, and 30 times on JAX 0.7.2. So lax.map, which saves memory, and
# lax.scan over batches of images cost far more than the work in them. On a GPU it is otherwise.
#
# nsh: blocks of tangent kernels are written out one after the other, not looped over.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
cd "$folder"
JAX_PLATFORMS=cpu venv/bin/python - <<'END'
import time

import jax
import jax.numpy as jnp

x = jax.random.normal(jax.random.key(0), (4, 20, 64, 16, 16))
w = jax.random.normal(jax.random.key(1), (64, 64, 3, 3))


def conv(images):
    return jax.lax.conv_general_dilated(images, w, (1, 1), "SAME")


looped = jax.jit(lambda x: jax.lax.map(conv, x))
written = jax.jit(lambda x: jnp.stack([conv(images) for images in x]))
assert jnp.allclose(looped(x), written(x), atol=1e-3)
best = {}
for _ in range(5):
    for name, function in (("in a loop", looped), ("written out", written)):
        start = time.perf_counter()
        function(x).block_until_ready()
        best[name] = min(best.get(name, 1e9), time.perf_counter() - start)
print({name: round(seconds, 3) for name, seconds in best.items()})
ratio = best["in a loop"] / best["written out"]
print(f"a loop takes {ratio:.0f} times as long")
assert ratio > 3, "it is as fast"
END
