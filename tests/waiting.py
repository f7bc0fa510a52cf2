"""How long tests wait for what must come.

Nothing here is a measure of speed: a wait ends when its condition is true, and the deadline is
for the case that it never is. It holds on a busy machine that is many times slower than ours.
"""

DEADLINE = 120.0  # seconds
