"""What each way to a tangent kernel costs, and which is taken."""

from __future__ import annotations

import math
from typing import NamedTuple, get_args

import jax
from jaxtyping import Array

from nsh._checks import require, require_integer
from nsh._shown import Shown
from nsh.theory.effective.tangent.calls import Called, traced_once
from nsh.theory.effective.tangent.rows import (
    FACTORS,
    JACOBIAN,
    PLAIN,
    Anatomy,
    Form,
    Outputs,
    anatomy,
    costs,
)

METHODS = ("layers", "jacobians", "products")
WEIGHT = {"products": 4}  # what it does is not one large matrix product, so takes longer
ROWS_BYTES = 2**30  # of what is kept of the examples of two blocks
PIECE_BYTES = 2**29  # of what is made while some examples are differentiated


class NTKPlan(Shown):
    """How a tangent kernel is computed, and why.

    `method`: "layers", "jacobians" or "products". `reason`: what each would cost. `forms`: how each
    parameter array enters, by its path. `flops`: estimated operations. `bytes`: estimated memory
    besides the result. `block`: examples whose derivatives are kept at once; `piece`: examples that
    are differentiated at once.

    Example:
        >>> import equinox as eqx
        >>> from nsh.theory.effective import ntk_plan
        >>> module = eqx.nn.MLP(4, 2, 8, 1, key=jax.random.key(0))
        >>> dict(ntk_plan(module, jnp.ones((3, 4))).forms)["layers[0].weight"]
        'factors'
    """

    method: str
    reason: str
    forms: tuple[tuple[str, Form], ...]
    flops: float
    bytes: float
    block: int
    piece: int


class Work(NamedTuple):
    """How much of a kernel is asked for: examples to differentiate, and pairs of them."""

    rows: int
    columns: int
    symmetric: bool
    pairs: int


def kernel_work(n: int, m: int | None) -> Work:
    """Of an n x m kernel, or of n examples with themselves."""
    return Work(n, n if m is None else m, m is None, n * (n if m is None else m))


def check_choices(outputs: str, method: str | None, block: int | None) -> None:
    """Raise `ValueError` unless these are known words, and the block a size."""
    require(outputs in get_args(Outputs), "outputs", outputs, f"one of {get_args(Outputs)}")
    require(method in (None, *METHODS), "method", method, f"one of {METHODS}, or None")
    if block is not None:
        require_integer("block", block, 1)


def plan_of(
    given: Called,
    x: Array,
    work: Work,
    rates: list[Array],
    outputs: Outputs,
    method: str | None,
    block: int | None,
    *,
    products: bool = True,
) -> NTKPlan:
    """Estimate operations and memory of each method, and choose. `products`: whether these may."""
    known = traced_once(anatomy, given, x)
    whole = [rate.ndim == 0 for rate in rates]
    every = outputs == "all"
    o, examples = known.outputs, work.rows + (0 if work.symmetric else work.columns)
    pairs, squares = work.pairs, o**2 if every else o

    def total(form: Form, p: int) -> float:
        if form == PLAIN:
            return examples * o * known.sizes[p] + 2.0 * pairs * squares * known.sizes[p]
        found = costs(known.layers[p], form, o, every, known.itemsize)
        return examples * found.make + pairs * found.pair

    def best(p: int) -> Form:
        if not known.layers[p] or not whole[p]:
            return PLAIN
        return min((JACOBIAN,) if given.coupled else (FACTORS, JACOBIAN), key=lambda f: total(f, p))

    count = range(len(known.sizes))
    structured: tuple[Form, ...] = tuple(map(best, count))
    plain: tuple[Form, ...] = (PLAIN,) * len(known.sizes)
    sums = {
        "layers": examples * known.flops * (1 + o) + sum(map(total, structured, count)),
        "jacobians": examples * known.flops * (1 + 2 * o) + sum(map(total, plain, count)),
    }
    if products and not given.coupled:
        each = work.columns * (1 + 2 * o) + work.rows * (1 + 2 * o * work.columns)
        sums["products"] = each * known.flops
    found = [name for name in sums if name != "layers" or set(structured) != {PLAIN}]
    if method is None:
        method = min(found, key=lambda name: sums[name] * WEIGHT.get(name, 1))
    allowed = f"one of {list(sums)} here: examples act on each other, or parts are asked for"
    require(method in sums, "method", method, allowed)
    forms = structured if method == "layers" else plain
    each, held = _bytes(known, forms, every, method, work)
    size = max(1, int(ROWS_BYTES // (2 * each)) if each else work.rows)
    size = max(work.rows, work.columns) if given.coupled else (block or size)
    size = _even(max(work.rows, work.columns), size)
    piece = size if given.coupled else _even(size, max(1, int(PIECE_BYTES // held)))
    costs_said = ", ".join(f"{name} {sums[name]:.2g}" for name in sums)
    reason = f"operations of each method: {costs_said}"
    if not any(known.layers):
        reason += "; no parameter is only the matrix of dense or convolutional layers"
    return NTKPlan(
        method, reason, tuple(zip(paths_of(given), forms, strict=True)), sums[method],
        2 * size * each + piece * held, size, piece,
    )  # fmt: skip


def paths_of(given: Called) -> list[str]:
    """The place of each parameter in the module."""
    leaves = jax.tree_util.tree_flatten_with_path(given.trained)[0]
    return [jax.tree_util.keystr(path).lstrip(".") for path, _ in leaves]


def layer_of(path: str) -> str:
    """The place of what holds a parameter as an attribute, else the parameter's own."""
    before, dot, last = path.rpartition(".")
    return path if "[" in last else before if dot else ""


def _bytes(
    known: Anatomy, forms: tuple[Form, ...], every: bool, method: str, work: Work
) -> tuple[float, float]:
    """Of one example: what is kept, and what is made while it is differentiated."""
    o, itemsize = known.outputs, known.itemsize
    if method == "products":
        whole = sum(known.sizes) * itemsize
        return 0.0, o * (whole + work.rows * known.memory)
    kept, held = 0.0, (1 + o) * known.memory
    for size, form, uses in zip(known.sizes, forms, known.layers, strict=True):
        if form == PLAIN:
            kept += o * size * itemsize
            continue
        kept += costs(uses, form, o, every, itemsize).bytes
        held += sum(use.groups * use.inputs * use.places for use in uses) * itemsize
    return kept, held + kept


def _even(count: int, most: int) -> int:
    """The size of the fewest parts of at most `most`, as equal as can be."""
    return math.ceil(count / math.ceil(count / most))
