"""What a report says in a mirror: left and right exchanged, all else as it was."""

from __future__ import annotations

from collections.abc import Sequence

OTHER_SIDE = {
    "left": "right",
    "leftward": "rightward",
    "leftwards": "rightwards",
    "levoscoliosis": "dextroscoliosis",
    "levoscoliotic": "dextroscoliotic",
    "levocurvature": "dextrocurvature",
    "levoconvex": "dextroconvex",
}
OTHER_SIDE |= {right: left for left, right in OTHER_SIDE.items()}


def exchange_sides(words: Sequence[str]) -> tuple[str, ...]:
    """Words (marks of segments stay) of the mirror image: each that names a side names the other."""
    return tuple(OTHER_SIDE.get(word, word) for word in words)
