"""The command line: ``nsh study FILE.toml``, ``nsh criticality ACTIVATION``."""

from __future__ import annotations

import contextlib
import errno
import functools
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import tyro

from nsh.study import StoreRefused, StudyFileError, read_study, run_study
from nsh.study.progress import Advance, Progress, shown_on

DONE, BAD_INPUT, REFUSED, DISK_FULL = 0, 2, 3, 4
INTERRUPTED, TERMINATED = 130, 143
FULL = (errno.ENOSPC, errno.EDQUOT)


class Terminated(KeyboardInterrupt):
    """SIGTERM, which stops a run as Ctrl-C does."""


def study(
    file: Annotated[Path, tyro.conf.arg(metavar="FILE")],
    /,
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None,
) -> int:
    """Run a hyperparameter study described by a TOML file, or go on with it.

    Results: DIR/data.zarr (read it by nsh.study.open_study or xarray.open_zarr), DIR/figure.png
    and DIR/figure.pdf. Stop a study when you like, by SIGKILL or a power cut too: the same
    command goes on with it, and the arrays are bit for bit those of an uninterrupted run.
    Commented examples are in experiments/studies of nsh's repository.

    Exit codes:

    - 0: done
    - 1: an error not listed here
    - 2: bad command line or study file
    - 3: the store in DIR belongs to another study, version or device, is in use, or cannot be
      read; it is left as it is
    - 4: disk full
    - 130: stopped by Ctrl-C
    - 143: stopped by SIGTERM

    Args:
        file: The study.
        out: Directory for the results; by default results/ and the file's name without .toml.
    """
    out = Path("results") / file.stem if out is None else out
    try:
        return _study(file, out)
    except StudyFileError as problem:
        return _failed(BAD_INPUT, f"{problem}")
    except StoreRefused as problem:
        return _failed(REFUSED, f"{problem}")
    except BlockingIOError:
        return _failed(REFUSED, f"{out} is in use by another run of this study")
    except OSError as problem:
        if problem.errno not in FULL:
            raise
        return _failed(DISK_FULL, f"the disk is full: {out}", problem, "make room, and the")
    except KeyboardInterrupt as stop:
        code = TERMINATED if isinstance(stop, Terminated) else INTERRUPTED
        return _failed(code, "stopped", stop)


def _study(file: Path, out: Path) -> int:
    with shown_on(sys.stderr) as shown, _stoppable(shown) as progress:
        dataset = run_study(read_study(file), out, progress=progress, report=_say)
    diverged = int((dataset["status"] == 1).sum())
    runs = f"{dataset['status'].size} runs, {diverged} of them diverged"
    print(f"{runs}; data.zarr, figure.png and figure.pdf are in {out}/")
    return DONE


def criticality(
    activation: Annotated[str, tyro.conf.arg(metavar="ACTIVATION")],
    /,
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None,
) -> int:
    """Find the initialisation at which an activation lets signals through deep networks.

    Prints its universality class, the critical variances C_b (biases) and C_W (weights times
    fan-in), the learning rates with which all layers contribute equally, and, around the critical
    point, the depths to which differences of norms (xi_par) and directions (xi_perp) survive.

    Exit codes:

    - 0: done
    - 1: an error not listed here
    - 2: bad command line or activation
    - 4: disk full
    - 130: stopped by Ctrl-C

    Args:
        activation: A name such as tanh or gelu, or MODULE:FUNCTION, an elementwise JAX function
            that Python can import, such as jax.nn:mish.
        out: Directory for figure.png and figure.pdf; without it no figure is drawn.
    """
    # here, and not above: other commands do not wait for it
    from nsh.cli.critical_point import UnknownActivation, report

    say = functools.partial(_say, command="criticality")
    try:
        report(activation, out)
    except UnknownActivation as problem:
        say(f"{problem}")
        return BAD_INPUT
    except OSError as problem:
        if problem.errno not in FULL:
            raise
        say(f"the disk is full: {out}")
        return DISK_FULL
    except KeyboardInterrupt:
        say("stopped")
        return INTERRUPTED
    return DONE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    chosen = arguments[0] if arguments else ""
    commands = {c.__name__: c if c.__name__ == chosen else _listed(c) for c in (study, criticality)}
    return tyro.extras.subcommand_cli_from_dict(
        commands,
        prog="nsh",
        description="Theories of deep learning as running code. `nsh COMMAND --help` says more.",
        args=arguments,
    )


def _listed(command: Callable[..., int]) -> Callable[..., int]:
    """A command as the list of all shows it: with the first line of its docstring."""

    @functools.wraps(command)
    def listed(*args: Any, **options: Any) -> int:
        return command(*args, **options)

    listed.__doc__ = (command.__doc__ or "").partition("\n")[0]
    return listed


@contextlib.contextmanager
def _stoppable(progress: Progress) -> Iterator[Progress]:
    """Stop on Ctrl-C and SIGTERM: at once or, where Python loses an exception, after the block.

    It loses those raised in destructors and callbacks of the garbage collector.
    """
    asked: list[type[KeyboardInterrupt]] = []

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        asked.append(Terminated if number == signal.SIGTERM else KeyboardInterrupt)
        raise asked[-1]

    @contextlib.contextmanager
    def watched(label: str, total: int | None) -> Iterator[Advance]:
        with progress(label, total) as advance:

            def step(count: int) -> None:
                advance(count)
                if asked:
                    raise asked[-1]

            yield step

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield watched
    finally:
        for number, action in before.items():
            signal.signal(number, action)


def _say(message: str, command: str = "study") -> None:
    print(f"nsh {command}: {message}", file=sys.stderr, flush=True)


def _failed(
    code: int, message: str, problem: BaseException | None = None, advice: str = "the"
) -> int:
    """Print one line, with what is saved and how to go on if the run had begun."""
    notes = [] if problem is None else getattr(problem, "__notes__", [])
    rest = [*notes, f"{advice} same command goes on with the rest"] if notes else []
    _say("; ".join([message, *rest]))
    return code
