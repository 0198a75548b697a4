"""What a call would do, said before it does it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import equinox as eqx
import jax
from jaxtyping import PyTree

from nsh._checks import require, require_integer
from nsh.training.closed_form import ClosedForm
from nsh.training.direct_sample import DirectSample
from nsh.training.ensemble import Device, members_of, padded
from nsh.training.modes import size_in_words
from nsh.training.parallel_in_time import ParallelInTime
from nsh.training.problem import Method, TrainingProblem
from nsh.training.sequential import Sequential
from nsh.training.streamed import StreamedExamples
from nsh.training.varying import in_words


def explain(
    problem: TrainingProblem,
    *,
    seeds: int = 1,
    method: Method = Sequential(),  # noqa: B008, an immutable value
    vmap_size: int | None = None,
    chunk: int | None = None,
    devices: Sequence[Device] | None = None,
) -> str:
    """Say what `ensemble` would do with these arguments; nothing is trained or compiled.

    One line each: the problem, its members and how they share the devices, the memory of their
    states, what is recorded, whether the method fits, and which others do. Numbers of bytes are
    those of the arrays alone, without what a program needs in between.

    Raises `ValueError` on what `ensemble` refuses; why a method does not fit is said.

    Example:
        >>> graph, inputs = nsh.neurashed.figure4()
        >>> system = nsh.Neurashed(graph)
        >>> examples = system.prepare(inputs.x, inputs.y)
        >>> rules = nsh.neurashed.figure4_rules(graph)
        >>> problem = nsh.TrainingProblem(system, examples, rules, steps=1000)
        >>> print(nsh.explain(problem, seeds=100).splitlines()[1])
        members: 100 seeds at 1 point = 100, vmapped by 64, in 1 chunk on 1 device
    """
    members = members_of(problem, seeds, 0, vmap_size, devices)
    chunk = members.count if chunk is None else require_integer("chunk", chunk, 1)
    _, used = padded(min(chunk, members.count), members.vmap_size, members.devices)
    point = problem.first_point
    key = jax.random.key(0)
    state = eqx.filter_eval_shape(point.system.init, key, point.hyper)
    size = _bytes(state)
    lines = {
        "problem": f"{type(point.system).__name__} on {_examples(point)}, "
        f"{_many(point.steps, 'step')}, {_batches(point)}",
        "members": f"{_many(seeds, 'seed')} at {_many(members.grid_size, 'point')} = "
        f"{members.count:,}, vmapped by {members.vmap_size}, in "
        f"{_many(math.ceil(members.count / chunk), 'chunk')} on {_many(len(used), 'device')}",
        "states": f"{size_in_words(size)} a member, {size_in_words(members.count * size)} in all",
        "recorded": _recorded(point, state, members.count),
        "method": f"{method!r} {_verdict(method, point)}",
    }
    if varying := problem.varying():
        lines["members"] += f"; {in_words(varying)}"
    others = [other for other in ALL if type(other) is not type(method)]
    lines["others"] = "; ".join(f"{other!r} {_verdict(other, point)}" for other in others)
    return "\n".join(f"{name}: {text}" for name, text in lines.items())


ALL = (Sequential(), ParallelInTime(), ClosedForm(), DirectSample())


def _verdict(method: Method, point: TrainingProblem) -> str:
    require(isinstance(method, Method), "method", method, "an nsh.training.Method")
    try:
        method.check_supported(point)
    except ValueError as reason:
        return f"does not fit, {reason}"
    return "fits"


def _examples(point: TrainingProblem) -> str:
    read = ", read as they are needed" * isinstance(point.examples, StreamedExamples)
    return f"{_many(point.num_examples, 'example')}{read}"


def _batches(point: TrainingProblem) -> str:
    size = point.batch_size
    of = "all examples at each" if size == 0 else f"{_many(size, 'example')} at each"
    return f"{of} ({point.sampler!r})"


def _recorded(point: TrainingProblem, state: PyTree, members: int) -> str:
    if not point.times:
        return "nothing"
    now = eqx.filter_eval_shape(point.record, state, jax.ShapeDtypeStruct((), "int32"))
    each, times = _bytes(now), len(point.times)
    return (
        f"{size_in_words(each)} at {_many(times, 'time')}, from step {point.times[0]:,} to "
        f"{point.times[-1]:,}: {size_in_words(each * times * members)} in all"
    )


def _bytes(tree: PyTree) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _many(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
