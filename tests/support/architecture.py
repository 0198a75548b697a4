"""Which part of nsh may import which; the diagram in the documentation is drawn from it."""

CORE = {
    "nsh.system", "nsh.bounds", "nsh._checks", "nsh._deviance", "nsh._estimate", "nsh._extras",
    "nsh._files", "nsh._named_parts", "nsh._shown", "nsh._types",
}  # fmt: skip

# what each part of nsh may import of nsh, besides itself
MAY_IMPORT = {
    "nsh._types": set(),
    "nsh._checks": {"nsh._types"},
    "nsh._deviance": set(),
    "nsh._estimate": {"nsh._shown"},
    "nsh._extras": set(),
    "nsh._files": set(),
    "nsh._fingerprint": {"nsh.data"},
    "nsh._shown": {"nsh._checks"},
    "nsh._named_parts": {"nsh._checks"},
    "nsh.bounds": {"nsh._checks", "nsh._named_parts"},
    "nsh.citing": {"nsh._checks"},
    "nsh.system": {"nsh.bounds", "nsh._checks", "nsh._shown"},
    "nsh.neurashed": CORE,
    "nsh.activations": CORE,
    "nsh.data": CORE,
    "nsh.networks": CORE | {"nsh.activations", "nsh.data"},
    "nsh.training": CORE | {"nsh.data", "nsh._fingerprint"},
    "nsh.measure": CORE | {"nsh.training"},
    "nsh.theory": CORE | {"nsh.activations", "nsh.networks", "nsh.training"},
    "nsh.correspondence": CORE
    | {"nsh.data", "nsh.neurashed", "nsh.networks", "nsh.training", "nsh.measure"},
    "nsh.figures": {"nsh._checks", "nsh._extras", "nsh._types", "nsh.neurashed.graph"},
    "nsh.study": CORE
    | {"nsh._fingerprint"}
    | {"nsh.activations", "nsh.data", "nsh.neurashed", "nsh.networks", "nsh.theory", "nsh.training"}
    | {"nsh.measure"}
    | {"nsh.figures"},
    "nsh.cli": {"nsh._checks", "nsh._extras", "nsh.activations", "nsh.study"}
    | {"nsh.theory", "nsh.figures"},
    "nsh.__main__": {"nsh.cli"},
}
