"""Hyperparameter studies: what to run as a value or a TOML file, in chunks, safe from crashes.

Needs the extra ``neurashed[study]``. `read_study` makes a `Study` of a file, `run_study` runs or
resumes it, `open_study` gives its data.
"""

from nsh._extras import extra

with extra("study", "nsh.study"):
    from nsh.study.file import read_study
    from nsh.study.measurements import (
        MEASUREMENTS,
        MeasuredExamples,
        Measurement,
        MeasurementContext,
        Measurements,
        measurement,
        measurements,
    )
    from nsh.study.run import open_study, run_study
    from nsh.study.store import StoreRefused
    from nsh.study.study import Study, Tune, hyper_names
    from nsh.study.summary import draw
    from nsh.study.systems import SystemAndData
    from nsh.study.tables import StudyFileError

__all__ = [
    "MEASUREMENTS",
    "MeasuredExamples",
    "Measurement",
    "MeasurementContext",
    "Measurements",
    "StoreRefused",
    "Study",
    "StudyFileError",
    "SystemAndData",
    "Tune",
    "draw",
    "hyper_names",
    "measurement",
    "measurements",
    "open_study",
    "read_study",
    "run_study",
]
