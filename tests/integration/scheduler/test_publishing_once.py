"""Each verdict is published once, whoever publishes it how often, on a real local Hub."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from huggingface_hub import HfApi

from scheduler.hub.hub import Hub
from scheduler.publish.draft import Draft, Published
from scheduler.publish.text import answer_body, body_mark, title_mark
from specs.errors import HubAway
from tests.support.hub_content import entry, submit
from tests.support.proposing_site import BENCHMARK, CLAIM, FARM, MODEL, VERDICT, Site, proposing_site, publication

site = proposing_site


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
    # Two pages of the list, and no look into any but its own.
    assert len(site.served.requests) - requests == 3


def test_what_was_just_opened_and_is_not_known_everywhere_yet_is_found_by_the_next_try(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(site.served.local, site.model, CLAIM)
    really = site.hub.api.get_discussion_details
    with monkeypatch.context() as patched:
        patched.setattr(site.hub.api, "get_discussion_details", lambda model_id, number: really(model_id, number + 9))
        with pytest.raises(HubAway, match="not on the Hub"):
            site.publish(publication())
    assert (site.publish(publication()).number, len(site.threads())) == (1, 1)


def test_what_somebody_else_opened_under_our_mark_does_not_count(site: Site) -> None:
    submit(site.served.local, site.model, CLAIM)
    site.owner.create_pull_request(MODEL, publication().title, description=publication().body)
    assert site.publish(publication()).kind == "published"
    assert (2, FARM, "open", True) in site.threads()


@pytest.mark.parametrize(
    "title", [None, "Nice", f"Nice {title_mark('f' * 32)}"], ids=["kept", "without", "the other's"]
)
def test_two_verdicts_get_a_pull_request_each_whatever_title_the_first_has_by_then(
    site: Site, title: str | None
) -> None:
    submit(site.served.local, site.model, CLAIM + entry(BENCHMARK, 50, more="  notes: cot\n"))
    site.publish(publication())
    other = "f" * 32
    if title is not None:
        site.owner.rename_discussion(MODEL, 1, title)
        # What becomes of a score is told where it was not reproduced.
        site.hub.api.comment_discussion(MODEL, 1, f"A later run reproduced it. {body_mark(other)}")
    site.publish(
        publication(verdict_id=other, title=f"50 {title_mark(other)}", body=body_mark(other), value=50.0, notes="cot")
    )
    assert [number for number, *_ in site.threads()] == [1, 2]


def test_what_the_farm_quotes_in_an_answer_does_not_count_as_the_verdict(site: Site) -> None:
    number = submit(site.served.local, site.model, CLAIM, author="eve", create_pr=True)
    assert number is not None
    # The reason why another entry of hers was refused quotes its key.
    site.hub.api.comment_discussion(MODEL, number, answer_body(f"not known: {body_mark(VERDICT)}", "c0ffee"))
    assert site.publish(publication(pull_request=number)).kind == "published"
    assert site.comments(number)[-1].content == publication().body
    assert site.publish(publication(pull_request=number)).kind == "already"


class CutOffError(RuntimeError):
    pass


@pytest.mark.parametrize("mode", ["pull_request", "comment"])
def test_a_crash_after_writing_is_made_good_by_the_next_try(
    site: Site, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(site.served.local, site.model, CLAIM)
    with monkeypatch.context() as patched:
        patched.setattr("scheduler.publish.writing._Writer._made", _interrupt)
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


def _at_once(site: Site, what: Draft, call: str, monkeypatch: pytest.MonkeyPatch) -> list[Published]:
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
