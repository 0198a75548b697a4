#!/usr/bin/env bash
# JAX 0.10.2: jax.scipy.special.betaln in 64-bit floats is right to 6 or 7 digits only.
#
# B(n, 1) = 1/n. Seen at n = 10: betaln = -2.302584681963, exact -log 10 = -2.302585092994, off by
# 4.1e-7; at n = 20 by 3.0e-8. gammaln(a) + gammaln(b) - gammaln(a + b), of the same JAX, is right to
# 8e-15. Below a = 8 betaln itself is right to rounding: at a = 8 it jumps.
#
# Expected: about 15 digits in 64 bits, or at least no worse than the sum of gammaln. Beta and
# Dirichlet likelihoods and beta-binomial laws inherit the error (`jax.scipy.stats.betabinom.logpmf` was
# seen off by 1.25e-5 relatively).
# nsh: does not call betaln.
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
from jax.scipy.special import betaln, gammaln

jax.config.update("jax_enable_x64", True)
for n in (7.0, 10.0, 20.0):
    own, by_gamma = float(betaln(n, 1.0)), float(gammaln(n) + gammaln(1.0) - gammaln(n + 1))
    off, gamma_off = abs(own + math.log(n)), abs(by_gamma + math.log(n))
    print(f"n = {n:g}: betaln {own:.12f}, off by {off:.2g}; by gammaln off by {gamma_off:.2g}")
    assert gamma_off < 1e-12
    assert (off > 1e-9) == (n >= 8), "betaln has changed"
END
