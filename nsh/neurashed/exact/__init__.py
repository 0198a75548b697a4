"""Exact laws of geometric rules: what needs no simulation, and what simulation must agree with.

Whether a node fires in a mini-batch depends on the batch alone. So with g+(x) = a x, g-(x) = b x,
``lambda_T = lambda_0 a^n b^(T-n)``, n the number of steps in which the node fired; with i.i.d.
mini-batches n ~ Binomial(T, q). Everything here is jittable, vmappable, and differentiable in the
rates where not said otherwise; concrete values out of range raise `ValueError`.
"""

from nsh.neurashed.exact.feature import (
    LogMoments,
    SurvivalPhases,
    batch_firing_probability,
    critical_firing_fraction,
    critical_firing_probability,
    log_moments,
    survival_phases,
    survival_probability,
)
from nsh.neurashed.exact.firing import (
    Firing,
    firing_covariance,
    firing_fractions,
    firing_probability,
)
from nsh.neurashed.exact.growth import (
    JointLogMoments,
    PathExponents,
    growth_exponents,
    joint_log_moments,
    path_exponents,
)
from nsh.neurashed.exact.hierarchy import HierarchyFiring, hierarchy_firing

__all__ = [
    "Firing",
    "HierarchyFiring",
    "JointLogMoments",
    "LogMoments",
    "PathExponents",
    "SurvivalPhases",
    "batch_firing_probability",
    "critical_firing_fraction",
    "critical_firing_probability",
    "firing_covariance",
    "firing_fractions",
    "firing_probability",
    "growth_exponents",
    "hierarchy_firing",
    "joint_log_moments",
    "log_moments",
    "path_exponents",
    "survival_phases",
    "survival_probability",
]
