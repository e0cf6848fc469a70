"""What is published on a real local Hub, through the real client: proofs, and what is told instead."""

from __future__ import annotations

import difflib
import json

import pytest
import yaml

from scheduler.hub.hub import Hub
from scheduler.hub.hub_errors import Gone
from scheduler.publish.result_file import Source
from scheduler.publish.writing import publish
from specs.errors import HubAway, NoAccess
from tests.support.attestations import attestation, base64url, jwks, signer
from tests.support.hub_content import submit
from tests.support.proposing_site import BENCHMARK, CLAIM, FARM, MODEL, SIGNER, TOKEN, Site, proposing_site, publication

site = proposing_site


def test_a_pull_request_adds_the_proof_and_nothing_else(site: Site) -> None:
    text = "# our scores\r\n" + CLAIM.replace("\n", "\r\n") + "- {dataset: {id: a/b}, value: 7}"
    submit(site.served.local, site.model, text)
    done = site.publish(publication())
    assert (done.kind, done.number, done.url) == ("published", 1, f"{site.served.url}/{MODEL}/discussions/1")
    assert site.threads() == [(1, FARM, "open", True)]
    changed = [
        line for line in difflib.ndiff(text.splitlines(), site.read("refs/pr/1").splitlines()) if line[0] in "+-?"
    ]
    assert changed == [f"+   verifyToken: {TOKEN}"]
    assert site.read() == text
    found = site.owner.get_discussion_details(MODEL, 1)
    assert found.title == publication().title
    assert "The facts." in site.comments(1)[0].content


def test_a_merged_proof_lights_the_mark_of_a_hub_that_trusts_the_farm(site: Site) -> None:
    submit(site.served.local, site.model, CLAIM)
    site.served.local.trust_keys(dict(jwks(SIGNER)))
    assert [row.verified for row in site.owner.get_dataset_leaderboard(BENCHMARK)] == [False]
    site.publish(publication())
    site.owner.merge_pull_request(MODEL, 1)
    assert [row.verified for row in site.owner.get_dataset_leaderboard(BENCHMARK)] == [True]


def test_a_source_is_put_in_where_policy_wants_it(site: Site) -> None:
    submit(site.served.local, site.model, CLAIM)
    site.publish(publication(token=None, source=Source("https://farm.example/claims/1", "reprofarm")))
    (entry,) = yaml.safe_load(site.read("refs/pr/1"))
    assert entry["source"] == {"url": "https://farm.example/claims/1", "name": "reprofarm"}
    assert "verifyToken" not in entry


def test_a_source_that_the_author_names_stays_and_the_proof_is_told_instead(site: Site) -> None:
    submit(site.served.local, site.model, CLAIM + "  source: {url: 'https://paper.example'}\n")
    done = site.publish(publication(token=None, source=Source("https://farm.example/claims/1", "reprofarm")))
    assert (done.kind, site.threads()) == ("published", [(1, FARM, "open", False)])


def test_an_entry_that_carries_the_token_needs_nothing(site: Site) -> None:
    submit(site.served.local, site.model, f"{CLAIM}  verifyToken: {TOKEN}\n")
    assert (site.publish(publication()).kind, site.threads()) == ("already", [])


@pytest.mark.parametrize(
    "theirs",
    [
        f"{base64url(json.dumps({'alg': 'EdDSA'}).encode())}.e30.AAAA",
        signer().sign(attestation(iss="https://another-farm.example")),
    ],
    ids=["of another kind", "of another farm"],
)
def test_a_proof_of_somebody_else_is_not_replaced(site: Site, theirs: str) -> None:
    submit(site.served.local, site.model, f"{CLAIM}  verifyToken: {theirs}\n")
    done = site.publish(publication())
    assert (done.kind, done.number, site.threads()) == ("kept_out", None, [])
    assert "not replaced" in done.reason


@pytest.mark.parametrize(
    "old",
    [
        " null",
        " <token>",
        " a.b.c",
        "",
        " " + SIGNER.sign(attestation(seed=8)),
        " " + signer().sign(attestation(seed=8)),
        # Of before the farm had its address.
        " " + SIGNER.sign(attestation(iss="http://127.0.0.1:8000")),
    ],
    ids=["null", "placeholder", "no token", "empty", "older", "by an older key", "by an older address"],
)
def test_a_placeholder_or_an_older_badge_is_replaced(site: Site, old: str) -> None:
    submit(site.served.local, site.model, f"{CLAIM}  verifyToken:{old}\n")
    assert site.publish(publication()).kind == "published"
    assert site.read("refs/pr/1") == f"{CLAIM}  verifyToken: {TOKEN}\n"


def test_a_file_that_cannot_be_edited_in_place_is_left_alone_and_talked_about(site: Site) -> None:
    submit(site.served.local, site.model, f"{CLAIM}  verifyToken: |\n    to follow\n")
    assert site.publish(publication()).kind == "published"
    assert site.threads() == [(1, FARM, "open", False)]
    assert site.publish(publication()).kind == "already"


def test_a_community_claim_is_answered_on_its_pull_request(site: Site) -> None:
    number = submit(site.served.local, site.model, CLAIM, author="eve", create_pr=True)
    done = site.publish(publication(pull_request=number))
    assert (done.kind, done.number) == ("published", number)
    assert [each.content for each in site.comments(1) if each.author == FARM] == [publication().body]
    again = site.publish(publication(pull_request=number))
    assert (again.kind, again.number) == ("already", number)
    assert len(site.comments(1)) == 1


def test_a_hub_that_is_away_is_tried_again_later(site: Site) -> None:
    with pytest.raises(HubAway):
        site.publish(publication(), Hub("http://127.0.0.1:9", "hf_x", 5))


def test_a_commit_that_the_hub_does_not_know_everywhere_yet_is_tried_again_later(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lags(*_: object) -> bytes:
        raise Gone("no such revision")

    submit(site.served.local, site.model, CLAIM)
    with monkeypatch.context() as patched:
        patched.setattr(site.hub, "read_file", lags)
        with pytest.raises(HubAway):
            site.publish(publication())
    assert site.publish(publication()).kind == "published"


def test_a_token_that_may_not_write_is_the_operators_to_change(site: Site) -> None:
    submit(site.served.local, site.model, CLAIM)
    reader = Hub(site.served.url, site.served.local.add_token("reader", role="read"), 30)
    for mode in ("pull_request", "comment"):
        with pytest.raises(NoAccess):
            publish(reader, "reader", publication(mode=mode))
    assert site.threads() == []
