"""Networks of one's own in study files: a module, a task and data in files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optax

from nsh._checks import require
from nsh.data import Classes, read_cifar, read_idx, read_npz, read_zarr
from nsh.data.images import ChannelsAt
from nsh.networks import Classification, Network, Task
from nsh.study.tables import Registry, require_takes


class DataSet(NamedTuple):
    """Inputs and targets to train on, and perhaps others to test on."""

    x: Any
    y: Any
    test: tuple[Any, Any] | None = None


def own_data(function: Callable[..., Any], options: Mapping[str, Any]) -> DataSet:
    """Call a user's function, which returns (x, y) or (x, y, (test x, test y))."""
    require_takes(function, **options)
    found = function(**options)
    fits = isinstance(found, tuple) and 2 <= len(found) <= len(DataSet._fields)
    name = getattr(function, "__name__", "function")
    require(fits, f"{name}()", type(found).__name__, "a tuple: x, y, (test x, test y)")
    return DataSet(*found)


def own_optimiser(function: Callable[..., Any], options: Mapping[str, Any]) -> Callable[..., Any]:
    """A user's function of the hyperparameters that gives an Optax transformation."""
    require(not options, "options", sorted(options), "none: they are hyperparameters")
    return function


def idx(*, x: Path, y: Path, test_x: Path | None = None, test_y: Path | None = None) -> DataSet:
    """Images and labels in IDX files, as MNIST and its family have them."""
    return DataSet(read_idx(x), read_idx(y), _test(read_idx, test_x, test_y))


def cifar(
    *,
    train: tuple[Path, ...],
    test: tuple[Path, ...] = (),
    classes: int = 10,
    channels_at: ChannelsAt = "first",
) -> DataSet:
    """Images and labels in the binary files of CIFAR-10 or CIFAR-100."""
    require(classes in (10, 100), "classes", classes, "10 or 100")
    sets = [read_cifar(p, classes, channels_at=channels_at) for p in (train, test) if p]  # pyright: ignore[reportArgumentType]
    pairs = [(one.x, one.y) for one in sets]
    return DataSet(*pairs[0], pairs[1] if len(pairs) > 1 else None)


def npz(
    *, path: Path, x: str = "x", y: str = "y", test_x: str | None = None, test_y: str | None = None
) -> DataSet:
    """Arrays by name in a file of `numpy.savez`."""
    both = (test_x is None) == (test_y is None)
    require(both, "test_y", test_y, "given with test_x, and not without")
    test = None if test_x is None or test_y is None else read_npz(path, test_x, test_y)
    inputs, targets = read_npz(path, x, y)
    return DataSet(inputs, targets, test)  # pyright: ignore[reportArgumentType]


def zarr(
    *, path: Path, x: str = "x", y: str = "y", test_x: str | None = None, test_y: str | None = None
) -> DataSet:
    """Arrays by name in a Zarr group; inputs are read as they are wanted."""

    def read(name: str) -> Any:
        return read_zarr(path, name)

    test = None
    if test_x is not None and test_y is not None:
        test = read(test_x), np.asarray(read(test_y)[:])
    return DataSet(read(x), np.asarray(read(y)[:]), test)


def _test(read: Callable[[Path], Any], x: Path | None, y: Path | None) -> tuple[Any, Any] | None:
    require((x is None) == (y is None), "test_y", y, "given with test_x, and not without")
    return None if x is None or y is None else (read(x), read(y))


DATA = Registry({"idx": idx, "cifar": cifar, "npz": npz, "zarr": zarr}, user=own_data)
NAMES = ("sgd", "adam", "adamw", "nadam", "rmsprop", "adagrad", "lion")
OPTIMISERS = Registry(
    {name: lambda name=name: getattr(optax, name) for name in NAMES}, user=own_optimiser
)


def network_of(
    module: Callable[..., Any],
    data: DataSet,
    optimiser: Callable[..., Any],
    task: Task,
    *,
    name_classes: bool,
    features: Callable[..., Any] | None,
    augment: Callable[..., Any] | None,
    trainable: Callable[..., Any] | None,
    call: Callable[..., Any] | None,
) -> Network:
    """The network of a study file; `name_classes`: labels are names, or numbers of any kind."""
    if name_classes:
        known = isinstance(task, Classification)
        require(known, "name_classes", True, "false: only a classification has classes")
        task = Classification(task.loss, Classes.of(data.y))
    return Network(
        module, optimiser, task,
        features=features, augment=augment, trainable=trainable, call=call,
    )  # fmt: skip
