"""Observation of the agent: metrics, health over HTTP, systemd."""
