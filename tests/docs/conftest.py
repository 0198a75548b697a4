import importlib
import sys
from pathlib import Path

import pytest

HOOKS = Path(__file__).parents[2] / "docs" / "hooks"


@pytest.fixture(scope="session")
def hook():
    """Modules of the documentation's build, by name."""
    sys.path.append(str(HOOKS))
    yield importlib.import_module
    sys.path.remove(str(HOOKS))
