"""What a study is, as JSON: equal for two studies if and only if they compute the same."""

from __future__ import annotations

from typing import Any

from nsh._fingerprint.description import Description
from nsh._fingerprint.surroundings import device_kind, settings, versions
from nsh.study.study import Study


def fingerprint(study: Study, description: Description | None = None) -> dict[str, Any]:
    """Describe what must be the same for two runs to give the same bits and the same store."""
    description = Description() if description is None else description
    # the order of the axes is that of the arrays
    configuration = description.of(study) | {"axes": list(study.grid)}
    return {
        "settings": settings(),
        "versions": versions() | description.releases,
        "device_kind": device_kind(),
        "configuration": configuration,
        "code": description.code,
    }
