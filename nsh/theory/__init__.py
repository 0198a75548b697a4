"""Theories of deep learning that neurashed is compared with."""

from nsh.theory import effective

__all__ = ["effective"]
