"""What is published once the claim, its model or its benchmark is another than the one that was judged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploy.localhub import names
from deploy.localhub.commits import CommitText
from scheduler.publish.draft import Measured
from scheduler.watch.contents import content_digest
from specs.hub.eval_results import parse
from tests.support.hub_content import entry, submit
from tests.support.proposing_site import BENCHMARK, CLAIM, MODEL, TOKEN, Site, proposing_site, publication

site = proposing_site


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (entry(BENCHMARK, 41.3), "says something else"),
        (entry("facts/rivers", 41.2), "says something else"),
        (entry(BENCHMARK, 41.2, task="rivers"), "says something else"),
        (entry(BENCHMARK, 41.2, more="  notes: with tools\n"), "says something else"),
        ("- [", "says something else"),
        (None, "is gone"),
    ],
)
@pytest.mark.parametrize("mode", ["pull_request", "comment"])
def test_nothing_is_written_about_a_claim_that_changed(site: Site, mode: str, text: str | None, reason: str) -> None:
    if text is not None:
        submit(site.served.local, site.model, text)
    done = site.publish(publication(mode=mode))
    assert done.kind == "withdrawn"
    assert reason in done.reason
    assert site.threads() == []


def test_nothing_is_written_about_a_model_that_is_gone(site: Site) -> None:
    assert site.publish(publication(model_id="smol/gone")).kind == "withdrawn"


def test_an_entry_that_moved_within_its_file_gets_the_proof(site: Site) -> None:
    submit(site.served.local, site.model, entry(BENCHMARK, 30) + CLAIM)
    site.publish(publication())
    tokens = [each.claim and each.claim.verify_token for each in parse(site.read("refs/pr/1").encode()).entries]
    assert tokens == [None, TOKEN]


def test_of_two_same_entries_the_one_at_its_place_gets_the_proof(site: Site) -> None:
    submit(site.served.local, site.model, CLAIM + CLAIM)
    site.publish(publication(entry=1))
    tokens = [each.claim and each.claim.verify_token for each in parse(site.read("refs/pr/1").encode()).entries]
    assert tokens == [None, TOKEN]


def test_a_community_claim_that_changed_is_not_answered(site: Site) -> None:
    number = submit(site.served.local, site.model, CLAIM, author="eve", create_pr=True)
    submit(site.served.local, site.model, entry(BENCHMARK, 40), author="eve", revision=f"refs/pr/{number}")
    assert site.publish(publication(pull_request=number)).kind == "withdrawn"
    assert site.comments(1) == []


@pytest.mark.parametrize("ending", ["closed", "merged"])
def test_a_community_claim_whose_pull_request_ended_is_not_answered(site: Site, ending: str) -> None:
    number = submit(site.served.local, site.model, CLAIM, author="eve", create_pr=True)
    assert number is not None
    if ending == "closed":
        site.owner.change_discussion_status(MODEL, number, "closed")
    else:
        site.owner.merge_pull_request(MODEL, number)
    done = site.publish(publication(pull_request=number))
    assert done.kind == "withdrawn"
    assert ending in done.reason
    assert site.comments(number) == []


def test_a_pull_request_that_never_was_is_a_claim_that_is_gone(site: Site) -> None:
    assert site.publish(publication(pull_request=99)).kind == "withdrawn"


@pytest.mark.parametrize("mode", ["pull_request", "comment"])
def test_nothing_is_written_under_the_id_that_a_model_had(site: Site, mode: str) -> None:
    submit(site.served.local, site.model, CLAIM)
    site.served.local.move_repo(site.model, names.model("smol/renamed"))
    done = site.publish(publication(mode=mode))
    assert (done.kind, done.reason) == ("withdrawn", f"{MODEL} is smol/renamed on the Hub")
    assert site.threads() == []


@pytest.mark.parametrize("way", [{}, {"mode": "comment"}, {"pull_request": 1}], ids=["proposed", "told", "commented"])
def test_no_proof_is_written_beside_other_weights_than_those_that_were_measured(
    site: Site, way: dict[str, Any]
) -> None:
    if "pull_request" in way:
        submit(site.served.local, site.model, CLAIM, author="eve", create_pr=True)
    head = site.hub.model(MODEL).revision
    measured = Measured(head, content_digest(site.hub.tree(MODEL, head)))
    if "pull_request" not in way:
        submit(site.served.local, site.model, CLAIM)
    site.served.local.commit(site.model, {"model.safetensors": b"others"}, CommitText("Other weights", "smol"))
    done = site.publish(publication(measured=measured, **way))
    assert done.kind == "withdrawn"
    assert done.reason == f"the model's files are others by now than at {head}, which was measured"
    # What else changed in the repo says nothing about the score.
    measured = replace(measured, weights_sha256=content_digest(site.hub.tree(MODEL, site.hub.model(MODEL).revision)))
    assert site.publish(publication(measured=measured, **way)).kind == "published"


def test_nothing_is_written_about_an_entry_that_pins_another_benchmark_by_now(site: Site) -> None:
    submit(site.served.local, site.model, CLAIM.replace("    task_id", f"    revision: {'b' * 40}\n    task_id"))
    assert site.publish(publication(dataset_revision="a" * 40)).kind == "withdrawn"
    assert site.publish(publication(dataset_revision="b" * 40)).kind == "published"
