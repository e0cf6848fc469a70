"""How often a process looks for garbage: objects that only refer to one another."""

from __future__ import annotations

import atexit
import gc

OBJECTS = 10_000
"""More than there are now than at the last look; Python's own number is 700."""


def collect_rarely() -> None:
    """For processes that import much, as the first thing that they do.

    What is imported stays until the end. To look through it again and again while it grows, and once more before the
    process ends, takes a third of the time of one that imports vLLM, and two fifths of a control worker's. Nor does it
    pay later: a report makes thousands of objects, and so does an answer, of whose run it was a twelfth.
    """
    gc.set_threshold(OBJECTS)
    # Python looks through everything several times when it ends; what is frozen it passes over.
    atexit.register(gc.freeze)
