"""Which reproduction may answer a claim, and which are too old for a claim that asks for a fresh one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, and_, bindparam, case, exists, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from scheduler.admission.judging_rules import JudgingRules
from scheduler.database.tables import Claim, Reproduction, now
from scheduler.judging.stopping import MOST_CLAIMS, tested
from scheduler.state_machine import CAME_TO_NOTHING, ClaimState, ReproductionState
from scheduler.stored_values import version_of
from specs.judging.staleness import too_old
from specs.policy.reverify import ReverifyRules

LOOKED_AT = 20
"""Runs whose versions are compared: each has megabytes, and one before so many others answers little."""


class Shared:
    """The reproductions that may answer the claims of one transaction, by key, each locked until its end.

    Without the lock, one could be sent out between a look and the commit, to answer claims of which this is none.
    """

    def __init__(self, session: Session, keys: Collection[str], begun: Collection[str] = ()) -> None:
        """`begun` are ids of further runs of these keys, which answer some claims alone: `putting_back`."""
        self._session = session
        self._found: dict[str, list[Reproduction]] = {key: [] for key in keys}
        self._tested: defaultdict[str, set[object]] = defaultdict(set)
        self._begun = {row.reproduction_id: row for row in self._hold(keys, begun) if row.reproduction_id in begun}

    def look_again(self, keys: Collection[str]) -> None:
        """See what others have committed since."""
        for key in keys:
            self._found[key] = []
        self._hold(keys, ())

    def begun(self, reproduction_id: str) -> Reproduction | None:
        """One of the further runs."""
        return self._begun.get(reproduction_id)

    def begun_again(self, cancelled: Reproduction) -> Reproduction | None:
        """The one that was begun again in place of a cancelled one, locked as it is; its seed tells."""
        # Asked only now that the cancelled one is locked: nobody else can be making another in its place.
        return self._session.scalar(
            select(Reproduction)
            .where(
                # The first two follow from the key, and have an index.
                Reproduction.weights_sha256 == cancelled.weights_sha256,
                Reproduction.dataset_id == cancelled.dataset_id,
                Reproduction.key == cancelled.key,
                Reproduction.seed == cancelled.seed,
                Reproduction.state.not_in(CAME_TO_NOTHING),
            )
            .order_by(Reproduction.created_at.desc())
            .limit(1)
            .with_for_update()
        )

    def _hold(self, keys: Collection[str], begun: Collection[str]) -> Sequence[Reproduction]:
        if not keys:
            return ()
        rows = self._session.scalars(_HELD, {"keys": list(keys), "begun": list(begun)}).all()
        for row in rows:
            self._found[row.key].append(row)
        unsent = [row.reproduction_id for row in rows if row.seed is None]
        for name, *what in map(tuple, _waiting(self._session, unsent)):
            self._tested[name].add(tuple(what))
        return rows

    def add(self, reproduction: Reproduction) -> None:
        """One that this transaction makes. Where it was asked for anew, earlier runs answer no more."""
        others = [] if reproduction.asked_anew else self._found[reproduction.key]
        self._found[reproduction.key] = [*others, reproduction]

    def count(self, reproduction: Reproduction, rules: JudgingRules) -> int:
        """One more claim waits for it, to be judged by these rules. Returns how many do that differ.

        One that never has every sample takes no more of them than it can decide as it goes.
        """
        found = self._tested[reproduction.reproduction_id]
        found.add(tested(rules))
        settings = reproduction.settings
        if len(found) >= MOST_CLAIMS and settings["mode"] == "sequential" and settings["sample_limit"] is not None:
            reproduction.joinable = False
        return len(found)

    def waiting(self, reproduction: Reproduction, *more: JudgingRules) -> int:
        """How many claims that differ wait for one that was not sent out yet, with more to be judged by these rules."""
        return len(self._tested[reproduction.reproduction_id] | {tested(rules) for rules in more})

    def find(self, key: str, since: datetime | None) -> Reproduction | None:
        """The reproduction of that key that answers one more claim, if any; `since` is as in `Asked`."""
        return _best(self._found[key], since)


class Asked(NamedTuple):
    """How new a run has to be that answers a claim."""

    since: datetime | None
    """When it was asked for at the earliest, or since when runs are current; None where any run will do. One that was
    not sent out yet always does."""

    again: bool = False
    """Whether a fresh run was sent out already for what was asked with the claim: another is the second of them."""


class Try(NamedTuple):
    """What a run is a try at."""

    model_id: str
    dataset_id: str | None
    task_id: str | None


class Of(NamedTuple):
    """The versions that a run is pinned to, weights and dataset commit. A new one of either gives a new run key."""

    weights_sha256: str | None
    dataset_revision: str | None


def asked_with(session: Session, claim: Claim, weights_sha256: str | None, key: str, rules: ReverifyRules) -> Asked:
    """How new a claim's run has to be, which counts as asked together with what was asked within policy's cooldown.

    Requests are grouped by run key. Otherwise a changed note, file or last digit would buy another run, and so another
    draw of answers. But what was asked on a pull request, which anybody may open, is not asked of the author's entry.
    Runs on an engine that policy holds for too old are left out.
    """
    if claim.fresh_after is None:
        return Asked(None)
    since = claim.fresh_after - timedelta(seconds=rules.cooldown_seconds)
    outdated = _outdated(session, weights_sha256, claim.dataset_id, key, since, rules)
    earliest = session.scalar(
        select(func.min(Claim.fresh_after))
        .join(Claim.reproduction)
        .where(
            *_sent_for_what_was_asked(claim, weights_sha256, key, since),
            Claim.claim_id != claim.claim_id,
            Reproduction.reproduction_id.not_in(list(outdated)),
        )
    )
    asked_at = claim.fresh_after if earliest is None else min(earliest, claim.fresh_after)
    # Nor does one on an old engine answer what was asked before it was made.
    after_those = max(outdated.values()) + timedelta.resolution if outdated else asked_at
    return Asked(max(asked_at, after_those), again=earliest is not None)


def answered_until(session: Session, claim: Claim, rules: ReverifyRules) -> datetime | None:
    """Until when a decided claim's own run would answer it again, as it counts as asked with that; None where not."""
    run = claim.reproduction
    if run is None or run.state == ReproductionState.FAILED:
        return None
    since = now() - timedelta(seconds=rules.cooldown_seconds)
    # Of either the earlier is the first to fall out of the window.
    within = case((Claim.fresh_after < Reproduction.created_at, Claim.fresh_after), else_=Reproduction.created_at)
    latest: datetime | None = session.scalar(
        select(func.max(within))
        .join(Claim.reproduction)
        .where(
            *_sent_for_what_was_asked(claim, run.weights_sha256, run.key, since), Claim.fresh_after <= run.created_at
        )
    )
    if latest is None:
        return None
    outdated = _outdated(session, run.weights_sha256, run.dataset_id, run.key, since, rules)
    answers = select(~was_repeated()).where(Reproduction.reproduction_id == run.reproduction_id)
    if any(created_at >= run.created_at for created_at in outdated.values()) or not session.scalar(answers):
        return None
    return latest + timedelta(seconds=rules.cooldown_seconds)


def _sent_for_what_was_asked(
    claim: Claim, weights_sha256: str | None, key: str, since: datetime
) -> Sequence[ColumnElement[bool]]:
    """Of a claim and its run: whether that was sent out, and both count as asked together with `claim`."""
    return (
        # The first two follow from the key, and have an index.
        Reproduction.weights_sha256 == weights_sha256,
        Reproduction.dataset_id == claim.dataset_id,
        Reproduction.key == key,
        Reproduction.seed.is_not(None),
        # What failed told nothing. One that was cancelled did: whose claim it was may have seen how it went.
        Reproduction.state != ReproductionState.FAILED,
        # Else one run would answer day after day, each time as what was asked with the day before.
        Reproduction.created_at > since,
        Claim.fresh_after > since,
        *([Claim.ref == claim.ref] if claim.ref == "main" else []),
    )


def _outdated(
    session: Session,
    weights_sha256: str | None,
    dataset_id: str | None,
    key: str,
    since: datetime,
    rules: ReverifyRules,
) -> dict[str, datetime]:
    """The latest runs since then that policy holds for too old an engine's, and when they were made.

    A verdict by one of them would be stale as it is given.
    """
    names = sorted(rules.minimum_versions)
    if not names:
        return {}
    ran = session.execute(
        select(Reproduction.reproduction_id, Reproduction.created_at, *map(version_of, names))
        .where(
            # The first two follow from the key, and have an index.
            Reproduction.weights_sha256 == weights_sha256,
            Reproduction.dataset_id == dataset_id,
            Reproduction.key == key,
            Reproduction.state == ReproductionState.COMPLETED,
            Reproduction.created_at > since,
        )
        .order_by(Reproduction.created_at.desc())
        .limit(LOOKED_AT)
    )
    return {
        reproduction_id: created_at
        for reproduction_id, created_at, *versions in ran
        if too_old(dict(zip(names, versions, strict=True)), rules) is not None
    }


def is_shared(session: Session, key: str, since: datetime | None) -> bool:
    """Whether there is one now; nothing is locked."""
    return _best(session.scalars(_ANSWERING, {"keys": [key]}).all(), since) is not None


def _best(found: Sequence[Reproduction], since: datetime | None) -> Reproduction | None:
    fit = [row for row in found if since is None or row.created_at >= since or row.seed is None]
    # A claim of the same transaction may have closed one since the look.
    fit = [row for row in fit if row.joinable or row.complete]
    return max(fit, key=lambda row: (row.complete, row.since), default=None)


def waiting_apart(session: Session, reproduction: Reproduction) -> int:
    """How many claims that differ wait for a run that was not sent out yet."""
    return len(_waiting(session, [reproduction.reproduction_id])) if reproduction.seed is None else 0


def stop_taking_claims(session: Session, key: str, since: datetime) -> None:
    """Have runs of a key that are too old for a claim take no others either: one at a time does."""
    # Not one that another planner made since: that one answers this claim too, and the index says so. Nor one that was
    # not sent out yet: without its seed nothing of its result is fixed.
    session.execute(
        update(Reproduction)
        .where(
            Reproduction.key == key,
            Reproduction.joinable,
            Reproduction.created_at < since,
            Reproduction.seed.is_not(None),
        )
        .values(joinable=False)
        .execution_options(synchronize_session="fetch")
    )


def was_repeated() -> ColumnElement[bool]:
    """Whether a run of the same key was asked for anew since, and neither failed nor was cancelled unsent.

    One that was cancelled under way counts: whose claim it was may have seen how it went, and got its old verdict back
    by another value. One that was begun again in its own place does not: others that shared it await that same one.
    """
    later = aliased(Reproduction)
    return exists().where(
        later.key == Reproduction.key,
        later.seed.is_distinct_from(Reproduction.seed),
        later.asked_anew,
        later.created_at > Reproduction.created_at,
        _may_tell(later),
    )


def _may_tell(run: type[Reproduction]) -> ColumnElement[bool]:
    """Whether anybody may learn something of a run, or did: it neither failed nor was cancelled unsent."""
    is_cancelled = run.state == ReproductionState.CANCELLED
    # One that is begun again has its seed from the start.
    return or_(run.state.not_in(CAME_TO_NOTHING), and_(is_cancelled, run.attempt > 0))


class Made(NamedTuple):
    """A run that was planned of late."""

    of: Of
    community: bool
    """Whether it was planned for a claim on a pull request, which anybody may open."""


def made_lately(session: Session, models: Collection[str], rules: ReverifyRules) -> dict[Try, set[Made]]:
    """The runs of some models that were planned within policy's cooldown."""
    since = now() - timedelta(seconds=rules.cooldown_seconds)
    made: dict[Try, set[Made]] = {}
    rows = session.execute(_MADE, {"models": list(models), "since": since})
    for model_id, dataset_id, task_id, weights_sha256, revision, community in rows:
        found = Made(Of(weights_sha256, revision), community)
        made.setdefault(Try(model_id, dataset_id, task_id), set()).add(found)
    return made


_MADE = (
    select(*(getattr(Reproduction, name) for name in (*Try._fields, *Of._fields, "community")))
    .distinct()
    .where(
        Reproduction.model_id.in_(bindparam("models", expanding=True)),
        Reproduction.created_at > bindparam("since"),
        _may_tell(Reproduction),
    )
)


_TAKES_CLAIMS = and_(
    Reproduction.key.in_(bindparam("keys", expanding=True)),
    or_(Reproduction.joinable, and_(Reproduction.complete, ~was_repeated())),
)
"""Those of some keys that take claims, or ran every sample.

Once a re-verification was run, earlier runs answer no more: an entry that is written anew would get its old verdict
back from one of them.
"""

_ANSWERING = select(Reproduction).where(_TAKES_CLAIMS)

_HELD = (
    select(Reproduction)
    .where(or_(_TAKES_CLAIMS, Reproduction.reproduction_id.in_(bindparam("begun", expanding=True))))
    # All who lock several do so in one order, or two could wait for one another.
    .order_by(Reproduction.reproduction_id)
    .with_for_update(of=Reproduction)
)

_WAITING = (
    select(Claim.reproduction_id, *(Claim.rules[name].as_float() for name in ("claimed", "tolerance", "spread")))
    .where(Claim.reproduction_id.in_(bindparam("names", expanding=True)), Claim.state == ClaimState.PLANNED)
    .distinct()
)
"""What differs (`tested`) among the claims that wait for each of some runs."""


def _waiting(session: Session, names: Sequence[str]) -> Sequence[Row[Any]]:
    return session.execute(_WAITING, {"names": list(names)}).all() if names else ()
