from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest
from sqlalchemy import update

from scheduler.api.badge_states import GREEN, LOOKED_AT, Said
from scheduler.api.routes.badge_images import picture
from scheduler.database.tables import Badge, Claim, Model, Reproduction, now
from scheduler.state_machine import ClaimState
from specs.judging.verdict import Outcome
from tests.support.api import RunningApi
from tests.support.databases import ON_BOTH, mostly_sqlite
from tests.support.rows import comparison

PLACE = "/badges/tiny/model/acme/capitals/europe"


databases = mostly_sqlite


def state(api: RunningApi, place: str = PLACE) -> str:
    return str(api.json(place + ".json")["state"])


def test_a_verified_badge_says_when_and_on_how_many_samples(api: RunningApi) -> None:
    claim_id = api.rows.verified()
    found = api.json(PLACE + ".json")
    assert found["schemaVersion"] == 1
    assert found["message"] == "verified 2026-03-01: 41.5% on 200/300"
    assert (found["color"], found["isError"], found["state"]) == (GREEN, False, "verified")
    assert found["claim_url"] == f"http://farm.test/claims/{claim_id}"
    image = api.get(PLACE + ".svg")
    assert image.headers["content-type"].startswith("image/svg+xml")
    assert "max-age=60" in image.headers["cache-control"]
    assert "verified 2026-03-01: 41.5% on 200/300" in image.text


def test_it_is_stale_once_the_farm_says_so(api: RunningApi) -> None:
    claim_id = api.rows.verified()
    assert state(api) == "verified"
    with api.rows.database.transaction() as session:
        claim = session.get_one(Claim, claim_id)
        claim.stale_since, claim.stale_reason = now(), "the model's files changed"
    assert state(api) == "stale"


@ON_BOTH
def test_while_it_is_verified_again_the_earlier_badge_is_shown_with_that(api: RunningApi) -> None:
    before = api.rows.verified(slot="5" * 64)
    with api.rows.database.transaction() as session:
        claim = session.get_one(Claim, before)
        claim.state, claim.live = ClaimState.WITHDRAWN, False
    api.rows.claim(slot="5" * 64, supersedes=before)
    assert state(api) == "verified"
    assert "checking again" in api.json(f"{PLACE}.json")["message"]


def test_a_revoked_badge_is_not_shown_as_verified(api: RunningApi) -> None:
    claim_id = api.rows.verified()
    with api.rows.database.transaction() as session:
        session.get_one(Badge, claim_id).revoked_at = now()
    assert state(api) == "revoked"


def test_what_is_not_verified_says_what_it_is(api: RunningApi) -> None:
    assert state(api) == "not_submitted"
    api.rows.claim()
    assert state(api) == "waiting"
    api.rows.running()
    assert state(api) == "running"
    api.rows.decided(Outcome.INCONCLUSIVE, found=comparison())
    assert state(api) == "inconclusive"


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.UNSUPPORTED])
def test_what_could_not_be_run_is_no_mismatch(api: RunningApi, outcome: Outcome) -> None:
    api.rows.decided(outcome)
    assert state(api) == outcome.value


def test_a_mismatch_is_not_hidden_behind_another_claim(api: RunningApi) -> None:
    api.rows.decided(Outcome.MISMATCH, found=comparison(0.2))
    api.rows.verified()
    found = api.json(PLACE + ".json")
    assert (found["state"], found["isError"], found["message"]) == ("mismatch", True, "mismatch: 20.0% on 200/300")


@ON_BOTH
@pytest.mark.parametrize("named", ["the mismatch", "the other"])
def test_a_mismatch_is_not_hidden_by_leaving_out_the_id_of_the_only_task(api: RunningApi, named: str) -> None:
    api.rows.decided(
        Outcome.MISMATCH, found=comparison(0.2), value=90, task_id="europe" if named == "the mismatch" else None
    )
    api.rows.verified(task_id="europe" if named == "the other" else None)
    assert (state(api), state(api, PLACE.removesuffix("/europe"))) == ("mismatch", "mismatch")
    assert state(api, PLACE.replace("europe", "asia")) == "not_submitted"


@ON_BOTH
def test_a_mismatch_of_an_entry_that_names_its_task_holds_while_one_that_names_none_has_no_answer(
    api: RunningApi,
) -> None:
    before = api.rows.decided(Outcome.MISMATCH, found=comparison(0.2), value=90, **WITHDRAWN)
    api.rows.running(value=90, task_id=None)
    weigh(api, "5" * 64, before)
    assert (state(api), state(api, PLACE.removesuffix("/europe"))) == ("mismatch", "mismatch")


@ON_BOTH
def test_what_others_propose_counts_only_where_the_author_claims_nothing(api: RunningApi) -> None:
    api.rows.decided(Outcome.MISMATCH, found=comparison(0.2), pull_request=3, ref="refs/pr/3")
    assert state(api) == "mismatch"
    api.rows.claim(state=ClaimState.BLOCKED)
    assert state(api) == "blocked"


def test_a_withdrawn_claim_is_none(api: RunningApi) -> None:
    api.rows.verified(state=ClaimState.WITHDRAWN, live=False)
    assert state(api) == "not_submitted"


@ON_BOTH
def test_odd_ids_have_their_badges(api: RunningApi) -> None:
    api.rows.claim("gpt2", dataset_id="squad", task_id="MathArena/aime_2026")
    api.rows.claim("gpt2", dataset_id="squad", task_id=None, state=ClaimState.BLOCKED)
    api.rows.claim("gpt2", dataset_id="squad", task_id="swe_bench_%_resolved")
    assert state(api, "/badges/_/gpt2/_/squad/MathArena%2Faime_2026") == "waiting"
    assert state(api, "/badges/_/gpt2/_/squad/MathArena/aime_2026") == "waiting"
    assert state(api, "/badges/_/gpt2/_/squad/swe_bench_%25_resolved") == "waiting"
    assert state(api, "/badges/_/gpt2/_/squad") == "blocked"
    assert api.get("/badges/_/gpt2/_/squad.svg").status_code == 200


def test_the_snippet_shows_the_picture_and_links_to_the_claim(api: RunningApi) -> None:
    claim_id = api.rows.claim(task_id='a"><script>')
    answer = api.get("/badges/tiny/model/acme/capitals/a%22%3E%3Cscript%3E.html")
    assert answer.headers["content-type"].startswith("text/html")
    assert "<script" not in answer.text
    assert f'href="http://farm.test/claims/{claim_id}"' in answer.text
    assert 'src="http://farm.test/badges/tiny/model/acme/capitals/a%22%3E%3Cscript%3E.svg"' in answer.text
    assert "sandbox" in answer.headers["content-security-policy"]


def test_a_picture_escapes_what_it_says_and_is_the_same_each_time() -> None:
    said = Said("verified", '<script>&"\x1b', GREEN, None)
    root = ElementTree.fromstring(picture(said))  # noqa: S314 - our own
    assert picture(said) == picture(said)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[-1] == '<script>&"'
    assert root.attrib["role"] == "img"
    assert not list(root.iter("{http://www.w3.org/2000/svg}script"))


def test_a_mismatch_is_not_pushed_aside_by_ever_more_entries(api: RunningApi) -> None:
    api.rows.decided(Outcome.MISMATCH, found=comparison(0.2))
    for n in range(LOOKED_AT + 1):
        api.rows.claim(notes=f"variant {n}")
    assert state(api) == "mismatch"


def test_what_others_propose_does_not_push_the_authors_claim_aside(api: RunningApi) -> None:
    api.rows.verified()
    for n in range(LOOKED_AT + 1):
        api.rows.decided(Outcome.MISMATCH, found=comparison(0.2), pull_request=n, ref=f"refs/pr/{n}")
    assert state(api) == "verified"


@pytest.mark.parametrize(
    ("slot", "supersedes"),
    [("5" * 64, True), ("5" * 64, False), ("6" * 64, False)],
    ids=["asked again", "taken away and put back", "with other notes"],
)
@pytest.mark.parametrize(
    ("now_is", "message"),
    [
        (ClaimState.SUBMITTED, "mismatch: 20.0% on 200/300, checking again"),
        (ClaimState.BLOCKED, "mismatch: 20.0% on 200/300, checking again"),
        (ClaimState.DECIDED, "mismatch: 20.0% on 200/300, checked again without an answer"),
    ],
)
def test_a_mismatch_is_not_hidden_behind_a_run_that_has_no_answer(
    api: RunningApi, now_is: ClaimState, message: str, *, slot: str, supersedes: bool
) -> None:
    before = api.rows.decided(
        Outcome.MISMATCH, found=comparison(0.2), slot="5" * 64, live=False, state=ClaimState.WITHDRAWN
    )
    with api.rows.database.transaction() as session:
        run = session.get_one(Reproduction, session.get_one(Claim, before).reproduction_id)
        model = session.get_one(Model, "tiny/model")
        model.weights_sha256 = run.weights_sha256
    again: dict[str, Any] = {"slot": slot, "supersedes": before if supersedes else None}
    if now_is == ClaimState.DECIDED:
        api.rows.decided(Outcome.FAILED, **again)
    else:
        api.rows.claim(state=now_is, **again)
    # What adds a row of a model's claims writes the model anew.
    with api.rows.database.transaction() as session:
        session.get_one(Model, "tiny/model").weights_sha256 = run.weights_sha256
    found = api.json(PLACE + ".json")
    assert (found["state"], found["message"]) == ("mismatch", message)
    with api.rows.database.transaction() as session:
        session.get_one(Model, "tiny/model").weights_sha256 = "6" * 64
    assert state(api) != "mismatch", "that was of other weights"


def weigh(api: RunningApi, weights: str, *claim_ids: str) -> None:
    """Have the model, and the runs of claims, be of some weights. What adds a row of a claim writes the model anew."""
    with api.rows.database.transaction() as session:
        session.get_one(Model, "tiny/model").weights_sha256 = weights
        for claim_id in claim_ids:
            session.get_one(Reproduction, session.get_one(Claim, claim_id).reproduction_id).weights_sha256 = weights


COMMIT = "3" * 40

WITHDRAWN: dict[str, Any] = {"live": False, "state": ClaimState.WITHDRAWN}


def test_an_earlier_mismatch_is_not_pushed_aside_by_ever_more_entries_either(api: RunningApi) -> None:
    before = api.rows.decided(Outcome.MISMATCH, found=comparison(0.2), value=90, **WITHDRAWN)
    api.rows.claim(value=90, state=ClaimState.BLOCKED)
    ids = [before, *(api.rows.verified(notes=f"variant {n}", value=20) for n in range(LOOKED_AT + 1))]
    weigh(api, "5" * 64, *ids)
    assert state(api) == "mismatch"


@ON_BOTH
def test_a_mismatch_of_these_weights_is_not_hidden_behind_what_was_found_of_others(api: RunningApi) -> None:
    mismatch = api.rows.decided(Outcome.MISMATCH, found=comparison(0.2), **WITHDRAWN)
    verified = api.rows.verified(**WITHDRAWN)
    api.rows.claim(state=ClaimState.BLOCKED, supersedes=verified)
    weigh(api, "6" * 64, verified)
    assert state(api) == "verified"
    weigh(api, "5" * 64, mismatch)
    assert state(api) == "mismatch"


@pytest.mark.parametrize(
    ("then", "now_is", "found"),
    [
        (None, "main", "verified"),
        ("3" * 40, None, "stale"),
        (None, "3" * 40, "stale"),
        ("3" * 40, "3" * 40, "verified"),
    ],
)
def test_a_score_was_verified_at_the_commit_of_the_benchmark_that_its_entry_named(
    api: RunningApi, then: str | None, now_is: str | None, found: str
) -> None:
    before = api.rows.verified(dataset_revision=then, **WITHDRAWN)
    api.rows.claim(state=ClaimState.BLOCKED, dataset_revision=now_is)
    weigh(api, "5" * 64, before)
    assert state(api) == found


@ON_BOTH
def test_an_older_mismatch_is_not_held_against_an_entry_beside_one_that_was_verified_since(api: RunningApi) -> None:
    api.rows.decided(Outcome.MISMATCH, found=comparison(0.2), live=False, state=ClaimState.WITHDRAWN)
    api.rows.verified()
    api.rows.claim(state=ClaimState.BLOCKED)
    with api.rows.database.transaction() as session:
        session.execute(update(Reproduction).values(weights_sha256="5" * 64))
        session.get_one(Model, "tiny/model").weights_sha256 = "5" * 64
    assert state(api) == "verified"
