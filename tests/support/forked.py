"""`nsh` in processes forked from one that has imported it, which is most of a short run's time."""

import multiprocessing
import os
import sys
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["nsh.cli.study", "nsh.study"])


def command(arguments, settings, says=os.devnull):
    """A command line under some settings of JAX, as a process to be started; stderr is a file."""
    return CONTEXT.Process(target=_main, args=(arguments, settings, says), daemon=True)


def _main(arguments, settings, says):
    import jax  # which has made no backend yet: forking was safe

    from nsh import cli

    for name, value in settings.items():
        jax.config.update(name, value)
    with Path(os.devnull).open("w") as sys.stdout, Path(says).open("w") as sys.stderr:
        sys.exit(cli.main(arguments))
