"""Griffe extension: signatures of classes made of fields, as `equinox.Module` and `NamedTuple`."""

from __future__ import annotations

from typing import Any

import griffe

MADE_OF_FIELDS = ("Module", "NamedTuple")


class Fields(griffe.Extension):
    """Gives such a class the `__init__` that Python makes of its fields."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Called once the package is loaded."""
        for module in [pkg, *pkg.modules.values()]:
            self._add_to(module)

    def _add_to(self, module: griffe.Module) -> None:
        for kind in list(module.classes.values()):
            if not kind.is_alias and "__init__" not in kind.members and (own := _fields(kind)):
                init = griffe.Function("__init__", parameters=griffe.Parameters(*own))
                kind.set_member("__init__", init)
        for inner in module.modules.values():
            if not inner.is_alias:
                self._add_to(inner)


def _fields(kind: griffe.Class) -> list[griffe.Parameter]:
    """The fields of a class and of those of ours that it is derived from; none if it has none."""
    lineage = [kind, *kind.mro()]
    if not any(str(base).rpartition(".")[2] in MADE_OF_FIELDS for k in lineage for base in k.bases):
        return []
    if any("__init__" in k.members for k in lineage):
        return []
    found: dict[str, griffe.Parameter] = {}
    for ancestor in reversed(lineage):
        for field in ancestor.attributes.values():
            if field.annotation is None or "property" in field.labels:
                continue
            if "ClassVar" in str(field.annotation) or "AbstractVar" in str(field.annotation):
                continue
            if "class-attribute" in field.labels and "instance-attribute" not in field.labels:
                continue
            found[field.name] = griffe.Parameter(
                field.name,
                annotation=field.annotation,
                kind=griffe.ParameterKind.positional_or_keyword,
                default=_default(field),
            )
    parameters = list(found.values())
    parameters.insert(0, griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword))
    return parameters if len(parameters) > 1 else []


def _default(field: griffe.Attribute) -> Any:
    """What a field is by default; of ``eqx.field(...)`` what it says, without how."""
    if isinstance(field.value, griffe.ExprCall) and str(field.value.function) == "eqx.field":
        given = {getattr(a, "name", ""): a for a in field.value.arguments}
        if "default" in given:
            return given["default"].value  # pyright: ignore[reportAttributeAccessIssue]
        return "..." if "default_factory" in given else None
    return field.value
