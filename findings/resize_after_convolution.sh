#!/usr/bin/env bash
# neural-tangents 0.6.5 on JAX 0.4.30: ImageResize after a convolution exchanges height and width.
#
# Each convolution turns the order of a kernel's spatial axes round; ImageResize resizes them in the
# order of the image. So the kernel is wrong after 1, 3, ... convolutions of images that are not
# square, and right after 0, 2, ... A convolution 1 x 1 without bias leaves kernels as they are, so
# all of these numbers must be equal: mean over features of the resized images' means.
#
# Seen: 4 x 5 resized to 7 x 3: exact 0.06508, after 0, 1, 2 convolutions 0.06508, 0.07111, 0.06508.
# nsh: `layers.Resize` knows which axis is which; its reference is taken after two convolutions.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    jax==0.4.30 jaxlib==0.4.30 numpy==2.4.6 scipy==1.17.1 neural-tangents==0.6.5 tf2jax==0.3.6
cd "$folder"
JAX_PLATFORMS=cpu TF_CPP_MIN_LOG_LEVEL=3 venv/bin/python - 2> errors <<'END' || { cat errors; exit 1; }
import jax
import numpy as np
from neural_tangents import stax

jax.config.update("jax_enable_x64", True)
image = np.zeros((1, 4, 5, 1))
image[0, 1] = 1.0  # one row of pixels is white
resized = jax.image.resize(image, (1, 7, 3, 1), "linear")
exact = float(resized.mean()) ** 2
print(f"exact {exact:.5f}")
found = []
for convolutions in range(3):
    layers = [stax.Conv(1, (1, 1), W_std=1.0) for _ in range(convolutions)]
    layers += [stax.ImageResize((-1, 7, 3, -1), "linear"), stax.GlobalAvgPool()]
    _, _, kernel = stax.serial(*layers)
    found.append(float(kernel(image, None, "nngp")[0, 0]))
    print(f"after {convolutions} convolutions {found[-1]:.5f}")
assert abs(found[0] - exact) < 1e-6
assert abs(found[2] - exact) < 1e-6
assert abs(found[1] - exact) > 1e-3
END
