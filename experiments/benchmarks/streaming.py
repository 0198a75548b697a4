"""Training on images in a file, read as they are needed, against the same images in memory."""

from __future__ import annotations

import dataclasses
import struct
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.benchmarks.case import Case, Contender, Target
from experiments.benchmarks.ours import compiled
from experiments.benchmarks.work import Data, Work
from nsh import TrainingProblem, WithReplacement, ensemble
from nsh._fingerprint.surroundings import device
from nsh.data import read_idx
from nsh.networks import CNN, Network
from nsh.training import stream

__all__ = ["cases", "device"]

HERE = "experiments.benchmarks.streaming"
SIDE, CLASSES, RATE = 28, 10, 0.05
AT_ONCE = 10_000
MOST_BYTES = 300e6


@dataclasses.dataclass(frozen=True)
class Streaming:
    """Sizes of the case of a CNN on images in an IDX file."""

    images: int = 60_000
    more: int = 240_000
    """Images of the larger file, which is to take no more memory."""
    channels: tuple[int, ...] = (8, 16)
    batch: int = 32
    seeds: int = 8
    steps: int = 50


QUICK = Streaming(40, 80, (2,), batch=4, seeds=2, steps=5)


def cases(sizes: Streaming) -> list[Case]:
    """The case."""
    given = dataclasses.asdict(sizes)
    more = {**given, "images": given.pop("more")}
    more.pop("more")
    memory, streamed = "from memory", "streamed"
    opened = [f"opened and streamed, {one['images']:,} images" for one in (given, more)]
    return [
        Case(
            "streaming",
            f"CNNs trained on {SIDE}x{SIDE} images in a file",
            (
                Contender(memory, f"{HERE}:in_memory", given),
                Contender(streamed, f"{HERE}:streamed", given),
                Contender(opened[0], f"{HERE}:opened", given),
                Contender(opened[1], f"{HERE}:opened", more),
            ),
            (
                Target(streamed, memory, "most", 1.15),
                Target(opened[0], None, "most", MOST_BYTES, "bytes"),
                Target(opened[1], None, "most", MOST_BYTES, "bytes"),
                Target(opened[1], opened[0], "most", 1.25, "bytes"),
            ),
            None, 1e-6,
        )
    ]  # fmt: skip


def in_memory(_: Data, *, images: int, channels: Any, **sizes: int) -> Work:
    """All examples on the device, as `prepare` makes them."""
    network, (x, y, _folder) = made(tuple(channels)), files(images)
    scaled = np.asarray(jax.vmap(share_of_white)(jnp.asarray(x)))
    return training(network, network.prepare(scaled, y), **sizes)


def streamed(_: Data, *, images: int, channels: Any, **sizes: int) -> Work:
    """Images read from the file, batch by batch."""
    network, (x, y, folder) = made(tuple(channels)), files(images)
    work = training(network, stream(network, x, y, each=share_of_white), **sizes)
    return dataclasses.replace(work, run=partial(_holding, folder, work.run))


def opened(_: Data, *, images: int, channels: Any, **sizes: int) -> Work:
    """The same, with all that comes before: the file opened, read once and checked."""
    network, (x, y, folder) = made(tuple(channels)), files(images)
    path = str(x.filename)

    def run() -> Any:
        examples = stream(network, read_idx(path), y, each=share_of_white)
        return jax.block_until_ready(trained(network, examples, jax.random.key(0), **sizes))

    return Work(partial(_holding, folder, run), run)


def training(network: Network, examples: Any, **sizes: int) -> Work:
    """The ensemble on these examples."""

    def run(examples: Any, key: Any) -> Any:
        return trained(network, examples, key, **sizes)

    def check() -> Data:
        leaves = jax.tree.leaves(run(examples, jax.random.key(1)))
        return {f"leaf{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)}

    return compiled(run, examples, jax.random.key(0), check=check)


def trained(
    network: Network, examples: Any, key: Any, *, batch: int, seeds: int, steps: int
) -> Any:
    """The parameters of all seeds."""
    hyper, sampler = {"optimiser": {"learning_rate": jnp.asarray(RATE)}}, WithReplacement(batch)
    problem = TrainingProblem(network, examples, hyper, steps=steps, sampler=sampler)
    return ensemble(problem, key, seeds=seeds).state.params


def made(channels: tuple[int, ...]) -> Network:
    """The network."""

    def make(key: Any) -> CNN:
        return CNN(channels, CLASSES, (SIDE, SIDE), jax.nn.relu, key=key, gain=2.0)

    return Network(make, optax.sgd)


def share_of_white(image: Any) -> Any:
    """Pixels 0..255 as 0..1."""
    return image.astype(float) / 255


def files(images: int) -> tuple[np.memmap, np.ndarray, Any]:
    """An IDX file of random images, mapped, labels, and the folder, which goes with it."""
    folder, random = tempfile.TemporaryDirectory(), np.random.default_rng(0)
    path = Path(folder.name) / "images-idx3-ubyte"
    with path.open("wb") as file:
        file.write(struct.pack(">BBBBIII", 0, 0, 8, 3, images, SIDE, SIDE))
        for first in range(0, images, AT_ONCE):
            shape = (min(AT_ONCE, images - first), SIDE, SIDE)
            file.write(random.integers(0, 256, shape, np.uint8).tobytes())
    return read_idx(path), random.integers(0, CLASSES, images), folder  # pyright: ignore


def _holding(_: Any, run: Any) -> Any:
    return run()
