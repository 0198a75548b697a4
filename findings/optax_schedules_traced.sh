#!/usr/bin/env bash
# Optax 0.2.8: twelve of its thirteen schedules do not take a traced number.
#
# Each looks at its numbers in Python (`if decay_steps <= 0`), so that jit, vmap and grad of a
# function of, say, `peak_value` and `decay_steps` fail with TracerBoolConversionError. Seen: all but
# constant_schedule. Optax's optimisers take traced numbers, and inject_hyperparams is documented
# for "schedules and numeric hyperparameters", but not for those of a schedule.
#
# So a schedule cannot be tuned by gradient, and a grid over one is a program for each point.
# nsh: `Schedule(optax.cosine_decay_schedule, ...)` has the same functions of traced numbers.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 optax==0.2.8
cd "$folder"
JAX_PLATFORMS=cpu venv/bin/python - <<'END'
import jax
import optax

warm = dict(init_value=0.0, peak_value=0.1, warmup_steps=5.0, decay_steps=20.0)
rest = dict(transition_steps=20.0, peak_value=0.1)
cases = {
    "constant_schedule": dict(value=0.1),
    "cosine_decay_schedule": dict(init_value=0.1, decay_steps=20.0),
    "cosine_onecycle_schedule": rest,
    "exponential_decay": dict(init_value=0.1, transition_steps=4.0, decay_rate=0.9),
    "linear_onecycle_schedule": rest,
    "linear_schedule": dict(init_value=0.1, end_value=0.0, transition_steps=20.0),
    "piecewise_constant_schedule": dict(init_value=0.1, boundaries_and_scales={10: 0.5}),
    "polynomial_schedule": dict(init_value=0.1, end_value=0.0, power=2.0, transition_steps=20.0),
    "sgdr_schedule": dict(cosine_kwargs=[warm, warm]),
    "warmup_constant_schedule": dict(init_value=0.0, peak_value=0.1, warmup_steps=5.0),
    "warmup_cosine_decay_schedule": warm,
    "warmup_exponential_decay_schedule": dict(
        init_value=0.0, peak_value=0.1, warmup_steps=5.0, transition_steps=4.0, decay_rate=0.9
    ),
}
refused = []
for name, numbers in cases.items():
    schedule = getattr(optax, name)
    schedule(**numbers)(3)  # fine without tracing
    try:
        jax.jit(lambda given: schedule(**given)(3))(numbers)
    except jax.errors.TracerBoolConversionError:
        refused.append(name)
interpolated = {"init_value": 0.1, "boundaries_and_scales": {10: 0.5}}
try:
    jax.jit(lambda given: optax.piecewise_interpolate_schedule("linear", **given)(3))(interpolated)
except jax.errors.TracerBoolConversionError:
    refused.append("piecewise_interpolate_schedule")
print(len(refused), "of 13 refuse:", ", ".join(sorted(refused)))
assert len(refused) == 12, "Optax's schedules take traced numbers now"
END
