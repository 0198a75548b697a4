#!/usr/bin/env bash
# JAX 0.10.2: jax.random.binomial and poisson draw from wider laws when counts are large.
#
# 200,000 draws of 32 bits. Seen for binomial, p = 1/2: at n = 1e9 a standard deviation 1.173 times
# the exact one, a kurtosis of 10.8 (3 is right), and a mean 19.6 of its standard errors too low; at
# n = 1e8 1.025 times. poisson: 1.207 times at a mean of 1e8, 1.281 times at 1e9.
#
# Expected: counts rounded to what floats hold, but of the right law, or an error. The standard error of
# the factor is 0.0016. Counts of mini-batches, of features that fired and of dead units are simulated
# by these laws, and a fluctuation 17% too large looks like physics.
# nsh: `train` by counts has a binomial sampler of its own (nsh/training/multinomial.py), tested by
# chi-square.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
cd "$folder"
JAX_PLATFORMS=cpu venv/bin/python - <<'END'
import jax
import numpy as np

N, key = 200_000, jax.random.key(0)


def measured(name, draws, mean, deviation):
    away = np.asarray(draws, float) - mean
    ratio, z = away.std() / deviation, away.mean() / (deviation / N**0.5)
    kurtosis = np.mean((away - away.mean()) ** 4) / away.std() ** 4
    print(f"{name}: deviation / exact {ratio:.3f}, mean off by {z:.1f} SE, kurtosis {kurtosis:.1f}")
    return ratio


ratios = {}
for n in (1e6, 1e8, 1e9):
    draws = jax.random.binomial(key, n, 0.5, shape=(N,))
    ratios["binomial", n] = measured(f"binomial, n = {n:g}", draws, n / 2, (n / 4) ** 0.5)
    draws = jax.random.poisson(key, n, (N,))
    ratios["poisson", n] = measured(f"poisson, mean {n:g}", draws, n, n**0.5)
assert ratios["binomial", 1e9] > 1.05, "binomial has changed"
assert ratios["poisson", 1e8] > 1.05, "poisson has changed"
END
