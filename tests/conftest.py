"""Strict mode for all tests: shapes checked at run time, no implicit promotion of dtype or rank.

Programs run for moments here, so most of the time goes into compiling them: they are compiled with
few optimisations and by XLA's older emitters, which makes it a third. Tests marked `optimised` run
in a process that compiles as users do: those about equality to the bit, which vectorised code could
break, and long runs. ``JAX_DISABLE_MOST_OPTIMIZATIONS=0 pytest`` compiles everything as users do.
"""

import gc
import os

import as_users
import jax
import jaxtyping
import pytest
from jaxtyping import install_import_hook

QUICK = "jax_disable_most_optimizations"
OLDER_EMITTERS = "--xla_cpu_use_fusion_emitters=false"
LONGEST = ("test_experiments.py", "test_notebooks.py", "test_kill.py")

users_flags = os.environ.get("XLA_FLAGS")
quick = os.environ.get(QUICK.upper(), "1") != "0"

if os.environ.get("CHECK_ANNOTATIONS", "1") != "0":  # `make check`: it costs seconds a process
    install_import_hook("nsh", "beartype.beartype")
as_users.no_promotion()
jax.config.update(QUICK, quick)
jax.config.update("jax_enable_compilation_cache", False)  # commands keep no programs of tests
if quick:  # read by XLA when it compiles its first program
    os.environ["XLA_FLAGS"] = " ".join(filter(None, [users_flags, OLDER_EMITTERS]))
gc.disable()


def pytest_collection_finish(session):
    """Collects garbage from now on, rarely and but for what is there to stay."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


def pytest_configure(config):
    """With ``--dist loadfile``, files are given to the workers in the order below."""
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    """The longest files first, the short ones of this folder last, so that no worker waits long."""
    items.sort(key=lambda item: item.path, reverse=True)
    items.sort(key=lambda item: item.path.name not in LONGEST)


def pytest_unconfigure():
    """Ends the process for tests marked `optimised`, which a worker's end may leave behind."""
    if as_users.process.cache_info().currsize:
        as_users.process(users_flags).shutdown()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Runs tests marked `optimised` in the process for them; they may have parameters only."""
    if not quick or pyfuncitem.get_closest_marker("optimised") is None:
        return None
    callspec = getattr(pyfuncitem, "callspec", None)
    arguments = callspec.params if callspec else {}
    process = as_users.process(users_flags)
    process.submit(as_users.call, pyfuncitem.path, pyfuncitem.originalname, arguments).result()
    return True


@pytest.fixture
def key() -> jax.Array:
    return jax.random.key(0)


@pytest.fixture
def as_users_have_it():
    """Without the tests' own checks of annotations, which would stop wrong types earlier."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def relative_tolerance() -> float:
    """What agreement with exact arithmetic means in the float type of this run."""
    return 1e-12 if jax.config.read("jax_enable_x64") else 1e-5
