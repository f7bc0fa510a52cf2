"""For tests of dfovsdb and of plugins: a private real Open vSwitch, and what goes with it."""

from dfovsdb.testing.capture import CaptureSink, wait_until
from dfovsdb.testing.sandbox import Sandbox, SandboxError

__all__ = ["CaptureSink", "Sandbox", "SandboxError", "wait_until"]
