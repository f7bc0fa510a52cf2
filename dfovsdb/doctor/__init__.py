"""What usually goes wrong with a monitored switch, and what to do about it."""
