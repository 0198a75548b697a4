"""Contenders side by side: each in a process of its own, one working while the others sleep."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks.case import Case, Contender
from experiments.harness.results import ROOT
from nsh.study.progress import Progress

DATA = "data.npz"


class Absent(Exception):
    """A contender that cannot run here, and why."""


class Process:
    """A worker process; `ask` sends a request and waits for the reply."""

    def __init__(self, python: str, *, peer: bool):
        code = "from experiments.benchmarks.worker import main; main()"
        if not peer:  # before JAX starts: all cores of a CPU as devices
            code = (
                "import os, jax; jax.config.update('jax_num_cpu_devices', os.cpu_count()); " + code
            )
        # beside others, so no GPU memory is set aside beforehand
        environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        try:
            self._process = subprocess.Popen(
                [python, "-c", code], cwd=ROOT, env=environment, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )  # fmt: skip
        except OSError as error:
            raise Absent(f"no interpreter at {python}: {error}") from error

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """The reply; raises `Absent` with what went wrong."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            stdin.flush()
        except BrokenPipeError:
            raise Absent("the process has ended") from None
        line = stdout.readline()
        if not line:
            raise Absent(f"the process ended with status {self._process.wait()}")
        reply = json.loads(line)
        if "error" in reply:
            raise Absent(reply["error"])
        return reply

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()


@contextlib.contextmanager
def started(contender: Contender, peers: Mapping[str, str]) -> Iterator[Process]:
    """The contender's process, ended with the block."""
    if contender.peer and contender.peer not in peers:
        raise Absent(f"no interpreter given for {contender.peer}")
    python = peers[contender.peer] if contender.peer else sys.executable
    process = Process(python, peer=contender.peer is not None)
    try:
        yield process
    finally:
        process.close()


def measure(
    case: Case, peers: Mapping[str, str], rounds: int, progress: Progress
) -> dict[str, Any]:
    """Time a case: what every contender measured, and how far results differ from the first's.

    `peers`: an interpreter for each environment there is.
    """
    found: dict[str, dict[str, Any]] = {
        one.name: {
            "sizes": dict(one.sizes), "scale": one.scale, "extrapolated": one.extrapolated
        } for one in case.contenders
    }  # fmt: skip
    running: dict[str, Process] = {}
    with (
        tempfile.TemporaryDirectory() as directory,
        contextlib.ExitStack() as stack,
        progress(case.name, len(case.contenders) + rounds) as advance,
    ):
        for one in case.contenders:
            try:
                path = _make_data(case, Path(directory))
                process = stack.enter_context(started(one, peers))
                found[one.name] |= process.ask(
                    "build", work=one.work, sizes=dict(one.sizes), path=path
                )
                found[one.name] |= process.ask("first")
                running[one.name] = process
            except Absent as reason:
                found[one.name]["absent"] = str(reason)
            advance(1)
        for _ in range(rounds):
            for name, process in running.items():
                for measured, value in process.ask("run").items():
                    found[name].setdefault(measured, []).append(value * found[name]["scale"])
            advance(1)
        differences = {} if case.tolerance is None else _differences(running, Path(directory))
    return {"contenders": found, "differences": differences}


def _make_data(case: Case, directory: Path) -> str | None:
    """Path of the case's data, made in a process of its own by whoever asks first."""
    path = directory / DATA
    if case.data is None:
        return None
    if not path.exists():
        first = case.contenders[0]
        with started(first, {}) as process:
            process.ask("make_data", maker=case.data, sizes=dict(first.sizes), path=str(path))
    return str(path)


def _differences(running: dict[str, Process], directory: Path) -> dict[str, float]:
    """Largest difference of each contender's result from the first one's, relative to its size."""
    results = {}
    for number, (name, process) in enumerate(running.items()):
        path = directory / f"check{number}.npz"
        if process.ask("check", path=str(path))["checked"]:
            with np.load(path, allow_pickle=False) as file:
                results[name] = dict(file)
    return {
        name: largest_difference(next(iter(results.values())), result)
        for name, result in itertools.islice(results.items(), 1, None)
    }


def largest_difference(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    """Over all arrays: largest absolute difference over the largest absolute number."""
    if one.keys() != other.keys():
        raise ValueError(f"results of {sorted(other)} where {sorted(one)} are expected")
    return max(
        float(np.abs(one[name] - other[name]).max() / np.abs(one[name]).max()) for name in one
    )


def ratios(result: dict[str, Any], over: str, under: str | None, measure: str) -> Sequence[float]:
    """One ratio for each round (one in all for bytes); none if a contender is absent."""
    top = _numbers(result["contenders"][over], measure)
    if under is None:
        return top
    bottom = _numbers(result["contenders"][under], measure)
    return [a / b for a, b in zip(top, bottom, strict=False) if b > 0]


def _numbers(contender: dict[str, Any], measure: str) -> Sequence[float]:
    if measure == "seconds":
        return contender.get("seconds", [])
    for field in ("temporary_bytes", "peak_bytes"):
        if contender.get(field) is not None:
            return [contender[field]]
    return []
