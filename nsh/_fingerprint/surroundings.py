"""What else decides numbers: releases, JAX's settings, the kind of device."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from typing import Any

import jax

from nsh._fingerprint import code

PACKAGES = ("jax", "jaxlib", "equinox", "optax", "numpy", "neurashed")
SETTINGS = (
    "jax_enable_x64",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_default_matmul_precision",
    "jax_random_seed_offset",
)
OPTIMISED = "jax_disable_most_optimizations"
# flags of XLA that change no number
NEUTRAL = ("--xla_force_host_platform_device_count", "--xla_dump")


def versions() -> dict[str, str]:
    """Releases of Python and of the packages that decide the numbers, and nsh's own source."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found | {"nsh's source": code.source()[:16]}


def settings() -> dict[str, Any]:
    """Settings of JAX and XLA that change numbers, 64-bit floats first among them."""
    flags = [f for f in os.environ.get("XLA_FLAGS", "").split() if not f.startswith(NEUTRAL)]
    found = {name: getattr(jax.config, name) for name in SETTINGS}
    return found | {OPTIMISED: jax.config.read(OPTIMISED), "XLA_FLAGS": sorted(flags)}


def device_kind() -> str:
    """Platform and kind of JAX's default device, however many there are of it."""
    first = jax.devices()[0]
    return f"{first.platform} ({first.device_kind})"


def device() -> str:
    """Kind and number of JAX's default devices, and the CPU cores at hand."""
    return f"{len(jax.devices())} x {device_kind()}, {os.cpu_count()} CPU cores"
