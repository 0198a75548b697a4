#!/usr/bin/env bash
# JAX 0.10.2: jax.scipy.special.hyp2f1 has three right digits near 1, in 64-bit floats.
#
# 2F1(1/2, 1/2; 3/2; c^2) = arcsin(c) / c, positive, below pi/2: nothing large that its documentation
# warns of. Seen at c^2 = .99: 1.4776417518, exact 1.4780376238, off by 2.7e-4 relatively.
#
# Expected: 64-bit accuracy. The arcsine is the kernel of erf networks and part of that of ReLU
# networks, and correlations near 1 are where deep kernels live: an error of 3e-4 there is as large as
# what corrections in 1/width are about.
# nsh: does not call hyp2f1; its kernels have closed forms by arctan2, or quadrature with an error.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
cd "$folder"
JAX_PLATFORMS=cpu venv/bin/python - <<'END'
import math

import jax
from jax.scipy.special import hyp2f1

jax.config.update("jax_enable_x64", True)
errors = []
for square in (0.5, 0.9, 0.99):
    c = math.sqrt(square)
    got, exact = float(hyp2f1(0.5, 0.5, 1.5, square)), math.asin(c) / c
    errors.append(abs(got / exact - 1))
    print(f"c^2 = {square}: {got:.10f}, exact {exact:.10f}, relative error {errors[-1]:.2g}")
assert errors[-1] > 1e-6, "hyp2f1 is right here now"
END
