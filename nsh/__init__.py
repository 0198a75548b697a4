"""nsh: theories of deep learning as running, differentiable code."""

from importlib.metadata import version as _version

from nsh.neurashed import *  # noqa: F403
__version__ = _version("nsh")
