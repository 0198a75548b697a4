"""The layers of an Equinox module, read from its tree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from nsh._checks import require
from nsh.activations import as_activation
from nsh.networks import CNN, MLP, Linear
from nsh.theory.effective.layers.branches import Identity, Serial
from nsh.theory.effective.layers.convolution import Conv, ConvTranspose
from nsh.theory.effective.layers.dense import Dense, Elementwise
from nsh.theory.effective.layers.layer import Layer
from nsh.theory.effective.layers.normalisation import Dropout, LayerNorm
from nsh.theory.effective.layers.pooling import (
    AvgPool,
    Flatten,
    GlobalAvgPool,
    GlobalSumPool,
)

PROBE = (3, 4, 5)  # features and positions of what a function is tried on


def from_module(module: Any) -> Layer:
    """The layers of an Equinox module, as values: for its kernels at infinite width.

    Reads `eqx.nn` Linear, Conv, ConvTranspose, AvgPool, AdaptiveAvgPool to one position,
    LayerNorm, RMSNorm, Dropout, Identity, Sequential, MLP and Lambda (of an elementwise function,
    `jnp.ravel`, or a mean or sum over positions), and `nsh.networks` Linear, MLP and CNN. A class
    of one's own with a method ``as_layer()`` says itself what it is: a residual block, say.

    C_W and C_b are measured: ``fan_in mean(W^2)`` and ``mean(b^2)``, so the module should be one
    at initialisation. Learning rates are those of one rate for all parameters as they are: lambda_W
    = fan_in, lambda_b = 1 (0 without bias), so that the NTK is that of `empirical_ntk(module, x)`.

    Raises `ValueError`, naming place and class, for modules without such a limit: max pooling,
    BatchNorm, softmax attention with 1 / sqrt(d), recurrent cells, trained activations.

    Example:
        >>> import equinox as eqx
        >>> from nsh.theory.effective import layers
        >>> module = eqx.nn.MLP(3, 2, 64, 1, jax.nn.relu, key=jax.random.key(0))
        >>> [type(layer).__name__ for layer in layers.from_module(module).layers]
        ['Dense', 'Elementwise', 'Dense']
    """
    return _read(module, "module")


def _read(module: Any, place: str) -> Layer:
    if isinstance(module, Layer):
        return module
    own: Any = getattr(module, "as_layer", None)
    if callable(own):
        found: Any = own()
        require(isinstance(found, Layer), f"{place}.as_layer()", found, "a Layer")
        return found
    for kind, read in READERS.items():
        if type(module) is kind or (kind in SUBCLASSED and isinstance(module, kind)):
            return read(module, place)
    if callable(module) and not isinstance(module, eqx.Module):
        function: Any = module
        return _function(function, place)
    names = ", ".join(kind.__name__ for kind in READERS)
    allowed = f"one of {names}, or a class with a method as_layer(): it has no limit known here"
    raise ValueError(f"{place} = {type(module).__name__}: must be {allowed}")


def _weights(weight: Array, bias: Array | None) -> dict[str, Any]:
    """C_W, C_b and rates as they are, of weights [outputs, ...]."""
    fan_in = int(np.prod(weight.shape[1:]))
    numbers = {"C_W": fan_in * jnp.mean(weight**2), "lambda_W": float(fan_in)}
    if bias is None:
        return {**numbers, "C_b": 0.0, "lambda_b": 0.0}
    return {**numbers, "C_b": jnp.mean(bias**2), "lambda_b": 1.0}


def _linear(module: eqx.nn.Linear, place: str) -> Layer:
    sizes = {module.in_features, module.out_features}
    require("scalar" not in sizes, f"{place}: sizes", sizes, 'numbers, not "scalar"')
    return Dense(int(module.out_features), **_weights(module.weight, module.bias))


def _own_linear(module: Linear, place: str) -> Layer:  # noqa: ARG001
    return Dense(module.weight.shape[1], **_weights(module.weight.T, module.bias))


def _convolution(module: eqx.nn.Conv, place: str) -> Layer:
    require(module.groups == 1, f"{place}.groups", module.groups, "1")
    modes = "ZEROS", "CIRCULAR"
    mode = module.padding_mode
    require(mode in modes, f"{place}.padding_mode", mode, " or ".join(modes))
    padding = _padding(module.padding)
    return Conv(
        module.out_channels, module.kernel_size, module.stride, padding, module.dilation,
        padding_mode=mode, **_weights(module.weight, module.bias),
    )  # fmt: skip


def _transposed(module: eqx.nn.ConvTranspose, place: str) -> Layer:
    require(module.groups == 1, f"{place}.groups", module.groups, "1")
    more = set(module.output_padding)
    require(more == {0}, f"{place}.output_padding", module.output_padding, "0")
    mode = module.padding_mode
    require(mode == "ZEROS", f"{place}.padding_mode", mode, "ZEROS")
    return ConvTranspose(
        module.out_channels, module.kernel_size, module.stride, _padding(module.padding),
        module.dilation, **_weights(module.weight, module.bias),
    )  # fmt: skip


def _padding(given: Any) -> Any:
    return given if isinstance(given, str) else tuple(tuple(one) for one in given)


def _pool(module: Any, place: str) -> Layer:
    require(not module.use_ceil, f"{place}.use_ceil", module.use_ceil, "False")
    return AvgPool(module.kernel_size, module.stride, _padding(module.padding))


def _adaptive(module: Any, place: str) -> Layer:
    target = module.target_shape
    to_one = all(size == 1 for size in target)
    require(to_one, f"{place}.target_shape", target, "one position: others have unequal windows")
    return GlobalAvgPool(keep_positions=True)


def _norm(module: Any, place: str) -> Layer:  # noqa: ARG001
    rates = {
        "lambda_scale": 1.0 if module.use_weight else 0.0,
        "lambda_shift": 1.0 if module.use_bias else 0.0,
    }
    return LayerNorm(over_positions=len(module.shape) > 1, eps=module.eps, **rates)


def _dropout(module: eqx.nn.Dropout, place: str) -> Layer:  # noqa: ARG001
    return Identity() if module.inference else Dropout(float(module.p))


def _sequential(module: eqx.nn.Sequential, place: str) -> Layer:
    parts = enumerate(module.layers)
    return Serial(*(_read(part, f"{place}.layers[{i}]") for i, part in parts))


def _perceptron(module: eqx.nn.MLP, place: str) -> Layer:
    require(not getattr(module, "scan", False), f"{place}.scan", True, "False")
    trained = jax.tree.leaves(eqx.filter(module.activation, eqx.is_inexact_array))
    require(not trained, f"{place}.activation", module.activation, "a function without parameters")
    found: list[Layer] = []
    for i, layer in enumerate(module.layers):
        found.append(_linear(layer, f"{place}.layers[{i}]"))
        last = i + 1 == len(module.layers)
        function = module.final_activation if last else module.activation
        read = _function(function, f"{place}.{'final_' if last else ''}activation")
        found += [] if isinstance(read, Identity) else [read]
    return Serial(*found)


def _own_mlp(module: MLP, place: str) -> Layer:
    found: list[Any] = []
    for layer in module.hidden:
        found += [_own_linear(layer, place), _function(module.activation, f"{place}.activation")]
    return Serial(*found, _own_linear(module.readout, place))


def _lambda(module: eqx.nn.Lambda, place: str) -> Layer:
    return _function(module.fn, f"{place}.fn")


def _function(function: Callable[[Array], Array], place: str) -> Layer:
    """An elementwise function, or one that ends positions: by what it does to numbers."""
    probe = np.random.default_rng(0).normal(size=PROBE).astype(np.float32)
    with jax.ensure_compile_time_eval():
        try:
            found = np.asarray(function(jnp.asarray(probe)))
        except Exception as complaint:
            allowed = "an elementwise function, jnp.ravel, or a mean or sum over positions"
            raise ValueError(f"{place} = {function!r}: must be {allowed}") from complaint
    axes = tuple(range(1, len(PROBE)))
    for known, layer in (
        (probe, Identity()),
        (probe.ravel(), Flatten()),
        (probe.mean(axes), GlobalAvgPool()),
        (probe.sum(axes), GlobalSumPool()),
    ):
        if found.shape == known.shape and np.allclose(found, known, rtol=1e-5, atol=1e-5):
            return layer
    try:
        return Elementwise(as_activation(function))
    except ValueError as complaint:
        raise ValueError(f"{place}: {complaint}") from None


def _cnn(module: CNN, place: str) -> Layer:
    halved = [all(side % 2 == 0 for side in size) for size in module.sizes[:-1]]
    allowed = "even after each block but the last: else its last windows are smaller"
    require(all(halved), f"{place}.sizes", module.sizes, allowed)
    require(module.channels_at == "first" or len(module.image) == 2, f"{place}.channels_at",
            module.channels_at, "first")  # fmt: skip
    found: list[Any] = []
    for block in module.blocks:
        weight = jnp.moveaxis(block.weight, (3, 2), (0, 1))
        found += [
            Conv(len(weight), 3, padding=1, **_weights(weight, block.bias)),
            _function(module.activation, f"{place}.activation"),
            AvgPool(2),
        ]
    return Serial(*found, Flatten(), _own_linear(module.readout, place))


READERS: dict[type, Callable[[Any, str], Layer]] = {
    eqx.nn.Linear: _linear,
    eqx.nn.Conv: _convolution,
    eqx.nn.ConvTranspose: _transposed,
    eqx.nn.AvgPool1d: _pool,
    eqx.nn.AvgPool2d: _pool,
    eqx.nn.AvgPool3d: _pool,
    eqx.nn.AdaptiveAvgPool1d: _adaptive,
    eqx.nn.AdaptiveAvgPool2d: _adaptive,
    eqx.nn.AdaptiveAvgPool3d: _adaptive,
    eqx.nn.LayerNorm: _norm,
    eqx.nn.RMSNorm: _norm,
    eqx.nn.Dropout: _dropout,
    eqx.nn.Identity: lambda module, place: Identity(),  # noqa: ARG005
    eqx.nn.Sequential: _sequential,
    eqx.nn.MLP: _perceptron,
    eqx.nn.Lambda: _lambda,
    Linear: _own_linear,
    MLP: _own_mlp,
    CNN: _cnn,
}
SUBCLASSED = {eqx.nn.Conv, eqx.nn.ConvTranspose}
"""Classes whose subclasses, such as Conv2d, only fix the number of dimensions."""
