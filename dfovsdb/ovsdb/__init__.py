"""Bytes of an OVSDB server become row changes: connection, protocol, replica."""
