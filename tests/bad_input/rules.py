"""Bad rules, starts and rates: (what is done, the place, the value, what is allowed)."""

# wrong types are the point here
# pyright: reportArgumentType=false
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import optax
from bad_input.good import DECAY, MODEL, Cases, trained

from nsh import Additive, Affine, Geometric, PerLevel, Rules, Saturating
from nsh.bounds import unconstrain
from nsh.neurashed import Constant, Rule, Uniform, exact


def exact_law(law, **changes):
    good = {"q": 0.5, "growth": 1.5, "decay": 0.5, "steps": 10.0}
    return law(*(jnp.array(value) for value in {**good, **changes}.values()))


def per_level(*factors):
    return PerLevel(Geometric(np.array(factors)))


def unconstrained(rules):
    return unconstrain(rules, MODEL.bounds(rules))


RATES = jnp.array([1.5, 1.25, 1.125])


def fading(iteration):
    return jnp.maximum(0.75 - 0.25 * iteration, 0)


class Growing(Rule):
    """``g(x) = (1 + rate) x``."""

    rate: Any = eqx.field(converter=jnp.asarray)

    def __call__(self, log_x):
        return log_x + jnp.log1p(self.rate)

    def domain(self, growing):
        return {"rate": (0.0, np.inf) if growing else (-1.0, 0.0)}


RULES: Cases = {
    "does not grow": (lambda: Rules(Geometric(1.0), DECAY), "growth", "1.0", "g+(x) > x"),
    "shrinks": (lambda: Rules(Geometric(0.5), DECAY), "growth.factor", "0.5", "> 1.0"),
    "adds nothing": (lambda: Rules(Additive(0.0), DECAY), "growth", "0.0", "g+(x) > x"),
    "adds less than nothing": (
        lambda: Rules(Additive(-0.1), DECAY), "growth.step", "-0.1", "> 0.0",
    ),
    "affine identity": (lambda: Rules(Affine(1.0, 0.0), DECAY), "growth", "1.0", "g+(x) > x"),
    "decay grows": (lambda: Rules(Geometric(1.1), Geometric(1.2)), "decay.factor", "1.2", "< 1.0"),
    "decay to nothing": (
        lambda: Rules(Geometric(1.1), Geometric(0.0)), "decay.factor", "0.0", "> 0.0",
    ),
    "decay adds": (lambda: Rules(Additive(1.0), Additive(0.25)), "decay.step", "0.25", "< 0.0"),
    "decay affine adds": (
        lambda: Rules(Additive(1.0), Affine(0.5, 0.25)), "decay.step", "0.25", "< 0.0",
    ),
    "ceiling 0": (
        lambda: Rules(Saturating(1.5, 0.0), DECAY), "growth.ceiling", "0.0", "> 0.0",
    ),
    "one node of many": (
        lambda: Rules(Geometric(np.array([1.5, 1.2, 0.25])), DECAY), "growth.factor[2]", "0.25",
        "> 1.0",
    ),
    "one node stays": (
        lambda: Rules(Geometric(np.array([1.5, 1.0])), DECAY), "growth", "[1.5, 1.0]", "g+(x) > x",
    ),
    "NaN": (lambda: Rules(Geometric(np.nan), DECAY), "growth.factor", "nan", "finite"),
    "infinite": (lambda: Rules(Additive(np.inf), DECAY), "growth.step", "inf", "finite"),
    "weights": (
        lambda: Rules(Geometric(1.5), DECAY, weight_decay=Geometric(1.5)), "weight_decay.factor",
        "1.5", "< 1.0",
    ),
    "one level of many": (
        lambda: Rules(per_level(1.1, 0.5, 1.1), DECAY), "growth.factor[1]", "0.5", "> 1.0",
    ),
    "schedule at once": (
        lambda: Rules(Geometric(optax.constant_schedule(0.5)), DECAY), "growth.factor", "0.5",
        "> 1.0",
    ),
    "schedule later": (
        lambda: trained(Rules(Geometric(optax.exponential_decay(2.0, 1, 0.75)), DECAY), steps=4),
        "growth.factor[3]", "0.84375", "> 1.0",
    ),
    "rates for fewer steps": (
        lambda: trained(Rules(Geometric(lambda t: RATES[t]), DECAY), steps=4),
        "growth.factor", "a schedule", "given for all 4 iterations; out-of-bounds",
    ),
    "steps of weights for fewer steps": (
        lambda: trained(
            Rules(Geometric(1.5), DECAY, Affine(1.5, lambda t: jnp.take(RATES, t))), steps=4
        ),
        "weight_growth.step", "a schedule", "given for all 4 iterations",
    ),
    "own rule at its edge": (
        lambda: Rules(Growing(0.0), DECAY), "growth.rate", "0.0", "> 0.0",
    ),
    "identity at one step of one node": (
        lambda: trained(
            Rules(Affine(np.where(np.arange(19) == 7, 1.0, 1.1), fading), DECAY, Geometric(1.5)),
            steps=4,
        ),
        "growth", "1.1", "not the identity (factor 1, step 0)",
    ),
    "per-node, other length": (
        lambda: trained(Rules(Geometric(np.full(5, 1.1)), DECAY, Geometric(1.1))),
        "growth.factor.shape", "(5,)", "() or (19,)",
    ),
    "per-edge, other length": (
        lambda: trained(Rules(Geometric(1.1), DECAY, Geometric(np.full(19, 1.1)))),
        "weight_growth.factor.shape", "(19,)", "() or (6,)",
    ),
    "per-level, other length": (
        lambda: trained(Rules(per_level(1.1, 1.1), DECAY)), "growth.factor.shape", "(2,)", "(3,)",
    ),
    "schedule, other length": (
        lambda: trained(Rules(Geometric(lambda t: jnp.full(4, 1.1)), DECAY, Geometric(1.1))),
        "growth.factor.shape", "(4,)", "() or (19,)",
    ),
    "per-node, none for weights": (
        lambda: trained(Rules(Geometric(np.full(19, 1.1)), DECAY)),
        "weight_growth", "None", "growth.factor has an entry for each node",
    ),
    "schedule per node, none for weights": (
        lambda: trained(Rules(Geometric(lambda t: jnp.full(19, 1.1)), DECAY)),
        "weight_growth", "None", "growth.factor has an entry for each node",
    ),
    "numbers for rules": (lambda: Rules(1.1, DECAY), "growth", "1.1", "Rule"),
    "number for weights": (
        lambda: Rules(Geometric(1.1), DECAY, weight_decay=0.5), "weight_decay", "0.5", "Rule",
    ),
    "no rules": (lambda: trained(0.1), "hyper", "Array", "nsh.Rules"),
    "unconstrained edge": (
        lambda: unconstrained(Rules(Geometric(1.1), Geometric(1.0))), "decay.factor", "1.0",
        "strictly inside (0.0, 1.0)",
    ),
    "unconstrained affine edge": (
        lambda: unconstrained(Rules(Affine(1.1, 0.0), DECAY)), "growth.step", "0.0",
        "strictly inside (0.0, inf)",
    ),
    "exact: p": (
        lambda: exact.batch_firing_probability(jnp.array([0.5, 1.5]), jnp.array(4.0)), "p[1]",
        "1.5", "0..1",
    ),
    "exact: size": (
        lambda: exact.batch_firing_probability(jnp.array(0.5), jnp.array(0.0)), "size", "0.0",
        ">= 1",
    ),
    "exact: growth": (
        lambda: exact.critical_firing_probability(jnp.array(0.5), jnp.array(0.25)), "growth",
        "0.5", "> 1",
    ),
    "exact: decay": (lambda: exact_law(exact.log_moments, decay=0.0), "decay", "0.0", "> 0"),
    "exact: q": (lambda: exact_law(exact.log_moments, q=np.nan), "q", "nan", "0..1"),
    "exact: steps": (
        lambda: exact_law(exact.survival_probability, steps=-1.0), "steps", "-1.0", ">= 0",
    ),
    "exact: half a step": (
        lambda: exact_law(exact.survival_probability, steps=2.5), "steps", "2.5", "whole number",
    ),
    "start negative": (lambda: Constant(-1.0), "value", "-1.0", ">= 0"),
    "start NaN": (lambda: Constant(np.nan), "value", "nan", ">= 0"),
    "start infinite": (lambda: Constant(np.inf), "value", "inf", "finite"),
    "start below 0": (lambda: Uniform(-0.5, 1.0), "low", "-0.5", ">= 0"),
    "start empty": (lambda: Uniform(0.5, 0.5), "high", "0.5", "above low = 0.5"),
    "start unbounded": (lambda: Uniform(0.0, np.inf), "high", "inf", "finite"),
}  # fmt: skip
