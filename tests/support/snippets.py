"""The Python blocks of a Markdown page, run one after the other as a reader would."""

import functools
import os
import re
import tempfile
from pathlib import Path
from typing import Any

BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(page: Path) -> list[str]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


@functools.cache
def names_of(page: Path) -> dict[str, Any]:
    """Everything the page's code has defined once it has run, in a directory of its own."""
    # modules of that name exist, so that classes and functions of the page know where they are
    names: dict[str, Any] = {"__name__": "__main__", "__file__": str(page)}
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        try:
            for number, block in enumerate(blocks(page), start=1):
                exec(compile(block, f"{page.name}, block {number}", "exec"), names)
            files = [path for path in Path(directory).iterdir() if path.is_file()]
            names["written"] = {path.name: path.read_bytes() for path in files}
        finally:
            os.chdir(before)
    return names
