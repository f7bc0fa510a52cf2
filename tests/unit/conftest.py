"""Hypothesis judges what is right, never how fast this machine is."""

from hypothesis import HealthCheck, settings

settings.register_profile("dfovsdb", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("dfovsdb")
