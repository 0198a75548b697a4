#!/usr/bin/env bash
# Equinox 0.13.8 on JAX 0.10.2: is_inexact_array_like fails on tracers.
#
# It asks for `__jax_array__` and calls it. A tracer of this JAX has the attribute, and it is None:
# "TypeError: 'NoneType' object is not callable". is_inexact_array and is_array_like work.
#
# So a filter by is_inexact_array_like that works outside fails inside jit, grad and vmap. nsh: it
# filters by is_inexact_array alone, and keeps numbers of modules as arrays.
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

x = jnp.ones(2)
print("outside jit:", eqx.is_inexact_array_like(x), eqx.is_inexact_array(x))
for name in ("is_inexact_array", "is_inexact_array_like", "is_array_like"):
    def scaled(x, name=name):
        return 2 * x if getattr(eqx, name)(x) else x

    try:
        print(name, "inside jit:", jax.jit(scaled)(x))
        assert name != "is_inexact_array_like", "it works"
    except TypeError as complaint:
        print(name, "inside jit:", complaint)
        assert name == "is_inexact_array_like", "it fails"
        assert "'NoneType' object is not callable" in str(complaint)
END
