"""For tests of dfovsdb and of plugins: a private real Open vSwitch, and what goes with it."""

from dfovsdb.testing.sandbox import Sandbox, SandboxError

__all__ = ["Sandbox", "SandboxError"]
