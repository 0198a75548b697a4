"""`nsh` in processes forked from one that has imported it: the start of a run then costs nothing."""

import multiprocessing
import os
import sys

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["nsh.cli"])


def command(arguments, environment):
    """The command line, as a process to be started; it writes to the null device."""
    return CONTEXT.Process(target=_main, args=(arguments, environment), daemon=True)


def _main(arguments, environment):
    os.environ.update(environment)  # before JAX looks at it: no backend is made by importing
    from nsh import cli

    sys.stdout = sys.stderr = open(os.devnull, "w")
    sys.exit(cli.main(arguments))
