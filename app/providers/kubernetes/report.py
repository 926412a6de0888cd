"""What is said of the collections that cannot be read or are not there. Pure."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from app.providers.kubernetes.reflector import Found
from app.providers.kubernetes.resources import GENERATIONS, Kind
from routes.problems import Problem, Severity


class Collection(NamedTuple):
    """What is known of a kind's objects, in one namespace or in all ("")."""

    kind: Kind
    namespace: str
    found: Found
    why: str


class Report(NamedTuple):
    """What to say. ``unread`` is as in :class:`app.providers.base.Change`; ``notes`` are for the log alone."""

    problems: tuple[Problem, ...] = ()
    unread: Mapping[tuple[str, str, str], str] = {}
    notes: tuple[str, ...] = ()


def report(collections: Iterable[Collection]) -> Report:
    """What to say of all ``collections``."""
    found: dict[Kind, set[Found]] = {}
    everything = list(collections)
    for each in everything:
        found.setdefault(each.kind, set()).add(each.found)
    absent = [kind for kind, ways in found.items() if ways <= {Found.ABSENT, Found.REFUSED} and Found.ABSENT in ways]
    # A kind that may not be read may not be there either: others of its generation tell.
    missing = [
        group
        for group in GENERATIONS
        if any(kind.vital and kind.group == group for kind in absent)
        and not any(
            kind.vital and kind.group == group and kind not in absent and Found.REFUSED not in ways
            for kind, ways in found.items()
        )
    ]
    installed = [group for group in GENERATIONS if group not in missing]
    refused = [each for each in everything if each.found is Found.REFUSED and each.kind.group not in missing]
    unread = {(each.kind.group, each.kind.name, each.namespace): each.why for each in refused}
    problems = list(dict.fromkeys(map(_refusal, refused)))
    notes = []
    if not installed:
        groups = " nor ".join(GENERATIONS)
        problems.append(
            Problem(f"the Gateway API is not installed, neither {groups}: nothing is served until its CRDs are there")
        )
    for kind in absent:
        sentence = f"{kind} is not installed: {kind.purpose}"
        if kind.vital and kind.group in installed:
            problems.append(Problem(sentence, Severity.WARNING))
        elif kind.group in installed or kind.group not in GENERATIONS:
            notes.append(sentence)
    if installed:
        notes += [
            f"{group} is not installed: there are no objects of that generation of the Gateway API" for group in missing
        ]
    return Report(tuple(problems), unread, tuple(notes))


def _refusal(refused: Collection) -> Problem:
    where = f" of namespace {refused.namespace}" if refused.namespace else ""
    severity = Severity.WARNING if refused.kind.metadata_only else Severity.ERROR
    return Problem(f"{refused.kind}{where} cannot be read, {refused.kind.purpose}: {refused.why}", severity)
