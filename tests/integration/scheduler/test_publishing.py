"""Publishing on a real local Hub, through the real client."""

from __future__ import annotations

import difflib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import DiscussionComment, HfApi

from deploy.localhub import names
from deploy.localhub.commits import CommitText
from deploy.localhub.names import RepoName
from scheduler.hub.hub import Hub
from scheduler.hub.hub_errors import Gone
from scheduler.publish.result_file import Source
from scheduler.publish.text import body_mark, title_mark
from scheduler.publish.writing import ClaimPlace, Measured, Publication, Published, publish
from scheduler.watch.contents import content_digest
from specs.errors import HubAway, NoAccess
from specs.hub.eval_results import parse
from tests.support.attestations import attestation, base64url, jwks, signer
from tests.support.hub_content import add_benchmark, add_model, entry, submit
from tests.support.localhub import RunningHub, running_hub

BENCHMARK = "facts/capitals"
MODEL = "smol/one"
FARM = "farm"
PATH = ".eval_results/results.yaml"
VERDICT = "0123456789abcdef" * 2
SIGNER = signer()
TOKEN = SIGNER.sign(attestation())
CLAIM = entry(BENCHMARK, 41.2)


@dataclass
class Site:
    """A Hub with one model, its owner, and a farm that may only propose."""

    served: RunningHub
    model: RepoName
    hub: Hub
    owner: HfApi

    def publish(self, publication: Publication, hub: Hub | None = None) -> Published:
        return publish(hub or self.hub, FARM, publication)

    def threads(self) -> list[tuple[int, str, str, bool]]:
        """Number, author, status and kind of all that was opened."""
        found = self.owner.get_repo_discussions(MODEL)
        return sorted((each.num, each.author, each.status, each.is_pull_request) for each in found)

    def comments(self, number: int) -> list[DiscussionComment]:
        events = self.owner.get_discussion_details(MODEL, number).events
        return [each for each in events if isinstance(each, DiscussionComment) and not each.hidden]

    def read(self, revision: str = "main") -> str:
        return self.served.local.read_file(self.model, PATH, revision).decode()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running_hub(tmp_path / "hub") as served:
        add_benchmark(served.local, BENCHMARK)
        model = add_model(served.local, MODEL)
        hub = Hub(served.url, served.local.add_token(FARM), request_seconds=30)
        yield Site(served, model, hub, HfApi(endpoint=served.url, token=served.local.add_token("smol")))


def publication(**changes: Any) -> Publication:
    claim = ClaimPlace(
        model_id=MODEL,
        pull_request=None,
        path=PATH,
        entry=0,
        dataset_id=BENCHMARK,
        task_id="capitals",
        value=41.2,
        notes=None,
    )
    of_claim = {name: changes.pop(name) for name in list(changes) if name in ClaimPlace.__dataclass_fields__}
    facts: dict[str, Any] = {
        "verdict_id": VERDICT,
        "claim": replace(claim, **of_claim),
        "mode": "pull_request",
        "token": TOKEN,
        "source": None,
        "title": f"41.2 on {BENCHMARK} was reproduced {title_mark(VERDICT)}",
        "body": f"The facts.\n\n{body_mark(VERDICT)}",
    }
    return Publication(**{**facts, **changes})


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
    claim = parse(site.read("refs/pr/1").encode()).entries[0].claim
    assert claim is not None
    assert (claim.source_url, claim.source_name, claim.verify_token) == (
        "https://farm.example/claims/1",
        "reprofarm",
        None,
    )


def test_a_source_that_the_author_names_stays_and_the_proof_is_told_instead(site: Site) -> None:
    submit(site.served.local, site.model, CLAIM + "  source: {url: 'https://paper.example'}\n")
    done = site.publish(publication(token=None, source=Source("https://farm.example/claims/1", "reprofarm")))
    assert (done.kind, site.threads()) == ("published", [(1, FARM, "open", False)])


@pytest.mark.parametrize("mode", ["pull_request", "comment"])
def test_publishing_again_changes_nothing(site: Site, mode: str) -> None:
    submit(site.served.local, site.model, CLAIM)
    site.publish(publication(mode=mode))
    again = site.publish(publication(mode=mode))
    assert (again.kind, again.number) == ("already", 1)
    assert site.threads() == [(1, FARM, "open", mode == "pull_request")]


@pytest.mark.parametrize("ending", ["closed", "merged", "renamed"])
def test_a_pull_request_that_its_reader_dealt_with_is_not_opened_again(site: Site, ending: str) -> None:
    submit(site.served.local, site.model, CLAIM)
    site.publish(publication())
    if ending == "closed":
        site.owner.change_discussion_status(MODEL, 1, "closed")
    elif ending == "merged":
        site.owner.merge_pull_request(MODEL, 1)
    else:
        site.owner.rename_discussion(MODEL, 1, "Nice, a proof")
    assert (site.publish(publication()).kind, len(site.threads())) == ("already", 1)


def test_an_earlier_proof_is_found_behind_many_others(site: Site) -> None:
    submit(site.served.local, site.model, CLAIM)
    site.publish(publication())
    for number in range(60):
        other = f"7 on a/b was reproduced {title_mark(f'{number:032x}')}"
        site.served.local.open_discussion(site.model, other, "", FARM, pull_request=True)
    requests = len(site.served.requests)
    assert site.publish(publication()).number == 1
    # Two pages of the list, and no look into any of them.
    assert len(site.served.requests) - requests == 2


def test_what_somebody_else_opened_under_our_mark_does_not_count(site: Site) -> None:
    submit(site.served.local, site.model, CLAIM)
    site.owner.create_pull_request(MODEL, publication().title, description=publication().body)
    assert site.publish(publication()).kind == "published"
    assert (2, FARM, "open", True) in site.threads()


def test_two_verdicts_get_a_pull_request_each(site: Site) -> None:
    submit(site.served.local, site.model, CLAIM + entry(BENCHMARK, 50, more="  notes: cot\n"))
    site.publish(publication())
    other = "f" * 32
    site.publish(
        publication(verdict_id=other, title=f"50 {title_mark(other)}", body=body_mark(other), value=50.0, notes="cot")
    )
    assert [number for number, *_ in site.threads()] == [1, 2]


class CutOffError(RuntimeError):
    pass


@pytest.mark.parametrize("mode", ["pull_request", "comment"])
def test_a_crash_after_writing_is_made_good_by_the_next_try(
    site: Site, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(site.served.local, site.model, CLAIM)
    with monkeypatch.context() as patched:
        patched.setattr("scheduler.publish.writing._Desk._made", _interrupt)
        with pytest.raises(CutOffError):
            site.publish(publication(mode=mode))
    assert (site.publish(publication(mode=mode)).kind, len(site.threads())) == ("already", 1)


def _interrupt(*_: object, **__: object) -> Published:
    raise CutOffError


@pytest.mark.parametrize(("mode", "call"), [("pull_request", "create_commit"), ("comment", "create_discussion")])
def test_of_two_publishers_at_once_one_proof_stays_open(
    site: Site, mode: str, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(site.served.local, site.model, CLAIM)
    done = _at_once(site, publication(mode=mode), call, monkeypatch)
    assert sorted(each.kind for each in done) == ["already", "published"]
    assert {each.number for each in done} == {1}
    assert [(number, status) for number, _, status, _ in site.threads()] == [(1, "open"), (2, "closed")]
    assert "twice" in site.comments(2)[-1].content
    assert site.publish(publication(mode=mode)).number == 1


def test_of_two_comments_at_once_one_stays(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    number = submit(site.served.local, site.model, CLAIM, author="eve", create_pr=True)
    done = _at_once(site, publication(pull_request=number), "comment_discussion", monkeypatch)
    assert sorted(each.kind for each in done) == ["already", "published"]
    assert len([each for each in site.comments(1) if each.author == FARM]) == 1


def _at_once(site: Site, what: Publication, call: str, monkeypatch: pytest.MonkeyPatch) -> list[Published]:
    """Two publishers that both looked before either wrote, and that both wrote before either looked again."""
    meeting = threading.Barrier(2)
    really = getattr(HfApi, call)

    def met(*args: Any, **options: Any) -> Any:
        meeting.wait(60)
        answer = really(*args, **options)
        meeting.wait(60)
        return answer

    done: list[Published] = []
    monkeypatch.setattr(HfApi, call, met)
    hubs = [Hub(site.served.url, str(site.hub.api.token), 30) for _ in range(2)]
    threads = [threading.Thread(target=lambda hub=hub: done.append(site.publish(what, hub))) for hub in hubs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done


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


def test_an_entry_that_carries_the_token_needs_nothing(site: Site) -> None:
    submit(site.served.local, site.model, f"{CLAIM}  verifyToken: {TOKEN}\n")
    assert (site.publish(publication()).kind, site.threads()) == ("already", [])


def test_a_proof_of_another_kind_is_not_replaced(site: Site) -> None:
    theirs = f"{base64url(json.dumps({'alg': 'EdDSA'}).encode())}.e30.AAAA"
    submit(site.served.local, site.model, f"{CLAIM}  verifyToken: {theirs}\n")
    done = site.publish(publication())
    assert (done.kind, site.threads()) == ("withdrawn", [])
    assert "not replaced" in done.reason


@pytest.mark.parametrize("old", [" null", " <token>", " a.b.c", "", " " + SIGNER.sign(attestation(seed=8))])
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


@pytest.mark.parametrize("mode", ["pull_request", "comment"])
def test_nothing_is_written_under_the_id_that_a_model_had(site: Site, mode: str) -> None:
    submit(site.served.local, site.model, CLAIM)
    site.served.local.move_repo(site.model, names.model("smol/renamed"))
    done = site.publish(publication(mode=mode))
    assert (done.kind, done.reason) == ("withdrawn", f"{MODEL} is smol/renamed on the Hub")
    assert site.threads() == []


def test_a_token_that_may_not_write_is_the_operators_to_change(site: Site) -> None:
    submit(site.served.local, site.model, CLAIM)
    reader = Hub(site.served.url, site.served.local.add_token("reader", role="read"), 30)
    for mode in ("pull_request", "comment"):
        with pytest.raises(NoAccess):
            publish(reader, "reader", publication(mode=mode))
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
