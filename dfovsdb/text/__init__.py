"""Text for people: escaping, lines for events, tables."""
