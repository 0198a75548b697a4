"""Run as a program: digests of ensembles on 1, 2 and 8 devices, or as one of several processes.

``many_devices.py [PROCESSES NUMBER PORT]`` prints one line of JSON: what each number of devices
gave; one process alone makes 8 devices, each of several makes one.
"""

import hashlib
import json
import sys

import equinox as eqx
import jax
import numpy as np
import optax

# for the number of devices and processes, of each system the numbers of seeds and of members
# trained at once: 4 vmapped, so that groups are fewer than devices, as many, or more
SIZES: dict[tuple[int, int], dict[str, tuple[int, int | None]]] = {
    (1, 1): {"neurashed": (64, 12), "mlp": (64, 12), "stateful": (64, 12)},
    (2, 1): {"neurashed": (64, 12), "mlp": (7, None), "stateful": (7, None)},
    (8, 1): {"neurashed": (7, None), "mlp": (64, 40)},
    (2, 2): {"neurashed": (7, None), "mlp": (64, 12)},
}


class Stateful(eqx.Module):
    """Layers of Equinox with a state of floats, of whole numbers and of truth values."""

    spectral: eqx.nn.SpectralNorm
    norms: tuple[eqx.nn.BatchNorm, ...]

    def __init__(self, key):
        one, two = jax.random.split(key)
        self.spectral = eqx.nn.SpectralNorm(eqx.nn.Linear(8, 3, key=one), "weight", key=two)
        self.norms = tuple(eqx.nn.BatchNorm(3, "batch", mode=mode) for mode in ("batch", "ema"))

    def __call__(self, x, state):
        h, state = self.spectral(x, state)
        for norm in self.norms:
            h, state = norm(h, state)
        return h, state


def systems():
    from nsh import Neurashed
    from nsh.networks import MLP, Network
    from nsh.neurashed import figure4, figure4_rules

    graph, inputs = figure4()
    neurashed = Neurashed(graph)
    yield "neurashed", neurashed, neurashed.prepare(inputs.x, inputs.y), figure4_rules(graph)
    random = np.random.default_rng(0)
    network = Network(lambda key: MLP((8, 16, 3), key=key), optax.sgd)
    x, y = random.normal(size=(20, 8)), random.integers(0, 3, 20)
    hyper = {"optimiser": {"learning_rate": 0.1}}
    yield "mlp", network, network.prepare(x, y), hyper
    network = Network(Stateful, optax.sgd)
    yield "stateful", network, network.prepare(x, y), hyper


def digests(devices, processes):
    """For each system, a digest of every seed's arrays; of modules with a state, their sizes."""
    from nsh import TrainingProblem, WithReplacement, ensemble

    key, found = jax.random.key(1), {}
    sizes = SIZES[len(devices), processes]
    for name, system, examples, hyper in systems():
        if name not in sizes:
            continue
        seeds, chunk = sizes[name]
        problem = TrainingProblem(system, examples, hyper, steps=11, sampler=WithReplacement(3))
        run = ensemble(problem, key, seeds=seeds, vmap_size=4, chunk=chunk, devices=devices)
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(run.state)]
        assert np.all(np.asarray(run.status) == 0)
        if name == "stateful":
            sums = [np.abs(leaf.reshape(seeds, -1)).sum(1, dtype=float) for leaf in leaves]
            found[name] = np.transpose(sums).tolist()
            continue
        found[name] = [
            hashlib.sha256(b"".join(leaf[i].tobytes() for leaf in leaves)).hexdigest()
            for i in range(seeds)
        ]
    return found


def main(processes=1, number=0, port=0):
    counts = [devices for devices, hosts in SIZES if hosts == processes]
    jax.config.update("jax_num_cpu_devices", counts[-1] // processes)
    if processes > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(f"127.0.0.1:{port}", processes, number)
    assert len(jax.devices()) == counts[-1]
    found = {count: digests(jax.devices()[:count], processes) for count in counts}
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
