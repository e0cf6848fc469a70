"""The runs that take more claims, or ran every sample: which of them may answer one more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, and_, bindparam, or_, select, update
from sqlalchemy.orm import Session

from scheduler.admission.judging_rules import JudgingRules
from scheduler.database.tables import Claim, Reproduction
from scheduler.judging.stopping import MOST_CLAIMS, tested
from scheduler.planning.freshness import was_repeated
from scheduler.state_machine import CAME_TO_NOTHING, ClaimState


class JoinableRuns:
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
        """The reproduction of that key that answers one more claim, if any; `since` is as in `Freshness`."""
        return _best(self._found[key], since)


def has_joinable(session: Session, key: str, since: datetime | None) -> bool:
    """Whether there is one now that `find` would have; nothing is locked."""
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
