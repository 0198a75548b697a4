"""Data to train on, read from files and prepared: light to import, and nothing is unpickled."""

from nsh.data.source import Joined, joined

__all__ = ["Joined", "joined"]
