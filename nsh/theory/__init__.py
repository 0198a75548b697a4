"""Theories of deep learning that neurashed is compared with."""

from nsh.theory import effective, two_layer

__all__ = ["effective", "two_layer"]
