"""What planning asks the database and the Hub about claims, each question once a round: hundreds of claims share it.

A round takes seconds, and each of these may as well have been asked before another change came in.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property, lru_cache

from sqlalchemy import bindparam, func, select

from scheduler.admission.admission import Admitted, Blocked, Refused
from scheduler.admission.facts import BenchmarkFacts, ClaimFacts
from scheduler.database.session import Database
from scheduler.database.tables import Benchmark, Marker, Model, Reproduction
from scheduler.database.tables.marker import BENCHMARKS_LISTED
from scheduler.hub.answers import OwnCommits
from scheduler.hub.hub import Hub
from scheduler.hub.hub_errors import Gone, Missing, Moved
from scheduler.judging import noise
from scheduler.judging.history import was_sent
from scheduler.planning.task_history import KnownSamples, earlier_costs, known_samples
from scheduler.watch.benchmarks import spec_text
from specs.errors import HubAway, NoAccess, SubmissionError
from specs.hub import eval_yaml
from specs.hub.eval_results import pins
from specs.judging.forecast import Foreseen
from specs.judging.noise import MeasuredNoise, model_class
from specs.policy.cost import EarlierRun, Estimate

IDS_LOOKED_UP = 20
"""Of benchmarks that are not watched, in a round: whoever submits claims can name thousands."""


UNLISTED_FOR = timedelta(hours=1)
"""Until claims are refused on a benchmark that is not listed any more, by a list which is that much newer: it may be
hidden for a while, or the list be wrong, and then no list be read for longer."""


class NotListedYet(Exception):  # noqa: N818 - a condition, not a mistake
    """A claim is newer than the last list of benchmarks, which lacks the one that it names."""


class HiddenNow(Exception):  # noqa: N818 - likewise
    """The Hub answers, and does not have a watched benchmark just now."""


@dataclass(frozen=True)
class SharedAssessment:
    """What holds for all claims that say the same of one model."""

    found: Admitted | Blocked | Refused
    foreseen: Foreseen | None
    known: KnownSamples | None
    cost: Estimate | None
    """Of a reproduction for one of them alone; None where it is not run."""

    cost_of_all: Estimate | None
    """The same, if it asks every sample."""


@dataclass
class PlanningFacts:
    """The answers of one round."""

    database: Database
    hub: Hub
    _rows: dict[str, Benchmark | None] = field(default_factory=dict, init=False)
    _benchmarks: dict[tuple[str, str | None], BenchmarkFacts] = field(default_factory=dict, init=False)
    _own_commits: dict[str, OwnCommits | None] = field(default_factory=dict, init=False)
    _looked_up: int = field(default=0, init=False)
    _noises: dict[tuple[object, ...], MeasuredNoise | None] = field(default_factory=dict, init=False)
    _samples: dict[tuple[object, ...], KnownSamples | None] = field(default_factory=dict, init=False)
    _costs: dict[tuple[object, ...], list[EarlierRun]] = field(default_factory=dict, init=False)
    _sent: set[str] = field(default_factory=set, init=False)
    _alike: dict[tuple[Model, ClaimFacts, str | None, datetime | None], SharedAssessment] = field(
        default_factory=dict, init=False
    )

    def benchmark(self, dataset_id: str, pinned: str | None, found_at: datetime) -> BenchmarkFacts:
        """What is known of a benchmark, at the revision that a claim pins which was found then, else at its head.

        Raises:
            NotListedYet: it may be watched from the next list on.
            HiddenNow: the claim pins a revision, of which nothing is known while it is hidden.
            HubAway, NoAccess: the Hub does not say; the next claim asks again.
        """
        # Read before any row: whatever was listed then is among those.
        listed_at = self._listed_at
        if dataset_id not in self._rows:
            with self.database.reading() as session:
                self._rows[dataset_id] = session.get(Benchmark, dataset_id)
        row = self._rows[dataset_id]
        if row is None and (listed_at is None or listed_at <= found_at):
            raise NotListedYet(f"a list of benchmarks that is newer than the claim: so far {dataset_id} is on none")
        key = (dataset_id, pinned)
        if key not in self._benchmarks:
            self._benchmarks[key] = self._benchmark(row, dataset_id, pinned)
        return self._benchmarks[key]

    def measured_noise(self, dataset_id: str, revision: str, run: Admitted, weights_bytes: int) -> MeasuredNoise | None:
        """What the noise ledger says of such a run, by weights of that size."""
        settings = run.settings.model_dump_json()
        key = (dataset_id, revision, run.task_id, settings, run.epochs, model_class(weights_bytes))
        if key not in self._noises:
            planned = noise.Planned(
                dataset_id=dataset_id,
                dataset_revision=revision,
                task_id=run.task_id,
                settings=run.settings.model_dump(mode="json"),
                epochs=run.epochs,
                weights_bytes=weights_bytes,
            )
            with self.database.reading() as session:
                self._noises[key] = noise.noise_for(session, planned)
        return self._noises[key]

    def samples(self, dataset_id: str, foreseen: Foreseen) -> KnownSamples | None:
        """How many samples a task has."""
        key = (dataset_id, foreseen.dataset_revision, foreseen.task_id, foreseen.card_samples)
        if key not in self._samples:
            with self.database.reading() as session:
                self._samples[key] = known_samples(session, *key)
        return self._samples[key]

    def costs(self, dataset_id: str, task_id: str | None, weights_bytes: int, pool: str) -> list[EarlierRun]:
        """What earlier runs of such models took."""
        key = (dataset_id, task_id, model_class(weights_bytes), pool)
        if key not in self._costs:
            with self.database.reading() as session:
                self._costs[key] = earlier_costs(session, dataset_id, task_id, weights_bytes, pool)
        return self._costs[key]

    def look_at_runs_of(self, weights: Collection[str]) -> None:
        """Read which runs of models with these weights were sent: one question for the claims of a slice."""
        with self.database.reading() as session:
            self._sent.update(session.scalars(_SENT, {"weights": list(weights)}))

    def one_was_sent(self, key: str) -> bool:
        """Whether a run of that key was, of the models that were looked at."""
        return key in self._sent

    def alike(
        self,
        model: Model,
        said: ClaimFacts,
        pinned: str | None,
        fresh_after: datetime | None,
        work_out: Callable[[], SharedAssessment],
    ) -> SharedAssessment:
        """What holds for a claim that says so at the revision that it pins, worked out for the first such.

        Of one look at the model: the row that is read for the next slice may say something else.
        """
        key = (model, said, pinned, fresh_after)
        if key not in self._alike:
            self._alike[key] = work_out()
        return self._alike[key]

    @cached_property
    def _listed_at(self) -> datetime | None:
        """When the list of benchmarks was asked for that was entered last; None where none was yet."""
        with self.database.reading() as session:
            marker = session.get(Marker, BENCHMARKS_LISTED)
        return marker.at if marker is not None else None

    def _benchmark(self, row: Benchmark | None, dataset_id: str, pinned: str | None) -> BenchmarkFacts:
        if row is None or self._is_given_up(row):
            return BenchmarkFacts(
                watched=False,
                revision=None,
                spec=None,
                gated=False,
                has_percent=False,
                watched_as=self._watched_as(dataset_id),
            )
        if row.revision is None or row.unlisted_at is not None:
            return BenchmarkFacts(
                watched=True,
                revision=None,
                spec=None,
                gated=row.gated,
                has_percent=False,
                unlisted=row.unlisted_at is not None,
            )
        revision, text, missing = row.revision, None, None
        if pinned is not None and pins(pinned):
            revision = pinned
        try:
            if revision != row.revision:
                revision = self._own_commit(dataset_id, revision)
            text = spec_text(self.database, self.hub, dataset_id, revision)
        except Missing as error:
            missing = str(error)
        return BenchmarkFacts(
            watched=True,
            revision=revision,
            spec=_parsed(text) if text is not None else None,
            gated=row.gated,
            has_percent=row.has_percent,
            sizes=row.sizes if revision == row.revision else {},
            missing=missing,
        )

    def _is_given_up(self, row: Benchmark) -> bool:
        """Whether a list still lacked a benchmark that was asked for long after the first one that did."""
        if row.unlisted_at is None or self._listed_at is None:
            return False
        return self._listed_at >= row.unlisted_at + UNLISTED_FOR

    def _watched_as(self, dataset_id: str) -> str | None:
        """The id of a watched benchmark that is meant: it was renamed since, or the id was written in other case.

        None too where the Hub does not say: it is a hint for the claim's author, and worth no wait.
        """
        in_other_case = select(Benchmark.dataset_id).where(
            func.lower(Benchmark.dataset_id) == dataset_id.lower(), Benchmark.unlisted_at.is_(None)
        )
        with self.database.reading() as session:
            found = session.scalar(in_other_case.limit(1))
        if found is not None:
            return found
        now_at = self._now_at(dataset_id)
        if now_at is None:
            return None
        with self.database.reading() as session:
            row = session.get(Benchmark, now_at)
        return now_at if row is not None and row.unlisted_at is None else None

    def _now_at(self, dataset_id: str) -> str | None:
        """The other id that the Hub has a dataset under; None where there is none, or it was asked often enough."""
        if self._looked_up >= IDS_LOOKED_UP:
            return None
        self._looked_up += 1
        try:
            self.hub.benchmark(dataset_id)
        except Moved as moved:
            return moved.now_at
        except HubAway:
            # Nor for any other one, this round.
            self._looked_up = IDS_LOOKED_UP
        except (NoAccess, SubmissionError):
            pass
        return None

    def _own_commit(self, dataset_id: str, revision: str) -> str:
        """The commit of the benchmark that a claim pins; of several claims on it the first asks.

        Raises:
            Missing: it is none of the benchmark's own.
            HiddenNow: the Hub has no such benchmark now.
            HubAway: the Hub does not list them.
        """
        if dataset_id not in self._own_commits:
            try:
                self._own_commits[dataset_id] = self.hub.own_commits(dataset_id)
            except Gone:
                # For an hour, say: that says nothing of the revision, and nothing of other benchmarks.
                self._own_commits[dataset_id] = None
        own_commits = self._own_commits[dataset_id]
        if own_commits is None:
            raise HiddenNow(f"{dataset_id}, which is not on the Hub just now")
        found = own_commits.find(revision)
        if found is None:
            raise Missing(
                f"{revision} is no commit of the main branch of {dataset_id}, and no branch or tag of it; what stands"
                " on a pull request is not the benchmark"
            )
        return found


_SENT = select(Reproduction.key).where(
    Reproduction.weights_sha256.in_(bindparam("weights", expanding=True)), was_sent()
)


@lru_cache(maxsize=64)
def _parsed(text: bytes) -> eval_yaml.Spec:
    """The spec in an eval.yaml: claims of many rounds read the same one."""
    return eval_yaml.parse(text)
