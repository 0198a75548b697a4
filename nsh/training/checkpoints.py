"""Long runs, saved as they go: stretch after stretch, each on the disk before the next begins.

The idea: all that a run needs to go on is what is carried from step to step, the system's state and
the sampler's. A run is cut into stretches of equal length. One compiled program, whose first step
is a traced number, serves all that record alike. What is carried and what was recorded go to files
between two calls of it.

A file is whole or not there: it is written beside its place, synchronised and moved there. Its
first line is JSON with the SHA-256 of the rest, the rest is what `equinox.tree_serialise_leaves`
writes, which is arrays as NumPy saves them and nothing else. So a damaged file is recognised, and
the run goes on from the stretch before. A description of the run lies beside them: a call with
anything else is refused.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PyTree

from nsh._checks import is_concrete, require, require_integer
from nsh._files import atomic, sync
from nsh.training.problem import Method, Result, TrainingProblem
from nsh.training.sequential import Sequential
from nsh.training.step_loop import Stretch

DESCRIPTION = "description.json"
CARRIED, RECORDED = "carried", "recorded"
# if the last is damaged, the run goes on from the one before
CARRIED_KEPT = 2


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """Where a long run is saved, and after how many steps each time.

    A run that was killed and is called again with the same arguments goes on from the last stretch
    of `every` steps that is on the disk. It gives bit for bit what an uninterrupted call with the
    same `every` gives. Stretches are other programs than a whole run: without checkpoints, or on
    another number of devices, results agree up to rounding. Recordings that fall alike in all
    stretches (`every` a multiple of ``save.every``) are compiled once. Saving takes the time to
    write the states: choose `every` so that a stretch takes seconds.

    `directory`: of this run alone; it is made, and stays when the run is done. Then the same call
    reads its result. Files are of `equinox.tree_serialise_leaves`, each after one line of JSON;
    there is no pickle in them. (Orbax would bring asynchronous writing for clusters, and a
    dependency. A run here is arrays in the memory of one process.)

    Raises `ValueError` if `every` is no integer >= 1, and, where it is used, if the directory holds
    another run: the error names the difference.

    Example:
        >>> import tempfile
        >>> graph, inputs = nsh.neurashed.figure2()
        >>> system = nsh.Neurashed(graph, nsh.Constant(1.0))
        >>> rules = nsh.Rules(nsh.Geometric(2.0), nsh.Geometric(0.5))
        >>> examples = system.prepare(inputs.x, inputs.y)
        >>> problem = nsh.TrainingProblem(system, examples, rules, steps=4, sampler=nsh.FullBatch())
        >>> checkpoints = nsh.training.Checkpoints(tempfile.mkdtemp(), every=3)
        >>> run = nsh.train(problem, jax.random.key(0), checkpoints=checkpoints)
        >>> round(float(jnp.exp(run.state.log_amplification[0])), 3)
        16.0
    """

    directory: str | Path
    every: int

    def __post_init__(self):
        allowed = "a path"
        require(isinstance(self.directory, str | Path), "directory", self.directory, allowed)
        require_integer("every", self.every, 1)


class Programs(NamedTuple):
    """What computes some members of a run, all compiled; carried: leaves [members, ...]."""

    begin: Callable[[], tuple[PyTree, PyTree]]
    """What is carried at step 0, and what is recorded there, or None."""
    follow: Callable[[PyTree, Stretch, Any], tuple[PyTree, PyTree]]
    """What is carried after a stretch from a step on, and what the stretch records."""
    end: Callable[[PyTree, PyTree], Result]
    """The result, from what is carried at the end and all that was recorded."""


def stepping(method: Method, *traced: PyTree) -> Sequential:
    """Raise `ValueError` unless the method steps, in one process, outside compiled code."""
    allowed = "Sequential(), which takes steps that can be saved; or no checkpoints"
    if not isinstance(method, Sequential):
        raise ValueError(f"method = {method!r}: must be {allowed}")
    count = jax.process_count()
    require(count == 1, "jax.process_count()", count, "1 for a run with checkpoints")
    concrete = is_concrete(traced)
    require(concrete, "checkpoints", "inside jit, vmap or grad", "outside: files are written")
    return method


def describe(checkpoints: Checkpoints, problem: TrainingProblem, run: Mapping[str, Any]) -> None:
    """Write what the run is, or check it against what is there.

    Raises `ValueError` that names the difference.
    """
    # which read all source files of nsh, for runs that are saved alone
    from nsh._fingerprint.description import Description, canonical, differences
    from nsh._fingerprint.surroundings import device_kind, settings, versions

    directory, description = Path(checkpoints.directory), Description()
    here = {
        "problem": description.of(problem),
        "run": description.of({**run, "every": checkpoints.every}),
        "settings": settings(),
        "versions": versions() | description.releases,
        "device_kind": device_kind(),
        "code": description.code,
    }
    here = json.loads(canonical(here))
    path = directory / DESCRIPTION
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        with atomic(path) as temporary:
            temporary.write_text(canonical(here), encoding="utf-8")
            sync([temporary], directory)
        sync([path], directory)
        return
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as problem_there:
        allowed = "the description of a run; move the directory away"
        raise ValueError(f"{path} = damaged: must be {allowed}") from problem_there
    found = differences(there, here)
    shown = "; ".join(found[:5]) + ("; ..." if len(found) > 5 else "")
    allowed = f"of a directory of its own: another run is in this one ({shown})"
    require(not found, "checkpoints.directory", str(directory), allowed)


def follow(
    checkpoints: Checkpoints,
    folder: str,
    programs: Programs,
    problem: TrainingProblem,
    progress: Callable[[int], object],
    *,
    axis: int,
) -> Result:
    """Run to the end in stretches, from the last one that is in a folder of the directory on.

    `progress`: called with the numbers of steps that are done. `axis`: that of recorded times.
    """
    every = checkpoints.every
    ends = [*range(every, problem.steps, every), problem.steps] if problem.steps else []
    files = _Files(Path(checkpoints.directory) / folder, programs, problem, ends, axis)
    done, carried, recorded = files.latest()
    if done:
        progress(done)
    else:
        carried, first = programs.begin()
        recorded = [first]
    for end in [end for end in ends if end > done]:
        start = jnp.asarray(done, jnp.int32)
        carried, found = programs.follow(carried, stretch(problem, done, end), start)
        if done == 0:  # with what is recorded before the first step
            found = _joined([recorded.pop(), found], axis)
        files.write(end, carried, found)
        recorded.append(found)
        progress(end - done)
        done = end
    return programs.end(carried, _joined(recorded, axis))


def begun(
    problem: TrainingProblem, method: Sequential, key: Key[Array, ""]
) -> tuple[tuple[PyTree, PyTree], PyTree]:
    """What a run carries at step 0, and what is recorded there, with an axis of times, or None."""
    carry = method.begin(problem, key)
    if problem.times[:1] != (0,):
        return carry, None
    found = problem.record(carry[0], jnp.zeros((), jnp.int32))
    return carry, jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], found)


def followed(
    problem: TrainingProblem,
    method: Sequential,
    key: Key[Array, ""],
    carry: tuple[PyTree, PyTree],
    part: Stretch,
    first: Int[Array, ""],
) -> tuple[tuple[PyTree, PyTree], PyTree]:
    """One stretch of a run, with the state settled after it: steps count from its start."""
    (state, sampler_state), saved = method.follow(problem, key, carry, part, first)
    return (problem.system.settled(state), sampler_state), saved


def stretch(problem: TrainingProblem, start: int, end: int) -> Stretch:
    """The steps of a problem from `start` to `end`, as one program for all that are alike."""
    return Stretch(end - start, tuple(t - start for t in problem.times if start < t <= end))


@dataclasses.dataclass(frozen=True)
class _Files:
    """The files of some members: what is carried after a stretch, and what each has recorded."""

    folder: Path
    programs: Programs
    problem: TrainingProblem
    ends: list[int]
    axis: int

    def latest(self) -> tuple[int, PyTree, list[PyTree]]:
        """After how many steps a run can go on, with what, and all that it has recorded."""
        for half in self.folder.glob(".*"):  # of a process that was killed while it wrote
            half.unlink(missing_ok=True)
        there = {int(path.stem) for path in self.folder.glob(f"[0-9]*.{CARRIED}")}
        found: tuple[int, PyTree, list[PyTree]] = 0, None, []
        if not there:
            return found
        carried, start, recorded, known = _like(lambda: self.programs.begin()[0]), 0, [], {}
        for end in self.ends:
            part = stretch(self.problem, start, end)
            if (start == 0, part) not in known:
                known[start == 0, part] = _like(self._recorded, carried.tree, part, start)
            part = self._read(RECORDED, end, known[start == 0, part])
            if part is None:  # nobody can say what was recorded here but the steps themselves
                break
            recorded.append(part.tree)
            carry = self._read(CARRIED, end, carried) if end in there else None
            if carry is not None:
                found = end, carry.tree, list(recorded)
            start = end
        return found

    def write(self, end: int, carried: PyTree, recorded: PyTree) -> None:
        """Put a stretch on the disk: what is carried last, for it says that all is there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write(RECORDED, end, recorded)
        self._write(CARRIED, end, carried)
        for old in [e for e in self.ends if e <= end][:-CARRIED_KEPT]:
            self._path(CARRIED, old).unlink(missing_ok=True)

    def _recorded(self, carried: PyTree, part: Stretch, start: int) -> PyTree:
        """What a stretch records, with what is recorded before the first; for its shape."""
        first = self.programs.begin()[1] if start == 0 else None
        return _joined([first, self.programs.follow(carried, part, jnp.int32(start))[1]], self.axis)

    def _path(self, kind: str, end: int) -> Path:
        return self.folder / f"{end:010d}.{kind}"

    def _write(self, kind: str, end: int, tree: PyTree) -> None:
        content = io.BytesIO()
        eqx.tree_serialise_leaves(content, jax.tree.map(_plain, tree))
        leaves = content.getvalue()
        first = {"steps": end, "sha256": hashlib.sha256(leaves).hexdigest()}
        path = self._path(kind, end)
        with atomic(path) as temporary:
            temporary.write_bytes(json.dumps(first).encode() + b"\n" + leaves)
            sync([temporary], self.folder)
        sync([path], self.folder)

    def _read(self, kind: str, end: int, like: _Like) -> _Like | None:
        """What is in a file, in place of the shapes; None if it is not there or not whole."""
        try:
            first, _, leaves = self._path(kind, end).read_bytes().partition(b"\n")
            if json.loads(first)["sha256"] != hashlib.sha256(leaves).hexdigest():
                return None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        shapes, structure = jax.tree.flatten(like.tree)
        plain = [_plain_like(leaf) for leaf in shapes]
        found = eqx.tree_deserialise_leaves(io.BytesIO(leaves), plain)
        original = map(_as_it_was, found, shapes, like.generators)
        return like._replace(tree=jax.tree.unflatten(structure, original))


class _Like(NamedTuple):
    """Shapes and types of a tree, and the generators of the random keys among its leaves."""

    tree: PyTree
    generators: list[str | None]


def _like(function: Callable[..., PyTree], *arguments: Any) -> _Like:
    def both(*arguments: Any) -> _Like:
        tree = function(*arguments)
        keys = [leaf if _is_key(leaf) else None for leaf in jax.tree.leaves(tree)]
        return _Like(tree, [None if key is None else str(jax.random.key_impl(key)) for key in keys])

    return eqx.filter_eval_shape(both, *arguments)


def _joined(parts: list[PyTree], axis: int) -> PyTree:
    """Recordings one after the other; None is nothing recorded."""
    some = [part for part in parts if part is not None]
    if len(some) < 2:
        return some[0] if some else None
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis), *some)


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain(leaf: Any) -> np.ndarray:
    """An array as NumPy can save it: keys as their data, bfloat16 and such as their bits."""
    array = np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)
    return array.view(_plain_type(array.dtype))


def _plain_type(dtype: np.dtype) -> np.dtype:
    return np.dtype(f"u{dtype.itemsize}") if dtype.kind == "V" else dtype


def _plain_like(leaf: Any) -> np.ndarray:
    if _is_key(leaf):
        leaf = eqx.filter_eval_shape(jax.random.key_data, leaf)
    return np.broadcast_to(np.zeros((), _plain_type(np.dtype(leaf.dtype))), leaf.shape)


def _as_it_was(array: np.ndarray, like: Any, generator: str | None) -> Array:
    if generator is not None:
        return jax.random.wrap_key_data(jnp.asarray(array), impl=generator)
    return jnp.asarray(array.view(like.dtype))
