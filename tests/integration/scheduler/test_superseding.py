"""What becomes of a verdict, its badge and what stands on the Hub, when the same entry is verified again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import and_, delete, select, update

from deploy.localhub.commits import CommitText
from deploy.localhub.names import RepoName, RepoType
from scheduler.badges import issuing
from scheduler.badges.publications import LOOK_BACK, overtaken_by, revoked_of, told_in, want_mismatches
from scheduler.badges.revoking import revoke, revoke_earlier
from scheduler.badges.signing import Signer
from scheduler.database.tables import Badge, Benchmark, Claim, Event, Publication, Reproduction, Thread, VerdictRow, now
from scheduler.farm import Farm
from scheduler.publish import due
from scheduler.state_machine import ClaimState
from scheduler.watch.claims import withdraw_all
from specs.policy.reverify import ReverifyRules
from tests.support.asking_again import reverify
from tests.support.attestations import attestation, signer
from tests.support.databases import ON_BOTH, SQLITE, Databases, mostly_sqlite
from tests.support.deciding import complete
from tests.support.hub_content import add_model, entry, submit
from tests.support.publishing_farm import OWN, Publishing, published_farm, publishing_farm

ADA = "hub:ada"
MODEL = RepoName(RepoType.MODEL, "tiny/model")
WANTS = {"mode": "pull_request", "verdicts": ["verified", "mismatch"]}


databases = mostly_sqlite


def again(site: Publishing, value: float, right: int) -> str:
    """Verify the claim of that value again; the new claim's id."""
    return run_again(site, site.living()[value].claim_id, right)


def run_again(site: Publishing, claim_id: str, right: int) -> str:
    """The same by the claim's id."""
    rules = ReverifyRules(cooldown_seconds=0)
    with site.farm.database.transaction() as session:
        # Planning has policy's own rules: whatever was asked for before was two days ago.
        asked_before = update(Claim).where(Claim.fresh_after.is_not(None))
        session.execute(asked_before.values(fresh_after=now() - timedelta(days=2)))
    asked = reverify(site.farm.database, claim_id, "new drivers", ADA, rules=rules)
    site.plan()
    complete(site.farm, right)
    site.publish()
    return asked.claim_id


def badges(site: Publishing) -> dict[str, str | None]:
    """Reason for revocation, by claim."""
    with site.farm.database.reading() as session:
        return {badge.claim_id: badge.revoked_reason for badge in session.scalars(select(Badge))}


def test_a_score_that_is_reproduced_again_has_two_badges_that_count_and_is_published_once(either: Publishing) -> None:
    site = either
    old = site.living()[50.0].claim_id
    new = again(site, 50.0, 101)
    assert badges(site) == {old: None, new: None}
    assert site.publications() == {old: "published"}
    assert [author for _, author, _ in site.threads()] == ["fan", OWN]


def test_an_entry_that_was_gone_and_is_back_is_published_once(either: Publishing) -> None:
    site = either
    old = site.living()[50.0].claim_id
    # As where the repo is private for an hour.
    withdraw_all(site.farm.database, MODEL.id)
    site.scan()
    site.plan()
    site.publish()
    new = site.living()[50.0].claim_id
    assert badges(site) == {old: None, new: None}
    assert site.publications() == {old: "published"}
    assert [author for _, author, _ in site.threads()] == ["fan", OWN]


def test_no_badge_is_kept_of_a_claim_that_was_run_again_while_it_was_signed(
    tmp_path: Path, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    with publishing_farm(tmp_path, databases) as site:
        complete(site.farm, 100)
        keep = issuing._keep

        def overtaken(farm: Farm, signed: Sequence[issuing._Signed]) -> None:
            # Whoever signs was frozen for a while; the next mismatch finds no badge that it could revoke.
            monkeypatch.setattr(issuing, "_keep", keep)
            again(site, 50.0, 20)
            keep(farm, signed)

        monkeypatch.setattr(issuing, "_keep", overtaken)
        issuing.sign_missing(site.farm)
        assert badges(site) == {}


def test_a_proof_about_other_weights_is_published_beside_the_old_one(site: Publishing) -> None:
    old = site.living()[50.0].claim_id
    site.served.local.commit(MODEL, {"config.json": b'{"a": 1}'}, CommitText("Train on", "tiny"))
    site.scan()
    new = again(site, 50.0, 101)
    assert site.publications() == {old: "published", new: "published"}


@pytest.mark.parametrize("since", ["other weights", "its badge is revoked"])
def test_a_newer_proof_closes_the_farms_older_pull_request_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, since: str
) -> None:
    with publishing_farm(tmp_path, SQLITE, publish={"mode": "pull_request"}) as site:
        complete(site.farm, 100)
        site.publish()
        if since == "other weights":
            site.served.local.commit(MODEL, {"config.json": b'{"a": 1}'}, CommitText("Train on", "tiny"))
            site.scan()
        else:
            # Not by a later run, which the older pull request is not to be told.
            revoke(site.farm.database, site.living()[50.0].claim_id, "its key was stolen", "operator:ada")

        with monkeypatch.context() as patched:
            patched.setattr(due, "_conclude", lambda *_: None)
            # As if killed before it is entered.
            new = again(site, 50.0, 101)
        assert site.publications()[new] == "pending"
        site.publish()
        assert site.publications()[new] == "published"
        found = {number: site.user("reader").get_discussion_details("tiny/model", number) for number in (2, 3)}
        assert [(each.is_pull_request, each.status) for each in found.values()] == [(True, "closed"), (True, "open")]
        assert ["Superseded by #3" in text for text in site.said(2)] == [False, True]


@ON_BOTH
@pytest.mark.parametrize("jti", [None, "\0"], ids=["its own", "another farm's"])
def test_a_farm_whose_key_and_address_are_others_by_now_replaces_its_own_badge_alone(
    tmp_path: Path, databases: Databases, jti: str | None
) -> None:
    with publishing_farm(tmp_path, databases, publish={"mode": "pull_request"}) as site:
        complete(site.farm, 100)
        site.publish()
        site.user("tiny").merge_pull_request(MODEL.id, 2)
        if jti is not None:
            theirs = signer().sign(attestation(iss="https://another-farm.example", jti=jti))
            submit(site.served.local, MODEL, f"{entry('acme/bench', 50)}  verifyToken: {theirs}\n")
        site.scan()
        revoke(site.farm.database, site.living()[50.0].claim_id, "its key was stolen", "operator:ada")
        key = tmp_path / "other.pem"
        Signer.create(key)
        moved = {"signing_key": key, "public_url": "https://moved.example"}
        site.farm.database.engine.dispose()
        site.farm = Farm(site.farm.settings.model_copy(update=moved))
        new = again(site, 50.0, 101)
        assert site.publications()[new] == ("published" if jti is None else "kept_out")
        assert len(site.threads()) == (3 if jti is None else 2)
        site.farm.database.engine.dispose()


@pytest.mark.parametrize("what", ["value", "weights"])
def test_a_proof_that_was_superseded_is_proposed_again_once_the_entry_says_the_same_as_then(
    tmp_path: Path, databases: Databases, what: str
) -> None:
    with publishing_farm(tmp_path, databases, publish={"mode": "pull_request"}) as site:
        complete(site.farm, 100)
        site.publish()
        for changed in (1, 0):
            if what == "value":
                say_now(site, 50 + changed, 100)
                continue
            weights = b'{"a": 1}' if changed else b"{}"
            site.served.local.commit(MODEL, {"config.json": weights}, CommitText("Train on", "tiny"))
            site.scan()
            again(site, 50.0, 101)
        assert [site.status(number) for number in (2, 3, 4)] == ["closed", "closed", "open"]
        # But that stands there now.
        again(site, 50.0, 102)
        assert len(site.threads()) == 4


def say_now(site: Publishing, value: float, right: int) -> None:
    """Have the entry claim another value, and publish what comes of it."""
    submit(site.served.local, MODEL, entry("acme/bench", value))
    site.scan()
    site.plan()
    if site.living()[value].state != ClaimState.DECIDED:
        # Else by the run that there is.
        complete(site.farm, right)
    site.publish()


@pytest.mark.parametrize(
    ("revision", "changed", "told_again"),
    [(None, "README.md", False), (None, "data.jsonl", True), ("main", "README.md", False)],
)
def test_a_proof_of_the_same_benchmark_is_not_told_again_after_a_change_of_its_documentation(
    tmp_path: Path, revision: str | None, changed: str, *, told_again: bool
) -> None:
    with published_farm(tmp_path, SQLITE) as site:
        value = 50.0
        if revision is not None:
            value = 49.0
            named = entry("acme/bench", value).replace("id: acme/bench", f"id: acme/bench\n    revision: {revision}")
            submit(site.served.local, MODEL, named, name="head.yaml")
            site.scan()
            site.plan()
            site.publish()
        bench = RepoName(RepoType.DATASET, "acme/bench")
        site.served.local.commit(bench, {changed: b"More words."}, CommitText("Say more", "acme"))
        site.scan()
        new = again(site, value, 101)
        assert badges(site)[new] is None
        assert (new in site.publications()) is told_again


@ON_BOTH
def test_a_score_that_is_not_reproduced_again_has_its_badge_revoked_and_that_is_told_once(either: Publishing) -> None:
    site = either
    old = site.living()[50.0].claim_id
    new = again(site, 50.0, 20)
    assert badges(site) == {old: f"the same score was run again and not reproduced: claim {new}"}
    site.publish()
    assert site.publications() == {old: "published", new: "published"}
    *_, (number, author, title) = site.threads()
    assert (author, title.startswith("50 on acme/bench (capitals) was not reproduced")) == (OWN, True)
    (said,) = site.said(number)
    with site.farm.database.reading() as session:
        badge = session.get_one(Badge, old)
        events = session.scalars(select(Event.what).where(Event.subject_id == badge.badge_id)).all()
    assert f"is revoked: `{badge.badge_id}`" in said
    assert "1. " in said
    assert list(events) == ["revoked"]
    assert len(site.threads()) == 3


def say(site: Publishing, value: float, name: str = "results.yaml", **more: Any) -> str:
    """Have one more entry claim that value, and publish what comes of it; the claim's id."""
    before = {claim.claim_id for claim in claims(site)}
    submit(site.served.local, MODEL, entry("acme/bench", value, more=f"  notes: {name}\n"), name=name, **more)
    site.scan()
    site.plan()
    site.publish()
    (new,) = (claim.claim_id for claim in claims(site) if claim.claim_id not in before)
    return new


def claims(site: Publishing) -> Sequence[Claim]:
    with site.farm.database.reading() as session:
        return session.scalars(select(Claim)).all()


@ON_BOTH
@pytest.mark.parametrize("entry_now", ["other notes", "another file", "merged"])
def test_a_score_that_is_not_reproduced_loses_the_badges_of_every_entry_that_claimed_it(
    either: Publishing, entry_now: str
) -> None:
    site = either
    old = site.living()[50.0].claim_id
    if entry_now == "other notes":
        now_is = say(site, 50)
    elif entry_now == "another file":
        now_is = say(site, 50, "moved.yaml")
    else:
        old, now_is = say(site, 50, "proposed.yaml", author="fan", create_pr=True), old
    assert (badges(site)[old], badges(site)[now_is]) == (None, None)
    mismatch = run_again(site, now_is, 20)
    why = f"the same score was run again and not reproduced: claim {mismatch}"
    assert set(badges(site).values()) == {why}
    with site.farm.database.reading() as session:
        assert set(revoked_of(session, session.get_one(Claim, mismatch))) == set(
            session.scalars(select(Badge.badge_id))
        )


@pytest.mark.parametrize(
    ("was", "is_now"), [(None, "main"), ("main", "refs/heads/main"), ("main", None)], ids=lambda name: name or "none"
)
def test_a_badge_is_revoked_however_the_entry_says_by_now_that_it_is_about_the_benchmark_as_it_is(
    site: Publishing, was: str | None, is_now: str | None
) -> None:
    def say_about(revision: str | None) -> str:
        named = "id: acme/bench" if revision is None else f"id: acme/bench\n    revision: {revision}"
        submit(site.served.local, MODEL, entry("acme/bench", 50).replace("id: acme/bench", named))
        site.scan()
        site.plan()
        return site.living()[50.0].claim_id

    old = say_about(was)
    site.publish()
    assert badges(site)[old] is None
    bench = RepoName(RepoType.DATASET, "acme/bench")
    site.served.local.commit(bench, {"data.jsonl": b"Other questions."}, CommitText("Ask others", "acme"))
    mismatch = say_about(is_now)
    complete(site.farm, 20)
    assert badges(site)[old] == f"the same score was run again and not reproduced: claim {mismatch}"


@ON_BOTH
@pytest.mark.parametrize("names_it", [True, False])
def test_a_badge_is_revoked_whether_or_not_its_entry_names_the_only_task_by_now(
    either: Publishing, *, names_it: bool
) -> None:
    site = either
    named = entry("acme/bench", 49)
    unnamed = named.replace("    task_id: capitals\n", "")
    for said in (unnamed, named) if names_it else (named, unnamed):
        submit(site.served.local, MODEL, said)
        site.scan()
        site.plan()
        site.publish()
    old, now_is = (claim.claim_id for claim in sorted(claims(site), key=lambda each: each.created_at)[-2:])
    assert (badges(site)[old], badges(site)[now_is]) == (None, None)
    mismatch = run_again(site, now_is, 20)
    why = f"the same score was run again and not reproduced: claim {mismatch}"
    assert (badges(site)[old], badges(site)[now_is]) == (why, why)
    # What was published with either is told of.
    assert site.publications()[mismatch] == "published"
    with site.farm.database.reading() as session:
        claim = session.get_one(Claim, mismatch)
        written = select(Publication.number).where(Publication.claim_id.in_((old, now_is)))
        assert (len(revoked_of(session, claim)), set(overtaken_by(session, claim))) == (
            2,
            set(session.scalars(written)),
        )


@pytest.mark.parametrize(("changed", "is_outdone"), [("README.md", True), ("data.jsonl", False)])
def test_a_badge_about_one_commit_of_a_benchmark_is_revoked_by_a_mismatch_at_another_that_holds_the_same(
    site: Publishing, changed: str, *, is_outdone: bool
) -> None:
    bench = RepoName(RepoType.DATASET, "acme/bench")

    def say_at_head(name: str) -> str:
        site.scan()
        (head, *_) = site.farm.hub.own_commits("acme/bench").main
        pinned = entry("acme/bench", 50).replace("id: acme/bench", f"id: acme/bench\n    revision: {head}")
        before = {claim.claim_id for claim in claims(site)}
        submit(site.served.local, MODEL, pinned, name=name)
        site.scan()
        site.plan()
        (new,) = (claim.claim_id for claim in claims(site) if claim.claim_id not in before)
        return new

    old = say_at_head("one.yaml")
    site.publish()
    assert badges(site)[old] is None
    site.served.local.commit(bench, {changed: b"More words."}, CommitText("Say more", "acme"))
    mismatch = say_at_head("another.yaml")
    complete(site.farm, 20)
    why = f"the same score was run again and not reproduced: claim {mismatch}"
    assert badges(site)[old] == (why if is_outdone else None)


@ON_BOTH
@pytest.mark.parametrize(
    ("is_now", "right", "outcome", "is_outdone"),
    [("fraction", 20, "mismatch", True), ("percent", 20, "mismatch", False), ("percent", 1, "verified", False)],
)
def test_what_is_found_of_a_value_on_one_scale_is_another_score_than_on_the_other(
    either: Publishing, is_now: str, right: int, outcome: str, *, is_outdone: bool
) -> None:
    site = either

    def write_as(scale: str) -> None:
        # As most on the leaderboard do by then.
        with site.farm.database.transaction() as session:
            session.execute(update(Benchmark).values(has_percent=scale == "percent"))

    submit(site.served.local, MODEL, entry("acme/bench", 0.5))
    site.scan()
    write_as("fraction")
    site.plan()
    site.publish()
    old = site.living()[0.5].claim_id
    assert (badges(site)[old], site.publications()[old]) == (None, "published")
    write_as(is_now)
    new = run_again(site, old, right)
    with site.farm.database.reading() as session:
        claim = session.get_one(Claim, new)
        assert session.get_one(VerdictRow, new).outcome == outcome
        assert claim.rules is not None
        assert claim.rules["scale"] == is_now
        assert len(revoked_of(session, claim)) == is_outdone
    assert badges(site)[old] == (
        f"the same score was run again and not reproduced: claim {new}" if is_outdone else None
    )
    # A mismatch is written where it revokes what was published.
    assert (new in site.publications()) == (is_outdone or outcome == "verified")


@ON_BOTH
@pytest.mark.parametrize("mismatch_is_seen", [True, False])
def test_a_badge_that_is_signed_after_its_score_was_not_reproduced_again_is_revoked(
    either: Publishing, monkeypatch: pytest.MonkeyPatch, *, mismatch_is_seen: bool
) -> None:
    site = either
    late, now_is = site.living()[50.0].claim_id, say(site, 50, "another.yaml")
    missing = issuing.Missing(site.farm)
    missing.sign()
    assert set(badges(site).values()) == {None}
    with site.farm.database.transaction() as session:
        # As if the key's file had been out of reach.
        session.execute(delete(Publication).where(Publication.claim_id == late))
        session.execute(delete(Badge).where(Badge.claim_id == late))
    mismatch = run_again(site, now_is, 20)
    if mismatch_is_seen:
        # It counts at no time, or it might be published.
        issuing.sign_missing(site.farm)
    else:
        # As if both were committed at the same moment.
        monkeypatch.setattr(issuing, "revoke_if_outdone", lambda *_: None)
        missing.sign()
    why = f"the same score was run again and not reproduced: claim {mismatch}"
    assert badges(site) == {late: why, now_is: why}


def test_what_a_passer_by_claims_takes_no_badge_from_the_author(site: Publishing) -> None:
    old = site.living()[50.0].claim_id
    proposed = say(site, 50, "proposed.yaml", author="fan", create_pr=True)
    mismatch = run_again(site, proposed, 20)
    why = f"the same score was run again and not reproduced: claim {mismatch}"
    assert badges(site) == {old: None, proposed: why}


def test_an_older_run_takes_no_badge_from_another_entry(site: Publishing) -> None:
    old = site.living()[50.0].claim_id
    other = say(site, 50, "other.yaml")
    with site.farm.database.transaction() as session:
        claim = session.get_one(Claim, other)
        # As by a policy that came later, say: of the very run that the badge is of.
        assert claim.reproduction is not None
        revoke_earlier(session, [claim], claim.reproduction)
    assert badges(site) == {old: None, other: None}


@pytest.mark.parametrize("mode", ["pull_request", "comment"])
@pytest.mark.parametrize("mismatch_is", ["decided", "gone before it is written", "gone before it is entered"])
def test_what_the_farm_opened_with_a_badge_that_is_revoked_is_closed_if_it_is_open(
    tmp_path: Path, mismatch_is: str, mode: str
) -> None:
    with publishing_farm(tmp_path, SQLITE, publish={"mode": mode}) as site:
        complete(site.farm, 100)
        site.publish()
        found = site.user("reader").get_discussion_details("tiny/model", 2)
        assert (found.is_pull_request, found.author, found.status) == (mode == "pull_request", OWN, "open")
        reverify(site.farm.database, site.living()[50.0].claim_id, "new drivers", ADA)
        site.plan()
        complete(site.farm, 20)
        if mismatch_is == "gone before it is written":
            want_mismatches(site.farm.database, site.farm.policy.publish)
        if mismatch_is != "decided":
            submit(site.served.local, MODEL, entry("acme/bench", 60))
            site.scan()
        site.publish()
        assert site.user("reader").get_discussion_details("tiny/model", 2).status == "closed"
        assert ["revoked" in text for text in site.said(2)][1:] == [True]


def test_a_run_that_finds_nothing_out_leaves_the_old_badge_as_it_is(site: Publishing) -> None:
    old = site.living()[50.0].claim_id
    reverify(site.farm.database, old, "?", ADA)
    site.plan()
    with site.farm.database.transaction() as session:
        session.execute(
            update(Reproduction)
            .where(Reproduction.asked_anew)
            .values(settings={**session.scalars(select(Reproduction.settings)).all()[0], "minimum_samples": 500})
        )
    complete(site.farm, 0, sample_scores=(None,) * 200, score=None)
    with site.farm.database.reading() as session:
        assert set(session.scalars(select(VerdictRow.outcome))) == {"verified", "mismatch", "inconclusive"}
    assert badges(site) == {old: None}


def test_a_mismatch_is_written_where_policy_wants_it_once_and_not_about_old_verdicts(tmp_path: Path) -> None:
    wants = {"mode": "comment", "verdicts": ["verified", "mismatch"]}
    with publishing_farm(tmp_path, SQLITE, publish=wants) as site:
        complete(site.farm, 100, truncated=60)
        site.publish()
        site.publish()
        assert set(site.publications().values()) == {"published"}
        # A community claim is answered where it was made.
        (said,) = site.said(1)
        assert "did not reproduce the score `90` that this pull request claims for `tiny/model`" in said
        assert said.index("1. 60 of ") < said.index("- claimed: 90.00 %")
        assert "inspect eval hf/acme/bench/capitals@" in said
        with site.farm.database.transaction() as session:
            for row in session.scalars(select(Publication)):
                session.delete(row)
            session.execute(update(VerdictRow).values(decided_at=now() - LOOK_BACK))
        assert want_mismatches(site.farm.database, site.farm.policy.publish) == 0


@ON_BOTH
@pytest.mark.parametrize(
    "verdicts", [["verified", "mismatch"], ["mismatch"]], ids=["proofs wanted", "mismatches alone"]
)
def test_what_becomes_of_a_score_that_was_not_reproduced_is_told_where_that_was(
    tmp_path: Path, databases: Databases, monkeypatch: pytest.MonkeyPatch, verdicts: list[str]
) -> None:
    with publishing_farm(tmp_path, databases, publish={"mode": "pull_request", "verdicts": verdicts}) as site:
        complete(site.farm, 20)
        site.publish()
        assert [author for _, author, _ in site.threads()] == ["fan", OWN]
        mismatch = again(site, 50.0, 21)
        assert site.publications()[mismatch] == "published"
        assert ["did not reproduce the score `50`" in text for text in site.said(2)] == [True, True]
        with monkeypatch.context() as patched:
            # As if killed before it is entered.
            patched.setattr(due, "_conclude", lambda *_: None)
            verified = again(site, 50.0, 100)
        site.publish()
        assert site.publications()[verified] == "published"
        assert len(site.said(2)) == 3
        assert "reproduced" in site.said(2)[2]
        assert site.user("reader").get_discussion_details("tiny/model", 2).status == "closed"
        assert ["The proof: #3" in text for text in site.said(2)] == [False, False, "verified" in verdicts]
        assert len(site.threads()) == (3 if "verified" in verdicts else 2)
        # Whatever comes next is news, and another discussion's.
        again(site, 50.0, 20)
        assert (len(site.said(2)), len(site.threads())) == (3, 4 if "verified" in verdicts else 3)


@ON_BOTH
@pytest.mark.parametrize("name", ["results.yaml", "moved.yaml"], ids=["other notes", "another file"])
def test_what_becomes_of_a_score_is_told_in_one_discussion_whatever_its_entry_is_by_then(
    tmp_path: Path, databases: Databases, name: str
) -> None:
    with publishing_farm(tmp_path, databases, publish=WANTS) as site:
        complete(site.farm, 20)
        site.publish()
        # The run that did not reproduce the score answers this entry too.
        now_is = say(site, 50, name)
        assert ["did not reproduce the score `50`" in text for text in site.said(2)] == [True, True]
        run_again(site, now_is, 100)
        assert site.status(2) == "closed"
        assert "A later run reproduced this score" in site.said(2)[2]
        assert [author for _, author, _ in site.threads()] == ["fan", OWN, OWN]


def test_a_score_is_set_right_in_each_discussion_that_says_otherwise(tmp_path: Path) -> None:
    with publishing_farm(tmp_path, SQLITE, publish=WANTS) as site:
        submit(site.served.local, MODEL, entry("acme/bench", 50, more="  notes: cot\n"), name="beside.yaml")
        site.scan()
        site.plan()
        complete(site.farm, 20)
        with site.farm.database.transaction() as session:
            # As if by a run each, at one moment: neither is the earlier one.
            session.execute(update(VerdictRow).values(decided_at=now(), reproduction_id=None))
        site.publish()
        assert [author for _, author, _ in site.threads()] == ["fan", OWN, OWN]
        again(site, 50.0, 100)
        assert [site.status(number) for number in (2, 3)] == ["closed", "closed"]
        assert ["A later run reproduced this score" in site.said(number)[-1] for number in (2, 3)] == [True, True]


@pytest.mark.parametrize("written_last", [0, 1])
def test_two_entries_that_one_run_did_not_reproduce_are_told_of_in_one_discussion(
    tmp_path: Path, written_last: int
) -> None:
    with publishing_farm(tmp_path, SQLITE, publish=WANTS) as site:
        submit(site.served.local, MODEL, entry("acme/bench", 50, more="  notes: cot\n"), name="beside.yaml")
        site.scan()
        site.plan()
        complete(site.farm, 20)
        want_mismatches(site.farm.database, site.farm.policy.publish)
        with site.farm.database.transaction() as session:
            same = Claim.claim_id == Publication.claim_id, Claim.value == 50
            both = session.scalars(select(Publication).join(Claim, and_(*same)).order_by(Claim.created_at)).all()
            for place, each in enumerate(both):
                each.due_at = now() - timedelta(seconds=1 + (place != written_last))
            assert len(both) == 2
        site.publish()
        assert [author for _, author, _ in site.threads()] == ["fan", OWN]


@ON_BOTH
def test_what_a_slow_run_says_after_another_entrys_proof_is_set_right_too(tmp_path: Path, databases: Databases) -> None:
    with publishing_farm(tmp_path, databases, publish=WANTS) as site:
        complete(site.farm, 20)
        site.publish()
        mismatch = site.living()[50.0].claim_id
        beside = say(site, 50, "beside.yaml")
        run_again(site, beside, 100)
        with site.farm.database.transaction() as session:
            # As if it had come only now, by a run that was made before.
            session.execute(update(VerdictRow).where(VerdictRow.claim_id == mismatch).values(decided_at=now()))
        anew = run_again(site, mismatch, 100)
        with site.farm.database.reading() as session:
            assert told_in(session, session.get_one(Claim, beside)) == ()
        assert f"/claims/{anew}" in site.said(2)[-1]


def test_what_is_found_at_another_commit_than_an_entry_pins_is_no_news_of_it(tmp_path: Path) -> None:
    with publishing_farm(tmp_path, SQLITE, publish=WANTS) as site:
        complete(site.farm, 20)
        site.publish()
        with site.farm.database.transaction() as session:
            # As if another entry, which pins a commit, came with the same score.
            pinned = site.living()[50.0]
            session.execute(
                update(Claim).where(Claim.claim_id == pinned.claim_id).values(slot="another", dataset_revision="a" * 40)
            )
        say(site, 50, "moved.yaml")
        assert [author for _, author, _ in site.threads()] == ["fan", OWN, OWN]


def test_a_proof_is_known_to_the_farm_where_the_discussion_of_the_mismatch_before_it_is_locked(tmp_path: Path) -> None:
    with publishing_farm(tmp_path, SQLITE, publish=WANTS) as site:
        complete(site.farm, 20)
        site.publish()
        site.lock(2)
        verified = again(site, 50.0, 100)
        assert site.publications()[verified] == "published"
        with site.farm.database.reading() as session:
            assert session.get(Thread, (MODEL.id, 3)) is not None, "`/reverify` is read there"
        # Nor is it otherwise where the proof's pull request is locked, which is to be closed now.
        site.lock(3)
        mismatch = again(site, 50.0, 21)
        assert site.publications()[mismatch] == "published"
        assert [author for _, author, _ in site.threads()] == ["fan", OWN, OWN, OWN]


def test_a_score_that_was_not_reproduced_is_set_right_where_another_farms_proof_keeps_ours_out(tmp_path: Path) -> None:
    theirs = signer().sign(attestation(iss="https://another-farm.example"))
    with publishing_farm(tmp_path, SQLITE, publish=WANTS) as site:
        submit(site.served.local, MODEL, f"{entry('acme/bench', 50)}  verifyToken: {theirs}\n")
        site.scan()
        site.plan()
        complete(site.farm, 20)
        site.publish()
        kept_out = again(site, 50.0, 100)
        assert site.publications()[kept_out] == "kept_out"
        assert site.status(2) == "closed"
        assert ["A later run reproduced this score" in text for text in site.said(2)] == [False, True]
        # Once it is out of the way, ours is proposed: nothing of the farm's stands there.
        submit(site.served.local, MODEL, entry("acme/bench", 50))
        site.scan()
        proven = again(site, 50.0, 101)
        assert site.publications()[proven] == "published"
        assert site.user("reader").get_discussion_details(MODEL.id, 3).is_pull_request
        assert len(site.said(2)) == 2


@pytest.mark.parametrize("revoked_by", ["a mismatch", "an operator"])
def test_what_was_kept_out_of_the_entry_stands_nowhere(tmp_path: Path, revoked_by: str) -> None:
    theirs = signer().sign(attestation(iss="https://another-farm.example"))
    with publishing_farm(tmp_path, SQLITE, publish={"mode": "pull_request"}) as site:
        submit(site.served.local, MODEL, f"{entry('acme/bench', 50)}  verifyToken: {theirs}\n")
        site.scan()
        site.plan()
        complete(site.farm, 100)
        site.publish()
        old = site.living()[50.0].claim_id
        assert site.publications() == {old: "kept_out"}
        if revoked_by == "an operator":
            assert len(revoke(site.farm.database, old, "its key was stolen", "operator:ada")) == 1
        again(site, 50.0, 20)
        assert badges(site)[old] is not None
        # Policy has proofs written alone.
        assert site.publications() == {old: "kept_out"}
        assert [author for _, author, _ in site.threads()] == ["fan"]


def test_a_proof_that_its_owner_put_into_the_entry_is_not_proposed_again(tmp_path: Path) -> None:
    with publishing_farm(tmp_path, SQLITE, publish={"mode": "pull_request"}) as site:
        complete(site.farm, 100)
        issuing.sign_missing(site.farm)
        old = site.living()[50.0].claim_id
        with site.farm.database.reading() as session:
            token = session.get_one(Badge, old).token
        submit(site.served.local, MODEL, f"{entry('acme/bench', 50)}  verifyToken: {token}\n")
        site.scan()
        site.publish()
        assert site.publications() == {old: "published"}
        again(site, 50.0, 101)
        assert site.publications() == {old: "published"}
        assert [author for _, author, _ in site.threads()] == ["fan"]


@pytest.mark.parametrize(
    ("verdicts", "right"),
    [(["verified", "mismatch"], 21), (["verified", "mismatch"], 100), (["mismatch"], 100)],
    ids=["another mismatch", "a proof", "a proof that policy does not want"],
)
@pytest.mark.parametrize("thread_is", ["locked", "gone", "another's"])
def test_what_cannot_be_told_in_the_discussion_of_the_mismatch_before_it_is_told_elsewhere(
    tmp_path: Path, verdicts: list[str], thread_is: str, right: int
) -> None:
    with publishing_farm(tmp_path, SQLITE, publish={**WANTS, "verdicts": verdicts}) as site:
        complete(site.farm, 20)
        site.publish()
        if thread_is == "locked":
            site.lock(2)
        else:
            site.served.local.delete_repo(MODEL)
            submit(site.served.local, add_model(site.served.local, MODEL.id), entry("acme/bench", 50))
        if thread_is == "another's":
            for number in (1, 2):
                site.user("eve").create_discussion(MODEL.id, f"Question {number}", description="Why?")
        before = {number: site.said(number) for number, _, _ in site.threads()}
        new = again(site, 50.0, right)
        assert site.publications()[new] == "published"
        (number,) = {number for number, _, _ in site.threads()} - set(before)
        proposed = right == 100 and "verified" in verdicts
        assert site.user("reader").get_discussion_details(MODEL.id, number).is_pull_request is proposed
        assert {number: site.said(number) for number in before} == before
        # Nor is it told twice, where its end was not entered.
        with site.farm.database.transaction() as session:
            row = session.get_one(Publication, new)
            row.state, row.due_at = "pending", now()
        site.served.refused.clear()
        site.publish()
        assert (site.publications()[new], len(site.threads())) == ("published", len(before) + 1)


def test_nothing_is_written_about_a_mismatch_that_was_withdrawn(tmp_path: Path) -> None:
    with publishing_farm(tmp_path, SQLITE, publish={"mode": "comment", "verdicts": ["mismatch"]}) as site:
        complete(site.farm, 100)
        wrong = site.living()[90.0].claim_id
        want_mismatches(site.farm.database, site.farm.policy.publish)
        site.user("fan").change_discussion_status("tiny/model", 1, "closed")
        site.scan()
        site.publish()
        assert site.publications() == {wrong: "withdrawn"}
        assert site.said(1) == []


def test_by_default_a_mismatch_is_not_written(site: Publishing) -> None:
    assert site.said(1) == []
    assert list(site.publications().values()) == ["published"]
