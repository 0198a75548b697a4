"""The files of a release as an index of packages would show them: run by ``make release-check``."""

import email
import re
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAME = "neurashed"
dist = Path(sys.argv[1])
[wheel_path] = dist.glob("*.whl")
[sdist_path] = dist.glob("*.tar.gz")

with zipfile.ZipFile(wheel_path) as wheel:
    names = wheel.namelist()
    [metadata] = (name for name in names if name.endswith(".dist-info/METADATA"))
    found = email.message_from_bytes(wheel.read(metadata))
    [entry_points] = (name for name in names if name.endswith("entry_points.txt"))
    assert b"nsh = nsh.cli:main" in wheel.read(entry_points)
with tarfile.open(sdist_path) as sdist:
    sources = {name.partition("/")[2] for name in sdist.getnames()}

version = found["Version"]
assert found["Name"] == NAME, found["Name"]
assert (ROOT / "nsh/__init__.py").read_text().count(f'__version__ = "{version}"') == 1
assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
assert version in (ROOT / "CHANGELOG.md").read_text(), "the changelog says nothing of this release"
assert wheel_path.name == f"{NAME}-{version}-py3-none-any.whl"
assert sdist_path.name == f"{NAME}-{version}.tar.gz"
assert found["License-Expression"] == "Apache-2.0"
assert found["Requires-Python"] == ">=3.11"

outside = [name for name in names if not name.startswith(("nsh/", f"{NAME}-{version}.dist-info/"))]
assert outside == [], f"the wheel would install {outside}"
assert "nsh/py.typed" in names
assert any(name.endswith("licenses/LICENSE") for name in names)
packaged = {str(path.relative_to(ROOT)) for path in (ROOT / "nsh").rglob("*.py")}
assert packaged - set(names) == set(), "modules that the wheel lacks"

needed = {"pyproject.toml", "README.md", "LICENSE", "CITATION.cff", "constraints.txt", "Makefile"}
assert needed <= sources, needed - sources
assert packaged <= sources
stray = re.compile(r"(^|/)(\.venv|results|site|__pycache__|\.git)(/|$)")
assert [name for name in sources if stray.search(name)] == []

page = str(found.get_payload())
assert page.startswith("# "), page[:80]
links = re.findall(r"\]\(([^)]*)\)", page)
assert [link for link in links if not link.startswith("https://")] == []
assert "pip install" in page
print(f"{NAME} {version}: {len(names)} files in the wheel, {len(sources)} in the sdist")
