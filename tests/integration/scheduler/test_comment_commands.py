"""`/reverify` on the Hub: taken once, from those who may, and answered."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from huggingface_hub import DiscussionWithDetails
from sqlalchemy import func, select, update

from deploy.localhub import names
from scheduler.admission.priorities import COMMUNITY_PRIORITY, REQUESTED_PRIORITY
from scheduler.database.tables import Claim, Event, HeardComment, Publication, now
from scheduler.publish.text import answer_body, answer_mark
from scheduler.requests.comment_commands import take_commands
from specs.errors import HubAway, HubBusy, NoAccess
from tests.support.databases import SQLITE
from tests.support.deciding import complete
from tests.support.hub_content import entry, submit
from tests.support.interleaving import PATIENCE_SECONDS, begun_beside
from tests.support.publishing_farm import OWN, Publishing, publishing_farm

OURS, FANS = 2, 1
"""Numbers of the farm's discussion, and of the pull request that makes the community claim."""


def say(site: Publishing, name: str, number: int, text: str = "/reverify", *orgs: str) -> None:
    site.user(name, *orgs).comment_discussion("tiny/model", number, text)


def asked(site: Publishing) -> set[float | None]:
    """Values of the claims that are verified again."""
    return {value for value, claim in site.living().items() if claim.supersedes}


def test_the_owner_of_the_model_asks_where_the_farm_wrote_and_is_answered(site: Publishing) -> None:
    say(site, "tiny", OURS, "We changed the drivers.\r\n\r\n/reverify\r\n")
    take_commands(site.farm)
    assert asked(site) == {50.0}
    with site.farm.database.reading() as session:
        anew = site.living()[50.0].claim_id
        assert session.scalars(select(Event.actor).where(Event.subject_id == anew)).first() == "hub:tiny"
    answer = site.said(OURS)[-1]
    assert f"the same entry is now claim {anew}" in answer


def test_a_comment_counts_once_however_often_it_is_read(either: Publishing) -> None:
    site = either
    say(site, "tiny", OURS)
    for _ in range(3):
        take_commands(site.farm)
    with site.farm.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Claim)) == 3
    assert len(site.said(OURS)) == 2, "the farm's discussion and one answer"


@pytest.mark.parametrize("databases", ["postgresql"], indirect=True)
def test_the_claims_of_a_comment_are_locked_in_the_order_of_their_ids(either: Publishing) -> None:
    site = either
    older, newer = sorted((claim.claim_id for claim in site.living().values()), reverse=True)
    with site.farm.database.transaction() as session:
        # Both on one pull request, of which the older has the greater id.
        session.execute(update(Claim).values(pull_request=FANS))
        session.execute(update(Claim).where(Claim.claim_id == older).values(created_at=now() - timedelta(1)))
    say(site, "tiny", FANS)
    with site.farm.database.transaction() as session:
        session.get_one(Claim, newer, with_for_update=True)
        taking = begun_beside(site.farm.database, lambda: take_commands(site.farm))
        # A deadlock, of which PostgreSQL ends one of the two, if that holds the older one by now.
        session.get_one(Claim, older, with_for_update=True)
    taking.result(PATIENCE_SECONDS)
    assert asked(site) == {50.0, 90.0}


def test_an_answer_that_was_interrupted_is_given_once(site: Publishing) -> None:
    say(site, "tiny", OURS)
    take_commands(site.farm)
    with site.farm.database.transaction() as session:
        session.execute(update(HeardComment).values(answered_at=None))
    take_commands(site.farm)
    assert len(site.said(OURS)) == 2
    with site.farm.database.reading() as session:
        assert None not in session.scalars(select(HeardComment.answered_at)).all()


def test_an_answer_that_quotes_the_mark_of_another_is_not_taken_for_that(site: Publishing) -> None:
    say(site, "tiny", OURS)
    asking = site.user("reader").get_discussion_details("tiny/model", OURS).events[-1].id
    quoting = answer_body(f"not known: {answer_mark(asking)}", "c0ffee")
    site.farm.hub.api.comment_discussion("tiny/model", OURS, quoting)
    take_commands(site.farm)
    assert len(site.said(OURS)) == 3, "the farm's discussion and two answers"


def test_a_member_of_the_organisation_may_and_a_member_of_another_may_not(site: Publishing) -> None:
    say(site, "mallory", OURS, "/reverify", "other")
    take_commands(site.farm)
    assert asked(site) == set()
    say(site, "mia", OURS, "/reverify", "tiny")
    take_commands(site.farm)
    assert asked(site) == {50.0}


def test_whoever_opened_a_pull_request_asks_for_its_claim_and_for_no_other(site: Publishing) -> None:
    say(site, "fan", OURS)
    take_commands(site.farm)
    assert asked(site) == set()
    say(site, "fan", FANS)
    take_commands(site.farm)
    assert asked(site) == {90.0}


def test_whoever_opened_a_pull_request_comes_before_no_author_and_whoever_speaks_for_the_model_does(
    site: Publishing,
) -> None:
    # All but the first request join what is under way.
    for name, priority in (("fan", COMMUNITY_PRIORITY), ("fan", COMMUNITY_PRIORITY), ("tiny", REQUESTED_PRIORITY)):
        say(site, name, FANS)
        take_commands(site.farm)
        site.plan()
        with site.farm.database.reading() as session:
            claim = session.scalars(select(Claim).where(Claim.live, Claim.supersedes.is_not(None))).one()
            assert claim.reproduction is not None
            assert (claim.value, claim.asked_priority, claim.reproduction.priority) == (90.0, priority, priority)


def test_a_refusal_says_why_once(site: Publishing) -> None:
    for _ in range(3):
        say(site, "mallory", OURS)
    take_commands(site.farm)
    take_commands(site.farm)
    assert len([text for text in site.said(OURS) if "may ask for" in text]) == 1
    assert site.farm.policy.reverify.cooldown_seconds > 0
    say(site, "tiny", OURS)
    take_commands(site.farm)
    site.plan()
    complete(site.farm, 100)
    say(site, "tiny", OURS)
    take_commands(site.farm)
    assert "policy allows the next from" in site.said(OURS)[-1]


@pytest.mark.parametrize("renamed", [False, True])
def test_the_claim_of_a_pull_request_is_asked_for_there_once_it_is_merged(either: Publishing, *, renamed: bool) -> None:
    site = either
    with site.farm.database.transaction() as session:
        written = Publication(claim_id=site.living()[90.0].claim_id, state="published", number=FANS)
        session.add(written)
    site.user("tiny").merge_pull_request("tiny/model", FANS)
    if renamed:
        site.served.local.move_repo(names.model("tiny/model"), names.model("big/renamed"))
        site.scan()
    site.scan()
    site.plan()
    if renamed:
        # Another id is another model to run.
        complete(site.farm, 100)
    owner, other = ("big", "tiny") if renamed else ("tiny", "big")
    for name in ("fan", other):
        say(site, name, FANS)
    take_commands(site.farm)
    assert asked(site) == set(), "it is main's by now"
    say(site, owner, FANS)
    take_commands(site.farm)
    assert asked(site) == {90.0}
    assert f"the same entry is now claim {site.living()[90.0].claim_id}" in site.said(FANS)[-1]


@pytest.mark.parametrize(
    ("name", "text", "finds"),
    [
        ("results.yaml", entry("acme/bench", 50, more="  notes: with tools\n"), {50.0}),
        ("moved.yaml", entry("acme/bench", 50), {50.0}),
        ("results.yaml", entry("acme/bench", 60), {60.0}),
        ("moved.yaml", entry("acme/bench", 60), set()),
    ],
)
def test_an_entry_that_was_edited_is_asked_for_where_the_farm_wrote_and_one_that_is_gone_is_answered_once(
    site: Publishing, name: str, text: str, finds: set[float]
) -> None:
    model = names.model("tiny/model")
    submit(site.served.local, model, "[]")
    submit(site.served.local, model, text, name=name)
    site.scan()
    site.plan()
    for _ in range(2):
        say(site, "tiny", OURS)
        take_commands(site.farm)
    assert asked(site) == finds
    assert len([said for said in site.said(OURS) if "an entry that is gone" in said]) == (0 if finds else 1)


def test_what_only_looks_like_it_asks_for_nothing(site: Publishing) -> None:
    say(site, "tiny", OURS, "please /reverify\n> /reverify")
    take_commands(site.farm)
    assert asked(site) == set()
    with site.farm.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(HeardComment)) == 0


def test_what_the_farm_says_itself_and_what_is_hidden_is_not_heard(site: Publishing) -> None:
    say(site, OWN, OURS)
    owner = site.user("tiny")
    comment = owner.comment_discussion("tiny/model", OURS, "/reverify")
    with pytest.warns(UserWarning, match="irreversible"):
        owner.hide_discussion_comment("tiny/model", OURS, comment.id)
    take_commands(site.farm)
    assert asked(site) == set()


def test_a_farm_that_is_not_to_listen_does_not(tmp_path: Path) -> None:
    with publishing_farm(tmp_path, SQLITE, reverify={"comments": False}) as site:
        complete(site.farm, 100)
        say(site, "fan", FANS)
        take_commands(site.farm)
        assert asked(site) == set()


def test_a_farm_that_does_not_publish_hears_and_says_nothing(tmp_path: Path) -> None:
    with publishing_farm(tmp_path, SQLITE, publish={"mode": "off"}) as site:
        complete(site.farm, 100)
        say(site, "fan", FANS)
        take_commands(site.farm)
        assert (asked(site), site.said(FANS)) == ({90.0}, [])


def test_the_threads_that_were_read_longest_ago_come_first_and_no_more_than_a_few(
    either: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = either
    monkeypatch.setattr("scheduler.requests.comment_commands.THREADS_AT_ONCE", 1)
    say(site, "fan", FANS)
    say(site, "tiny", OURS)
    take_commands(site.farm)
    assert len(asked(site)) == 1
    take_commands(site.farm)
    assert asked(site) == {50.0, 90.0}


def test_a_hub_that_is_busy_is_not_asked_for_the_next_thread(site: Publishing, monkeypatch: pytest.MonkeyPatch) -> None:
    say(site, "tiny", OURS)
    threads: list[int] = []

    def busy(model_id: str, number: int) -> DiscussionWithDetails:
        threads.append(number)
        raise HubBusy(f"the Hub answered 429 to {model_id}", 120.0)

    with monkeypatch.context() as patched:
        patched.setattr(site.farm.hub.api, "get_discussion_details", busy)
        take_commands(site.farm)
    assert len(threads) == 1
    take_commands(site.farm)
    assert asked(site) == {50.0}


@pytest.mark.parametrize("error", [HubAway("it fails"), NoAccess("comments are disabled", "tiny/model")])
def test_a_thread_that_cannot_be_read_keeps_no_other_from_its_turn(
    site: Publishing, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr("scheduler.requests.comment_commands.THREADS_AT_ONCE", 1)
    say(site, "tiny", OURS)
    own = site.farm.hub.api.get_discussion_details

    def details(model_id: str, number: int) -> DiscussionWithDetails:
        if number == FANS:
            raise error
        return own(model_id, number)

    monkeypatch.setattr(site.farm.hub.api, "get_discussion_details", details)
    for _ in range(2):
        take_commands(site.farm)
    assert asked(site) == {50.0}
