"""Progress of the experiments, as `nsh.study` shows it."""

from nsh.study.progress import Advance, Progress, shown_on, silent

__all__ = ["Advance", "Progress", "shown_on", "silent"]
