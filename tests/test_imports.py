"""One direction of imports, public interfaces only, one meaning for each name."""

import ast
import functools
import sys
from collections import Counter
from pathlib import Path

import pytest
from architecture import MAY_IMPORT

ROOT = Path(__file__).parents[1]
NSH = sorted((ROOT / "nsh").rglob("*.py"))
EXPERIMENTS = sorted((ROOT / "experiments").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

ALWAYS_INSTALLED = {"jax", "equinox", "optax", "jaxtyping", "numpy"}
# these need an extra of the package
STUDY = {"matplotlib", "xarray", "zarr", "rich"}
OPTIONAL = {
    "nsh.figures": {"matplotlib"},
    "nsh.study": STUDY,
    "nsh.cli": {"platformdirs", "tyro", "rich"},
}


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_within(name, package):
    return name == package or name.startswith(f"{package}.")


def checks_types_only(node):
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


@functools.cache
def tree_of(path):
    return ast.parse(path.read_text())


@functools.cache
def imports(path, at_start_only=False):
    """Full names of all that a file imports, those of functions and of the top level."""
    return tuple(_imports(tree_of(path), path, at_start_only))


def _imports(tree, path, at_start_only):
    hidden = {id(n) for node in ast.walk(tree) if checks_types_only(node) for n in ast.walk(node)}
    if at_start_only:
        functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
        bodies = [node for node in ast.walk(tree) if isinstance(node, functions)]
        hidden |= {id(n) for body in bodies for n in ast.walk(body)}
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            for alias in node.names:
                yield as_module(node.module, alias.name)


def as_module(module, name):
    """``from a import b`` as ``a.b`` where that is a module of ours, else as ``a``."""
    place = ROOT.joinpath(*module.split("."), name)
    return f"{module}.{name}" if place.is_dir() or place.with_suffix(".py").exists() else module


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_parts_of_nsh_import_in_one_direction(part):
    files = [path for path in NSH if is_within(name_of(path), part)]
    assert files
    for path in files:
        for imported in imports(path):
            if is_within(imported, "nsh"):
                allowed = any(is_within(imported, name) for name in MAY_IMPORT[part] | {part})
                assert allowed, f"{path.relative_to(ROOT)} imports {imported}"


def test_no_part_of_nsh_is_left_out():
    parts = {".".join(name_of(path).split(".")[:2]) for path in NSH}
    assert parts == set(MAY_IMPORT) | {"nsh"}


def test_nsh_stands_on_its_own():
    for path in NSH:
        for imported in imports(path):
            outside = imported.split(".")[0]
            assert outside not in ("experiments", "tests"), f"{path} imports {imported}"


@pytest.mark.parametrize("path", NSH + EXPERIMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_public_interfaces(path):
    for imported in imports(path):
        parts = imported.split(".")
        assert parts[0] not in ("jaxlib", "pickle", "cloudpickle", "dill", "joblib")
        private = parts[0] != "nsh" and any(p.startswith("_") and p[:2] != "__" for p in parts)
        assert not private, f"{path} imports {imported}"
    for node in ast.walk(tree_of(path)):
        attribute = isinstance(node, ast.Attribute) and ast.unparse(node)
        assert not attribute or "jax._src" not in attribute


@pytest.mark.parametrize("path", NSH, ids=lambda path: str(path.relative_to(ROOT)))
def test_core_needs_only_what_is_always_installed(path):
    allowed = ALWAYS_INSTALLED | set(sys.stdlib_module_names) | {"nsh"}
    for package, more in OPTIONAL.items():
        if is_within(name_of(path), package):
            allowed = allowed | more
    for imported in imports(path, at_start_only=True):
        assert imported.split(".")[0] in allowed, f"{path} imports {imported}"
    if not any(is_within(name_of(path), package) for package in OPTIONAL):
        assert not any(is_within(name, "nsh.figures") for name in imports(path))


def test_no_two_classes_have_one_name():
    classes = [
        node.name
        for path in NSH
        for node in tree_of(path).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]
    assert sorted(name for name, count in Counter(classes).items() if count > 1) == []
