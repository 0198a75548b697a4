#!/usr/bin/env bash
# Optax 0.2.8: a label that is no class is a class, a NaN with a finite gradient, or a finite loss.
#
# Logits (2, 0, -1), three classes. softmax_cross_entropy_with_integer_labels: label -1 gives 3.1698,
# the loss of the last class, and trains it. Labels 3 and -100 give NaN, but the gradient is
# (0.844, 0.114, 0.042), finite: it pushes all logits down. multiclass_hinge_loss gives 3.0 for
# labels 3 and -1 alike, a finite number.
#
# Its documentation assumes 0..classes - 1. One would expect that breaking this shows: -100 is what
# PyTorch ignores, -1 what scikit-learn calls noise, and data sets whose classes start from 1 are common.
# Those who look at gradients alone, as in training or in an empirical NTK, see nothing but a network
# that learns badly.
# nsh: labels are checked before anything is compiled (`ValueError` with the label and what is allowed).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 optax==0.2.8
cd "$folder"
JAX_PLATFORMS=cpu venv/bin/python - <<'END'
import jax
import jax.numpy as jnp
import numpy as np
import optax

logits = jnp.asarray([2.0, 0.0, -1.0])
entropy, hinge = optax.softmax_cross_entropy_with_integer_labels, optax.losses.multiclass_hinge_loss
loss, slope, margin = {}, {}, {}
for label in (2, -1, 3, -100):
    label_array = jnp.asarray(label)
    loss[label] = float(entropy(logits, label_array))
    slope[label] = np.asarray(jax.grad(entropy)(logits, label_array))
    margin[label] = float(hinge(logits, label_array))
    print(f"label {label}: loss {loss[label]:.4f}, gradient {slope[label].round(3)}, hinge {margin[label]}")
assert loss[-1] == loss[2], "label -1 is no longer the last class"
for label in (3, -100):
    assert np.isnan(loss[label]) and np.isfinite(slope[label]).all(), "labels are treated otherwise"
assert np.isfinite([margin[3], margin[-1]]).all(), "multiclass_hinge_loss has changed"
END
