"""Seeds are the same on 1, 2 and 8 devices and for 2 processes that talk to each other."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from nsh import Geometric, Neurashed, Rules, TrainingProblem, ensemble
from nsh.neurashed import figure4

PROGRAM = Path(__file__).parents[1] / "support" / "many_devices.py"
# compiles as users do, whatever tests/conftest.py has asked for
ENVIRONMENT = {**os.environ, "JAX_PLATFORMS": "cpu"}
ENVIRONMENT.pop("XLA_FLAGS", None)


def start(*arguments):
    command = [sys.executable, str(PROGRAM), *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=ENVIRONMENT)


def result(process):
    output, complaints = process.communicate(timeout=300)
    assert process.returncode == 0, complaints
    return json.loads(output.splitlines()[-1])


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.mark.long
def test_seeds_are_bitwise_the_same_on_any_devices_and_hosts():
    port = free_port()
    one_process = result(start())
    first, second = map(result, [start(2, 0, port), start(2, 1, port)])
    assert list(one_process) == ["1", "2", "8"]
    assert list(first) == list(second) == ["2"]
    for system in ("neurashed", "mlp"):
        alone = one_process["1"][system]
        assert len(set(alone)) == 64
        for found in (*one_process.values(), *first.values(), *second.values()):
            assert len(found[system]) in (7, 64)
            assert found[system] == alone[: len(found[system])]
    alone = np.array(one_process["1"]["stateful"])
    assert len({tuple(one) for one in alone}) == 64
    # rounding of 11 steps, which XLA orders otherwise on one device
    np.testing.assert_allclose(one_process["2"]["stateful"], alone[:7], rtol=1e-4)


@pytest.mark.parametrize("devices", [(), ["cpu"]])
def test_devices_must_be_devices(devices):
    graph, inputs = figure4()
    system = Neurashed(graph)
    rules = Rules(Geometric(1.1), Geometric(0.9))
    examples = system.prepare(inputs.x, inputs.y)
    problem = TrainingProblem(system, examples, rules, steps=2)
    with pytest.raises(ValueError, match="devices"):
        ensemble(problem, jax.random.key(0), seeds=2, devices=devices)
