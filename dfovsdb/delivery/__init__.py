"""Ports to events to calls of the sinks: the dispatcher, and a worker for each sink."""
