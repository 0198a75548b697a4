#!/usr/bin/env bash
# JAX 0.10.2: jax.scipy.special.betainc in 32-bit floats is -inf, inf or wrong for large a and b.
#
# A probability that a binomial count exceeds its mean is I_q(a, b) with a + b - 1 the number of
# trials. Seen, at the mean and for the very same 32-bit arguments, beside SciPy in 64 bits:
# a = 8334, b = 91667: 0.4613 (0.4834). a = 83334: 0.7178 (0.5949). a = 8333334: -inf (0.5066).
# I_1/2(a, a) = 1/2 is 0.1295 at a = 500,000.
#
# Expected: a value in 0..1, right to about 1e-3, or NaN. Runs of 1e5 steps and more are usual in
# this field, and 32 bits are JAX's default; sums over such values hide the fault.
# nsh: `survival_probability` integrates the density of the beta law about its mode and is tested
# against SciPy up to 1e12 steps; it does not call betainc.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 scipy==1.17.1
cd "$folder"
JAX_PLATFORMS=cpu venv/bin/python - <<'END'
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import betainc
from scipy import special

cases = [(8334, 91667, 0.0833), (83334, 916667, 0.0834), (8333334, 91666667, 0.0833338)]
wrong = []
for a, b, q in [*cases, (5e5, 5e5, 0.5)]:
    a, b, q = np.float32([a, b, q])
    got, exact = float(betainc(jnp.asarray(a), jnp.asarray(b), jnp.asarray(q))), special.betainc(
        *map(float, (a, b, q))
    )
    wrong.append(not abs(got - exact) < 0.01)
    print(f"a = {a:.0f}, b = {b:.0f}, q = {q:.7f}: {got:.4f}, exact {exact:.4f}")
assert all(wrong), "betainc is right here now"
END
