"""A verified claim gets its badge once, and its pull request; nothing else gets one."""

from __future__ import annotations

import pytest
from huggingface_hub import HfApi
from sqlalchemy import select

from deploy.localhub.names import RepoName, RepoType
from scheduler.badges.issuing import sign, sign_missing
from scheduler.badges.key_rotation import rotate
from scheduler.badges.signing import Signer, public_jwks
from scheduler.database.tables import Badge, Claim, Publication, VerdictRow
from scheduler.farm import Farm
from scheduler.publish.due import publish_due
from scheduler.record import move_claim
from scheduler.state_machine import ClaimState
from specs.attestation import verify
from tests.support.databases import ON_BOTH, mostly_sqlite
from tests.support.hub_content import entry
from tests.support.reported_farm import (
    BENCHMARK,
    INFLATED_PERCENT,
    MODEL,
    TRUE_PERCENT,
    World,
    claims,
    count,
    take,
)

databases = mostly_sqlite


def test_only_the_verified_claim_gets_a_badge_and_only_one(world: World, farm: Farm) -> None:
    take(farm, world.report)
    verified = claims(farm)[TRUE_PERCENT]
    sign(farm, [verified.claim_id])
    sign(farm, [verified.claim_id])
    sign_missing(farm)
    with farm.database.reading() as session:
        badge = session.scalars(select(Badge)).one()
        found = session.get_one(VerdictRow, verified.claim_id).verdict["comparison"]
    facts = verify(badge.token, dict(public_jwks(farm.settings)))
    assert world.report.measurement is not None
    assert (facts.model, facts.claimed_value, facts.mode, facts.alpha) == (MODEL, TRUE_PERCENT, "sequential", 0.001)
    assert (facts.samples_used, facts.population) == (found["samples_used"], 40)
    # The run may have gone on for the claim that is false.
    assert facts.samples_used <= len(world.report.measurement.sample_ids)
    assert facts.claimed - facts.tolerance <= facts.interval.low <= facts.reproduced <= facts.interval.high
    assert facts.evidence_url.startswith("https://farm.example/v1/evidence/")


def test_a_badge_states_how_many_samples_are_left_out_of_its_score(world: World, farm: Farm) -> None:
    take(farm, world.report)
    with farm.database.transaction() as session:
        row = session.get_one(VerdictRow, claims(farm)[TRUE_PERCENT].claim_id)
        found = row.verdict["comparison"]
        row.verdict = {**row.verdict, "comparison": {**found, "samples_used": found["samples_used"] - 1, "failed": 1}}
    sign_missing(farm)
    with farm.database.reading() as session:
        token = session.scalars(select(Badge.token)).one()
    assert verify(token, dict(public_jwks(farm.settings))).failed == 1


@ON_BOTH
def test_a_rotated_key_signs_the_next_badge_of_a_running_farm(world: World, farm: Farm) -> None:
    take(farm, world.report)
    old = Signer.load(farm.settings.signing_key).key_id
    new = rotate(farm.settings, at_once=True).current
    sign_missing(farm)
    with farm.database.reading() as session:
        badge = session.scalars(select(Badge)).one()
    assert badge.key_id == new != old
    assert verify(badge.token, dict(public_jwks(farm.settings))).model == MODEL


def test_who_does_not_hold_the_marker_any_more_leaves_what_is_due_to_its_successor(world: World, farm: Farm) -> None:
    take(farm, world.report)
    sign_missing(farm)
    publish_due(farm, lambda: False)
    with farm.database.reading() as session:
        assert session.scalars(select(Publication.state)).all() == ["pending"]


@ON_BOTH
def test_the_badge_is_published_once_and_leaves_the_rest_of_the_file_alone(world: World, farm: Farm) -> None:
    take(farm, world.report)
    sign_missing(farm)
    publish_due(farm)
    publish_due(farm)
    with farm.database.reading() as session:
        row = session.scalars(select(Publication)).one()
        token = session.scalars(select(Badge.token)).one()
    assert (row.state, row.due_at) == ("published", None), row.reason
    api = HfApi(endpoint=world.served.url, token=False)
    ours = [each for each in api.get_repo_discussions(MODEL, discussion_type="pull_request") if each.author == "farm"]
    assert [each.num for each in ours] == [row.number]
    published = world.served.local.read_file(
        RepoName(RepoType.MODEL, MODEL), ".eval_results/results.yaml", f"refs/pr/{row.number}"
    )
    assert published.decode() == entry(BENCHMARK, TRUE_PERCENT, task="echo") + f"  verifyToken: {token}\n"


def test_a_claim_that_was_withdrawn_meanwhile_gets_no_badge(world: World, farm: Farm) -> None:
    take(farm, world.report)
    verified = claims(farm)[TRUE_PERCENT]
    with farm.database.transaction() as session:
        move_claim(session, session.get_one(Claim, verified.claim_id), ClaimState.WITHDRAWN, "its author removed it")
    sign_missing(farm)
    sign(farm, [verified.claim_id])
    assert count(farm, Badge) == 0


@ON_BOTH
def test_nobody_is_made_to_sign_what_was_not_verified(
    world: World, farm: Farm, caplog: pytest.LogCaptureFixture
) -> None:
    of_both = [claim.claim_id for claim in claims(farm).values()]
    sign(farm, of_both)
    take(farm, world.report)
    sign(farm, [claims(farm)[INFLATED_PERCENT].claim_id])
    assert "no verified figures" in caplog.text
    assert count(farm, Badge) == 0
    sign(farm, of_both)
    assert count(farm, Badge) == 1, "and it is in nobody's way"
