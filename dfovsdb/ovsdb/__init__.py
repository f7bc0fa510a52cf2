"""From the bytes of an OVSDB server to row changes: connection, protocol, replica."""
