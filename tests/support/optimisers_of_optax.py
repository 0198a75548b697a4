"""What hypergradients through each of Optax's optimisers are, measured on a small problem."""

import inspect

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from derivatives import QUICKLY, x64

from nsh.networks import Classification, Network
from nsh.networks.optimisers import BOUNDS

STEPS, EPS = 7, 1e-6
# the second input is blank in the second data set: a weight of gradient 0 for each output
SEEN = np.array([[1.0, 0.3], [0.5, -0.8]])
BLANK = SEEN * [1, 0]
RATES = ("learning_rate", "max_learning_rate")
WRAPPED = {
    "lookahead": lambda learning_rate: optax.lookahead(optax.sgd(learning_rate), 5, 0.5),
    "contrib.dpsgd": lambda learning_rate: optax.chain(
        optax.contrib.differentially_private_aggregate(1.0, 0.1, key=jax.random.key(0)),
        optax.sgd(learning_rate),
    ),
    "contrib.mechanize": lambda learning_rate: optax.contrib.mechanize(optax.sgd(learning_rate)),
    "contrib.reduce_on_plateau": lambda learning_rate: optax.chain(
        optax.sgd(learning_rate), optax.contrib.reduce_on_plateau()
    ),
    "contrib.sam": lambda learning_rate: optax.contrib.sam(
        optax.sgd(learning_rate), optax.sgd(0.05)
    ),
    "contrib.schedule_free": lambda learning_rate: optax.contrib.schedule_free(
        optax.sgd(learning_rate), learning_rate
    ),
    "noisy_sgd": lambda learning_rate: optax.noisy_sgd(
        learning_rate, eta=1e-12, key=jax.random.key(0)
    ),
}


class Weights(eqx.Module):
    """y = W x, from the same W for all keys."""

    w: jax.Array

    def __init__(self, key):
        self.w = jnp.array([[1.013, -0.717], [0.397, 0.291]])

    def __call__(self, x):
        return self.w @ x


def distance(out, label):
    return jnp.sum((out - jnp.array([0.21, 0.52])) ** 2) / 2


def trained_by(make):
    return Network(Weights, make, Classification(distance))


def optimisers():
    """By name: what takes a learning rate, and what wraps an optimiser or needs more than that."""
    found = {}
    for module, before in ((optax, ""), (optax.contrib, "contrib.")):
        for name, make in inspect.getmembers(module, inspect.isfunction):
            rates = set(RATES) & set(inspect.signature(make).parameters)
            if rates and not name.startswith(("scale_by", "_")):
                found[before + name] = make
    return dict(sorted((found | WRAPPED).items()))


def row(name):
    """The table's line for one optimiser."""
    make = optimisers()[name]
    if name in NEEDS:
        with pytest.raises(ValueError, match="optimiser = "):
            behaviour(make, {})
        return f"| `{name}` | refused: it needs {NEEDS[name]} | | |"
    plain = behaviour(make, {})
    roots = [root for root in inspect.signature(make).parameters if root.endswith("eps_root")]
    cured = "" if plain[1] == "exact" else "no `eps_root`"
    if roots and cured:
        cured = behaviour(make, {roots[0]: 1e-16})[1]
    return f"| `{name}` | {plain[0]} | {plain[1]} | {cured} |"


NEEDS = {
    "lookahead": "parameters of a kind of its own",
    "contrib.dpsgd": "the gradient of every sample",
}


# the slope of b2 ** steps, steps being an integer, is not one for strict types
@jax.numpy_dtype_promotion("standard")
def behaviour(make, more):
    """In words, of training where no gradient is 0, and where some are.

    Slopes in 32-bit floats, as most train, beside central differences in 64-bit floats.
    """
    signature = inspect.signature(make).parameters
    defaults = {name: signature[name].default for name in signature if name in BOUNDS}
    hyper = {n: v for n, v in defaults.items() if isinstance(v, float) and v not in (0.0, 1.0)}
    hyper |= {name: 0.05 for name in RATES if name in signature}
    along = {n: 0.3 * v * (1 - v if BOUNDS[n][1] == 1 else 1) for n, v in hyper.items()}

    def end(tuned, x):
        network, given = trained_by(make), {"optimiser": tuned | more}
        samples = eqx.tree_at(lambda s: s.x, network.prepare(SEEN, [0, 1]), x)

        def step(state, _):
            return network.step(state, samples, given, jax.random.key(0)), None

        state = network.init(jax.random.key(0), given)
        return jnp.sum(jax.lax.scan(step, state, None, STEPS)[0].params.w ** 3)

    def forward(tuned, x):
        return jax.jvp(lambda t: end(t, x), (tuned,), (given(along),))[1]

    def both(tuned, x):
        slopes = jax.grad(end)(tuned, x)
        return forward(tuned, x), sum(slopes[n] * along[n] for n in along)

    def neither(tuned, x):
        return forward(tuned, x), None

    def given(numbers):
        return {name: jnp.asarray(value, float) for name, value in numbers.items()}

    trained_by(make).check({"optimiser": hyper | more}, STEPS)
    with x64(True):
        run = compiled(end, given(hyper), SEEN)
        shifted = [given({n: v + h * along[n] for n, v in hyper.items()}) for h in (EPS, -EPS)]
        true = [(run(shifted[0], x) - run(shifted[1], x)) / (2 * EPS) for x in (SEEN, BLANK)]
        true = [float(slope) for slope in true]
    with x64(False):
        single = [jnp.asarray(x, float) for x in (SEEN, BLANK)]
        try:
            slopes = compiled(both, given(hyper), single[0])
        except ValueError:  # loops of line searches have no reverse mode
            slopes = compiled(neither, given(hyper), single[0])
        return [in_words(slopes(given(hyper), x), t) for x, t in zip(single, true, strict=True)]


def compiled(function, *arguments):
    return jax.jit(function).lower(*arguments).compile(compiler_options=QUICKLY)


def in_words(slopes, true):
    """Forward and reverse mode beside the true slope."""
    words = ["none" if slope is None else word(float(slope), true) for slope in slopes]
    return words[0] if words[0] == words[1] else f"{words[0]} forward, {words[1]} reverse"


def word(slope, true):
    if not np.isfinite(slope):
        return "NaN"
    # rounding in 32 bits, a thousandfold
    return "exact" if np.isclose(slope, true, rtol=1e-4, atol=1e-6) else "not the slope"
