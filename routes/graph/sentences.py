"""Several things that are wrong, told in one condition."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from routes.graph.nodes import Condition

#: How many sentences a condition's message has: the API takes 32,768 characters, and nobody reads them.
MAX_SENTENCES = 8


def sentences(each: Iterable[str]) -> str:
    """The different ones of several sentences as one message."""
    different = list(dict.fromkeys(each))
    more = len(different) - MAX_SENTENCES
    return "; ".join(different[:MAX_SENTENCES]) + (f"; and {more} more" if more > 0 else "")


def together(several: Sequence[Condition]) -> Condition:
    """One condition for all of one type: with the reason of the first, and the sentences of all."""
    return replace(several[0], message=sentences(condition.message for condition in several))
