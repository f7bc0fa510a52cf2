"""How the agent is observed: metrics, health over HTTP, systemd."""
