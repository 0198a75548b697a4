"""Kernels of layers by neural-tangents 0.6.5 in 64 bits: what the tests of nsh's layers hold.

Run once, in the environment of `requirements-kernels.txt`:

    python -m experiments.benchmarks.layer_references tests/theory/effective/layers/references.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from neural_tangents import stax  # pyright: ignore[reportMissingImports]

jax.config.update("jax_enable_x64", True)


def inputs(*shape: int) -> np.ndarray:
    """Numbers that any program makes again: [n, features, *positions]."""
    place = np.arange(np.prod(shape), dtype=float)
    return np.sin(1.3 * place + 0.1 * place**2 % 7).reshape(shape)


def dense(**_: Any) -> Any:
    """C_W = 1.5, C_b = .2, in the NTK parametrisation."""
    return stax.Dense(1, W_std=1.5**0.5, b_std=0.2**0.5)


def conv(size: tuple[int, ...], strides: tuple[int, ...] | None = None, padding: str = "VALID",
         kind: Any = stax.Conv) -> Any:  # fmt: skip
    """The same, of a convolution."""
    return kind(1, size, strides, padding, W_std=1.5**0.5, b_std=0.2**0.5)


def cases() -> Iterator[tuple[str, Any, np.ndarray]]:
    """Name, layers of neural-tangents, inputs."""
    x, row, image = inputs(3, 4), inputs(3, 2, 6), inputs(3, 2, 4, 5)
    s, relu = stax.serial, stax.Relu()
    yield "dense", s(dense(), relu, dense(), stax.Erf(), dense()), x
    yield "conv_valid", s(conv((3, 2)), relu, conv((2, 2)), stax.Flatten(), dense()), image
    yield "conv_same", s(conv((3, 3), padding="SAME"), relu, stax.GlobalAvgPool(), dense()), image
    same = conv((3, 3), (2, 2), "SAME")
    yield "conv_strides", s(same, relu, conv((2, 2)), stax.Flatten(), dense()), image
    circular = conv((3,), padding="CIRCULAR")
    yield "conv_circular", s(circular, relu, circular, stax.GlobalSumPool()), row
    local = conv((3,), kind=stax.ConvLocal)
    yield "conv_local", s(local, relu, conv((2,)), relu, stax.GlobalAvgPool(), dense()), row
    wide = conv((3,), (2,), kind=stax.ConvTranspose)
    yield "conv_transpose", s(wide, relu, stax.GlobalAvgPool(), dense()), row
    pool = stax.AvgPool((2, 2), (2, 2))
    yield (
        "avg_pool",
        s(conv((2, 2), padding="SAME"), relu, pool, conv((2, 2)), stax.Flatten()),
        image,
    )
    pool = stax.SumPool((3,), (1,))
    yield "sum_pool", s(conv((2,)), relu, pool, conv((2,)), stax.Flatten(), dense()), row
    yield "layer_norm", s(dense(), stax.LayerNorm(eps=1e-5), relu, dense()), x
    whole = stax.LayerNorm(axis=(1, 2), eps=1e-5)
    yield "layer_norm_positions", s(conv((2,)), whole, relu, stax.GlobalAvgPool(), dense()), row
    train = stax.Dropout(0.7, "train")
    yield "dropout", s(dense(), relu, train, dense(), relu, dense()), x
    attention = stax.GlobalSelfAttention(
        1, n_chan_key=1, n_chan_val=1, n_heads=1, linear_scaling=True, W_key_std=1.3**0.25,
        W_value_std=1.5**0.5, W_query_std=1.3**0.25, W_out_std=1.5**0.5, b_std=None,
    )  # fmt: skip
    yield "attention", s(conv((2,)), relu, attention, stax.GlobalAvgPool(), dense()), row
    heads = stax.GlobalSelfAttention(
        1, n_chan_key=1, n_chan_val=1, n_heads=1, linear_scaling=False, W_key_std=1.3**0.5,
        W_value_std=1.5**0.5, W_query_std=1.3**0.5, W_out_std=1.5**0.5, b_std=None,
        attention_mechanism=stax.AttentionMechanism.IDENTITY,
    )  # fmt: skip
    yield "linear_attention", s(conv((2,)), relu, heads, stax.GlobalAvgPool(), dense()), row
    larger = stax.ImageResize((-1, 7, 3, -1), "linear")
    # after an odd number of convolutions its resizing exchanges height and width
    yield (
        "resize",
        s(conv((2, 2)), conv((1, 1)), larger, relu, stax.GlobalAvgPool(), dense()),
        image,
    )
    block = s(stax.FanOut(2), stax.parallel(s(relu, dense(), relu, dense()), stax.Identity()),
              stax.FanInSum())  # fmt: skip
    yield "residual", s(dense(), block, block, relu, dense()), x
    product = s(stax.FanOut(2), stax.parallel(s(dense(), relu), dense()), stax.FanInProd())
    yield "product", s(dense(), product, dense()), x
    wide, narrow = (stax.Dense(width, W_std=1.5**0.5, b_std=0.2**0.5) for width in (3, 1))
    joined = s(stax.FanOut(2), stax.parallel(s(relu, wide), s(stax.Erf(), narrow)),
               stax.FanInConcat())  # fmt: skip
    yield "concatenate", s(dense(), joined, dense()), x
    functions = {
        "relu": relu, "leaky_relu": stax.LeakyRelu(0.3), "abs": stax.Abs(), "erf": stax.Erf(),
        "ab_relu": stax.ABRelu(-0.5, 2.0), "gelu": stax.Gelu(), "sin": stax.Sin(0.7, 1.3, 0.4),
        "cos": stax.Cos(0.7, 1.3, 0.4), "rbf": stax.Rbf(0.8), "exp": stax.Exp(0.7, 0.6),
        "gaussian": stax.Gaussian(0.7, -0.6), "monomial": stax.Monomial(3),
        "polynomial": stax.Polynomial((0.3, -0.7, 0.4)), "sigmoid_like": stax.Sigmoid_like(),
        "sign": stax.Sign(),
    }  # fmt: skip
    for name, function in functions.items():
        yield f"activation {name}", s(dense(), function, dense()), x


def main(path: str) -> None:
    """Write all of them."""
    found = {}
    for name, (_, _, kernel), x in cases():
        last = np.moveaxis(x, 1, -1)
        print(name, flush=True)
        result = kernel(last, None, ("nngp", "ntk"))
        found[name] = {key: np.asarray(getattr(result, key)).tolist() for key in ("nngp", "ntk")}
    Path(path).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
