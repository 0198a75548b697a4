"""What ``nsh criticality`` prints and draws."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from nsh._checks import nearest
from nsh.activations import ACTIVATIONS, Activation, as_activation
from nsh.activations.activation import ActivationLike
from nsh.activations.gaussian import gaussian
from nsh.figures import KernelProfile, criticality_figure
from nsh.figures.styling import StyledFigure
from nsh.study import tables
from nsh.study.files import save_figure
from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.critical.criticality import Criticality, criticality
from nsh.theory.effective.critical.depth_scales import DepthScales, depth_scales
from nsh.theory.effective.means import mean_kernels
from nsh.theory.effective.susceptibility import susceptibilities

AROUND = (0.5, 0.8, 0.95, 1.0, 1.05, 1.25, 2.0)  # times the critical C_W
DRAWN = (0.8, 1.0, 1.25)
DEPTH = 100


class UnknownActivation(ValueError):
    """No activation of that name, or none that the theory can treat."""


def report(activation: Activation, out: Path | None) -> None:
    """Print the critical point of an activation; with `out`, draw it too."""
    critical = criticality(activation)
    if critical.universality == "family":  # the member on the scale of the kinks
        critical = criticality(activation, K=max(map(abs, activation.kinks)) ** 2)
    console = Console(highlight=False, width=100)
    console.print(f"{activation.name}: {_described(critical)}\n", markup=False)
    for label, value in _numbers(critical):
        console.print(f"  {label:<34}{value}", markup=False)
    console.print(_table(critical))
    if out is not None:
        save_figure(_figure(critical), out)
        console.print(f"figure.png and figure.pdf are in {out}/", markup=False)


def named(name: str) -> Activation:
    """The activation of that name, or the function that ``module:function`` names.

    Raises `UnknownActivation` with all that there is to say in one line.
    """
    if ":" not in name:
        if name not in ACTIVATIONS:
            allowed = f"MODULE:FUNCTION or one of {', '.join(ACTIVATIONS)}"
            raise UnknownActivation(_must(name, allowed) + nearest(name.lower(), ACTIVATIONS))
        return ACTIVATIONS[name]
    try:
        function = tables.import_own(name, Path.cwd())
    except ValueError as problem:
        raise UnknownActivation(_must(name, "a function to be imported", problem)) from problem
    try:
        with tables.handle_errors(f"{name} fails"):
            if callable(function):  # first, so that an error names its place in that file
                jax.eval_shape(function, jnp.zeros(()))
            return as_activation(cast(ActivationLike, function))  # which refuses what is none
    except (ValueError, TypeError) as problem:
        raise UnknownActivation(_must(name, "an activation", problem)) from problem


def _must(name: str, allowed: str, problem: Exception | None = None) -> str:
    but = "" if problem is None else ", but: " + str(problem).partition("\n")[0]
    return f"ACTIVATION = {name!r}: must be {allowed}{but}"


def _described(critical: Criticality) -> str:
    return {
        "scale-invariant": "scale-invariant; at criticality every kernel stays as it is",
        "K* = 0": "class K* = 0; at criticality kernels fall slowly towards 0",
        "half-stable": f"half-stable; at criticality kernels come to K* {critical.stable} only",
        "family": f"a family, every K* with its own critical C_b, C_W; shown is {critical.K:.6g}",
        "none": "no critical initialisation",
    }[critical.universality]


def _numbers(critical: Criticality) -> list[tuple[str, str]]:
    rows = []
    if critical.C_W > 0:
        rows = [("critical C_b, C_W", f"{critical.C_b:.7g}, {critical.C_W:.7g}")]
        K = "any" if np.isnan(critical.K) else f"{critical.K:.7g}"
        rows.append(("fixed point K*", K))
        if np.isfinite(critical.nu):
            deep = ", deep down" if critical.universality == "K* = 0" else ""
            rows.append(("Var(K)/K^2 at depth l, width n", f"{critical.nu:.4g} l/n{deep}"))
    near = critical.near_zero
    if near is not None and critical.universality != "scale-invariant":
        q = "" if near.order == 1 else f"^{near.order:g}"
        law = f"K' = K (1 + a1 K{q}), chi_perp = 1 + b1 K{q}"
        rows.append((f"near K = 0, C_W = {1 / near.A2:.6g}", law))
        rows.append(("", f"a1 = {near.a1:.6g}, b1 = {near.b1:.6g}"))
    p, p_K = critical.p_perp, critical.p_K
    if np.isfinite(p):
        if p_K > 0 and near is not None:
            law = f"{p_K / -near.a1:.6g} / l"
            rows.append(("K at depth l", law if p_K == 1 else f"({law})^{p_K:g}"))
            rows.append(("p_perp", f"{p:.6g}"))
        rows.append(("equal learning rates, biases", _powers(-p, p - 1)))
        rows.append(("equal learning rates, weights", _powers(p_K - p, p - 1)))
    return rows


def _powers(of_layer: float, of_depth: float) -> str:
    powers = {"l": of_layer, "L": of_depth}
    return " ".join(f"{x}^{power:.4g}" for x, power in powers.items() if abs(power) > 1e-6) or "1"


def _start(critical: Criticality) -> float:
    return critical.K if critical.K > 0 else 1.0


def _centre(critical: Criticality) -> tuple[float, float]:
    """(C_b, C_W) at criticality, or (0, 1) where there is none."""
    return (critical.C_b, critical.C_W) if critical.C_W > 0 else (0.0, 1.0)


def _table(critical: Criticality) -> Table:
    """Fixed points and depths around the critical point, or around C_W = 1 where there is none."""
    activation, (C_b, C_W) = critical.activation, _centre(critical)
    start = _start(critical)
    title = f"Far from the input, with C_b = {C_b:.6g}, from K = {start:.6g}; xi in layers"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("C_W", "K", "chi_par", "chi_perp", "xi_par", "xi_perp"):
        table.add_column(column, justify="right")
    around = jax.jit(jax.vmap(lambda W: depth_scales(activation, C_b, W, start)))
    found = around(jnp.asarray(AROUND) * C_W)
    for place, factor in enumerate(AROUND):
        if factor == 1 and critical.C_W > 0:
            K = "any" if np.isnan(critical.K) else f"{critical.K:.5g}"
            table.add_row(f"{C_W:.6g}", K, "1", "1", "infinite", "infinite", style="bold")
        else:
            table.add_row(f"{factor * C_W:.6g}", *_row(found, place))
    return table


def _row(found: DepthScales, place: int) -> list[str]:
    chi = (found.parallel, found.perpendicular)
    parts = (found.K, *chi, found.xi_parallel, found.xi_perpendicular)
    return [f"{float(part[place]):.5g}".replace("inf", "infinite") for part in parts]


def _figure(critical: Criticality) -> StyledFigure:
    activation, (C_b, C_W) = critical.activation, _centre(critical)
    centre = _start(critical)
    K = jnp.asarray(np.geomspace(centre * 1e-2, centre * 1e2, 200))

    @jax.jit
    @jax.vmap
    def at(K: jax.Array) -> tuple[jax.Array, ...]:
        nodes = gaussian(K, activation)
        chi = susceptibilities(nodes, activation, C_W)
        return nodes.mean(activation(nodes.z) ** 2), chi.parallel, chi.perpendicular

    g, parallel, perpendicular = map(np.asarray, at(K))
    courses = []
    for factor in DRAWN:
        name = "critical" if factor == 1 and critical.C_W > 0 else f"$C_W$ = {factor * C_W:.3g}"
        x2 = max(centre - C_b, 0.0) / (factor * C_W)
        architecture = Architecture(activation, DEPTH, C_b=C_b, C_W=factor * C_W)
        kernels = np.asarray(mean_kernels(architecture, x2)[0])
        courses.append(KernelProfile(name, C_b + factor * C_W * g, kernels))
    K_star = critical.K if critical.K > 0 else None
    return criticality_figure(
        np.asarray(K), parallel, perpendicular, courses, K_star=K_star,
        title=f"{activation.name}, $C_b$ = {C_b:.4g}, $C_W$ = {C_W:.4g}",
    )  # fmt: skip
