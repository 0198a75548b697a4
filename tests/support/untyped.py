"""SciPy and scikit-learn as `Any`: they have no types, and to infer some takes pyright a minute."""

from typing import Any, cast

import scipy.integrate
import scipy.linalg
import scipy.optimize
import scipy.special
import scipy.stats
import sklearn.gaussian_process
import sklearn.kernel_ridge

gaussian_process = cast(Any, sklearn.gaussian_process)
integrate = cast(Any, scipy.integrate)
kernel_ridge = cast(Any, sklearn.kernel_ridge)
linalg = cast(Any, scipy.linalg)
optimize = cast(Any, scipy.optimize)
special = cast(Any, scipy.special)
stats = cast(Any, scipy.stats)
