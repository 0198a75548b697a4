"""Options of a test, shared out between the problem and what is done with it."""

from nsh import TrainingProblem

OF_PROBLEM = ("steps", "sampler", "save", "grid_ndim")


def split(system, examples, hyper, **options):
    """The problem with those options that are its own, and the others."""
    own = {name: value for name, value in options.items() if name in OF_PROBLEM}
    rest = {name: value for name, value in options.items() if name not in OF_PROBLEM}
    return TrainingProblem(system, examples, hyper, **own), rest
