#!/usr/bin/env bash
# Equinox 0.13.8: an untrained BatchNorm in its default mode multiplies by 316 in inference.
#
# Its running variance starts at 0, so x is divided by sqrt(eps). Seen for x = 1, with
# inference_mode before any step: mode="ema", the default, 316.2; mode="batch" 1.0 (it starts at variance
# 1). No error; the warning that comes is of the mode's cost.
#
# Expected: the identity, or an error for statistics that are not there. Networks *at initialisation*
# are what kernels, criticality and lottery tickets are about: the NTK of such a network is 1e5 times
# too large for each such layer, and a scan over depth overflows.
# nsh: the page on networks says so; a run's first step fills the statistics.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 equinox==0.13.8
cd "$folder"
JAX_PLATFORMS=cpu venv/bin/python - <<'END'
import warnings

import equinox as eqx
import jax.numpy as jnp

warnings.simplefilter("ignore")
out = {}
for mode in ("ema", "batch"):
    layer, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(3, "batch", mode=mode)
    # no vmap is needed for running statistics, but the axis has to exist
    layer = eqx.nn.inference_mode(layer)
    run = eqx.filter_vmap(lambda x: layer(x, state)[0], axis_name="batch")
    out[mode] = float(run(jnp.ones((2, 3)))[0, 0])
    print(f"{mode}: 1 -> {out[mode]:.1f}")
assert out["ema"] > 100, "the default mode starts otherwise now"
assert abs(out["batch"] - 1) < 1e-3
END
