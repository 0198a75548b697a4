#!/usr/bin/env bash
# SciPy 1.17.1: binom.sf has 8 right digits for rare events in many trials.
#
# P(count > 1) with n = 833178673, p = 4.293894091276167e-09, about 3.58 events expected. Seen
# 0.8720876900497; exact, by decimals of 50 digits, 0.8720876860136: a relative error of 4.6e-9, and
# scipy.special.betainc gives the same. For n = 1e4 it is 6e-14; it grows with n. In NumPy, the
# sum of the two terms by log1p has 15 digits.
#
# Expected: about 1e-15, in 64 bits and with nothing extreme in the arguments. It is the oracle that
# samplers and laws are tested by: at tolerances below 1e-8 the test fails the better of the two.
# nsh: `survival_probability` is tested against SciPy with tolerances well above this error.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    scipy==1.17.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
from decimal import Decimal, getcontext

import numpy as np
from scipy import special, stats

getcontext().prec = 50
n, p = 833178673, 4.293894091276167e-09
exact = float(1 - (1 - Decimal(p)) ** n - n * Decimal(p) * (1 - Decimal(p)) ** (n - 1))
log_none = np.log1p(-p)
by_terms = -np.expm1(n * log_none) - n * p * np.exp((n - 1) * log_none)
found = {"binom.sf": stats.binom.sf(1, n, p), "betainc": special.betainc(2, n - 1, p)}
for name, value in {**found, "two terms": by_terms}.items():
    print(f"{name}: {value:.13f}, exact {exact:.13f}, relative error {value / exact - 1:.2g}")
assert abs(by_terms / exact - 1) < 1e-13
assert abs(found["binom.sf"] / exact - 1) > 1e-9, "binom.sf is right here now"
END
