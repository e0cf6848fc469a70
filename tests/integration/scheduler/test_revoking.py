"""Badges and keys that count no more, on both databases; and the commands for it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import DiscussionComment, HfApi
from sqlalchemy import select
from typer.testing import CliRunner, Result

from deploy.cli.control_plane import operator
from deploy.cli.main import app
from scheduler.badges.issuing import sign, sign_missing
from scheduler.badges.revoking import revoke, revoke_key, revoke_left_over
from scheduler.badges.signing import KeyFileError, Signer
from scheduler.database.session import Database
from scheduler.database.tables import Badge, Event, Publication, RevokedKey, now
from scheduler.farm import Farm
from scheduler.settings import Settings
from specs.attestation import verify
from specs.errors import InterventionError, TokenError
from specs.judging.verdict import Outcome
from tests.support.api import RunningApi, running_api
from tests.support.callers import token
from tests.support.databases import ON_BOTH, Databases, mostly_sqlite
from tests.support.deciding import complete
from tests.support.publishing_farm import publishing_farm
from tests.support.rows import Rows, comparison

OPERATOR = "operator:ada"


databases = mostly_sqlite


def badge_of(database: Database, claim_id: str) -> Badge:
    with database.reading() as session:
        return session.get_one(Badge, claim_id)


def events(database: Database, subject: str) -> list[tuple[str, str, str, str]]:
    with database.reading() as session:
        found = session.scalars(select(Event).where(Event.subject == subject).order_by(Event.event_id))
        return [(event.actor, event.subject_id, event.what, event.why) for event in found]


def test_one_badge_is_revoked_once_with_who_when_and_why(rows: Rows) -> None:
    claim_id, other = rows.verified("a/a"), rows.verified("b/b")
    badge = badge_of(rows.database, claim_id)
    done = revoke(rows.database, badge.badge_id[:8], "the log was\nmade up", OPERATOR)
    assert done == [f"badge {badge.badge_id} of claim {claim_id} is revoked, and listed as such at /v1/revocations"]
    revoked = badge_of(rows.database, claim_id)
    assert revoked.revoked_at is not None
    assert revoked.revoked_reason == "the log was made up"
    assert revoked.token == badge.token, "what was signed stays on the record"
    assert badge_of(rows.database, other).revoked_at is None
    assert events(rows.database, "badge") == [(OPERATOR, badge.badge_id, "revoked", "the log was made up")]
    assert "already" in revoke(rows.database, claim_id, "another reason", "operator:bob")[0]
    assert badge_of(rows.database, claim_id).revoked_reason == "the log was made up"


def test_what_stands_on_the_hub_is_left_to_its_owners_and_that_is_said(rows: Rows) -> None:
    claim_id = rows.verified()
    rows.publication(claim_id, state="published", url="https://hub.test/a/a/discussions/7", due_at=None)
    done = revoke(rows.database, claim_id, "a mistake", OPERATOR)
    assert "https://hub.test/a/a/discussions/7" in done[1]
    assert "the farm takes nothing back" in done[1]


@pytest.mark.parametrize(
    ("mode", "right", "call"),
    [
        ("comment", 100, "create_discussion"),
        ("pull_request", 100, "create_commit"),
        ("comment", 180, "comment_discussion"),
    ],
    ids=["told", "proposed", "commented"],
)
def test_a_badge_that_is_revoked_while_it_is_published_does_not_stay_on_the_hub(
    tmp_path: Path, databases: Databases, monkeypatch: pytest.MonkeyPatch, mode: str, right: int, call: str
) -> None:
    with publishing_farm(tmp_path, databases, publish={"mode": mode}) as there:
        complete(there.farm, right)
        claim_id = there.living()[100 * right / 200].claim_id
        write = getattr(HfApi, call)
        said: list[str] = []

        def revoke_first(*arguments: Any, **more: Any) -> Any:
            if not said:
                said.extend(revoke(there.farm.database, claim_id, "made up", OPERATOR))
            return write(*arguments, **more)

        monkeypatch.setattr(HfApi, call, revoke_first)
        there.publish()
        monkeypatch.undo()
        there.publish()
        assert there.publications()[claim_id] == "withdrawn"
        reader = there.user("reader")
        found = [reader.get_discussion_details("tiny/model", number) for number, _, _ in there.threads()]
        proofs = [
            event
            for thread in found
            if thread.status == "open"
            for event in thread.events
            if isinstance(event, DiscussionComment) and not event.hidden and claim_id in event.content
        ]
        assert len(found) == (1 if call == "comment_discussion" else 2), "it was written"
        assert proofs == []
        assert said[-1] == "it is not published any more; what is being written to the Hub just now is taken back"


def test_a_badge_that_was_being_published_when_policy_began_to_publish_nothing_waits_and_is_taken_back_once_revoked(
    tmp_path: Path, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    with publishing_farm(tmp_path, databases) as there:
        complete(there.farm, 100)
        claim_id = there.living()[50].claim_id
        with monkeypatch.context() as patched:
            # It has opened the discussion, and dies.
            patched.setattr("scheduler.publish.writing._Writer._made", _interrupt)
            with pytest.raises(KeyboardInterrupt):
                there.publish()
        (tmp_path / "policy.yaml").write_text("publish: {mode: 'off'}")
        there.farm = Farm(there.farm.settings)
        with there.farm.database.transaction() as session:
            # As where the Hub refused the next try.
            session.get_one(Publication, claim_id).due_at = now() + timedelta(days=1)
        there.publish()
        reader = there.user("reader")
        assert there.publications()[claim_id] == "pending"
        assert reader.get_discussion_details("tiny/model", 2).status == "open", "it is true"
        revoke(there.farm.database, claim_id, "made up", OPERATOR)
        there.publish()
        assert there.publications()[claim_id] == "withdrawn"
        assert reader.get_discussion_details("tiny/model", 2).status == "closed"
        there.farm.database.engine.dispose()


def _interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@ON_BOTH
def test_a_badge_that_was_being_signed_when_its_key_was_revoked_is_not_published(
    tmp_path: Path, databases: Databases
) -> None:
    with publishing_farm(tmp_path, databases) as there:
        complete(there.farm, 100)
        sign_missing(there.farm)
        claim_id = there.living()[50].claim_id
        database, key_id = there.farm.database, badge_of(there.farm.database, claim_id).key_id
        revoke_key(database, key_id, "stolen", OPERATOR)
        # As if it had been kept a moment later: nobody has revoked it yet.
        with database.transaction() as session:
            badge = session.get_one(Badge, claim_id)
            badge.revoked_at = badge.revoked_reason = None
        there.publish()
        assert (there.publications()[claim_id], there.threads()) == ("pending", [(1, "fan", "Add a result")])
        assert revoke_left_over(database) == 1
        with database.transaction() as session:
            session.get_one(Publication, claim_id).due_at = now()
        there.publish()
        assert there.publications()[claim_id] == "withdrawn"


def test_what_is_no_badge_cannot_be_revoked(rows: Rows) -> None:
    for target, reason in ((rows.claim(), "no badge"), ("0" * 32, "no badge"), ("abc", "first 6 characters")):
        with pytest.raises(InterventionError, match=reason):
            revoke(rows.database, target, "?", OPERATOR)


@ON_BOTH
def test_a_revoked_key_takes_all_its_badges_with_it_and_no_others(rows: Rows) -> None:
    ours = [rows.verified(), rows.verified()]
    other = rows.verified()
    with rows.database.transaction() as session:
        session.get_one(Badge, other).key_id = "another-key"
    already = badge_of(rows.database, ours[0]).badge_id
    revoke(rows.database, already, "first", OPERATOR)
    key_id = rows.signer.key_id
    done = revoke_key(rows.database, key_id, "it was on a stolen disk", OPERATOR)
    assert done[1] == "badges revoked with it: 1"
    assert [badge_of(rows.database, each).revoked_reason for each in (*ours, other)] == [
        "first",
        "its key is revoked: it was on a stolen disk",
        None,
    ]
    assert events(rows.database, "key") == [(OPERATOR, key_id, "revoked", "it was on a stolen disk")]
    revoke_key(rows.database, key_id, "again", "operator:bob")
    with rows.database.reading() as session:
        assert [row.revoked_reason for row in session.scalars(select(RevokedKey))] == ["it was on a stolen disk"]


def test_a_badge_that_was_being_signed_when_its_key_was_revoked_is_revoked_too(rows: Rows) -> None:
    assert revoke_left_over(rows.database) == 0
    revoke_key(rows.database, rows.signer.key_id, "stolen", OPERATOR)
    late = rows.verified()
    assert revoke_left_over(rows.database) == 1
    assert badge_of(rows.database, late).revoked_reason == "its key is revoked: stolen"
    assert revoke_left_over(rows.database) == 0


def test_nothing_is_signed_by_a_revoked_key_and_verdicts_wait_for_another(
    tmp_path: Path, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    farm = Farm(
        Settings(
            database_url=rows.database.url,
            signing_key=tmp_path / "keys" / "signing.pem",
            retired_keys=tmp_path / "keys" / "retired",
        )
    )
    revoke_key(farm.database, Signer.create(farm.settings.signing_key).key_id, "stolen", OPERATOR)
    claim_id = rows.decided(Outcome.VERIFIED, found=comparison())
    with pytest.raises(KeyFileError, match=r"is revoked, .*: `reprofarm keys revoke` once more"):
        sign(farm, [claim_id])
    sign_missing(farm)
    assert "1 verified claims wait for their badge" in caplog.text
    with farm.database.reading() as session:
        assert session.get(Badge, claim_id) is None


@pytest.fixture
def farm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningApi]:
    """An API whose farm the commands find by its settings; nothing of it is restarted."""
    monkeypatch.setenv("LOGNAME", "ada")
    with running_api(tmp_path) as api:
        for name in ("database_url", "signing_key", "retired_keys"):
            monkeypatch.setenv(f"REPROFARM_{name.upper()}", str(getattr(api.settings, name)))
        yield api


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def keys() -> dict[str, str]:
    """Each key's state, as the command shows it."""
    return {key["key_id"]: key["state"] for key in json.loads(run("keys", "show", "--json").stdout)["items"]}


def test_keys_are_made_rotated_and_revoked_by_commands_while_the_farm_runs(farm: RunningApi) -> None:
    assert "there was none" in run("keys", "new").output
    (first,) = keys()
    farm.rows.signer = Signer.load(farm.settings.signing_key)
    claim_id = farm.rows.verified()
    token = farm.json(f"/v1/claims/{claim_id}/badge")["token"]
    assert run("keys", "rotate").exit_code == 3
    assert run("keys", "new").exit_code == 0
    assert [*keys().values()] == ["current", "announced"]
    assert len(farm.json("/.well-known/jwks.json")["keys"]) == 2
    assert run("keys", "rotate").exit_code == 0
    assert keys()[first] == "retired"
    second = next(key for key, state in keys().items() if state == "current")
    verify(token, farm.json("/.well-known/jwks.json"))
    shown = run("keys", "show").output
    assert [line.split()[-2:] for line in shown.splitlines() if line.startswith(first)] == [["1", "0"]]

    told = run("keys", "revoke", "--why", "stolen", "--", first[:12])
    assert told.exit_code == 0, told.output
    assert "badges revoked with it: 1" in told.output
    assert keys() == {second: "current", first: "revoked"}
    with pytest.raises(TokenError, match="not among the trusted keys"):
        verify(token, farm.json("/.well-known/jwks.json"))
    assert farm.json("/v1/revocations/keys")["items"][0]["key_id"] == first
    assert farm.json(f"/v1/claims/{claim_id}")["badge"]["revoked"]
    record = [(actor, what) for actor, _, what, _ in events(farm.rows.database, "key")]
    assert set(record) == {(operator(), what) for what in ("current", "announced", "retired", "revoked")}

    told = run("keys", "revoke", "--why", "stolen too", "--", second)
    third = next(key for key, state in keys().items() if state == "current")
    assert f"key {third} signs from now on" in told.output
    assert [key["kid"] for key in farm.json("/.well-known/jwks.json")["keys"]] == [third]


def listed(farm: RunningApi) -> list[str]:
    """The keys with which anybody checks badges now."""
    return [key["kid"] for key in farm.json("/.well-known/jwks.json")["keys"]]


def test_with_a_stolen_key_of_a_cluster_goes_the_announced_one_and_a_copy_gets_a_fresh_one(
    farm: RunningApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("keys", "new")
    run("keys", "new")
    stolen, beside = keys()
    mounted, copy = farm.settings.signing_key.parent, tmp_path / "signing"
    shutil.copytree(mounted, copy / "keys")
    # A pod cannot open the lock in its mount; here this keeps even root from it.
    (mounted / "rotation.lock").unlink()
    (mounted / "rotation.lock").mkdir()
    told = run("keys", "revoke", "--why", "the secret was read", "--", stolen)
    assert told.exit_code == 3, told.output
    assert f"the farm signs nothing with {stolen} and {beside}" in told.output
    assert listed(farm) == []
    revoked = {key["key_id"]: key["reason"] for key in farm.json("/v1/revocations/keys")["items"]}
    assert revoked == {
        stolen: "the secret was read",
        beside: f"it lay beside key {stolen}, which is revoked: the secret was read",
    }

    for name in ("DATABASE_URL", "SIGNING_KEY", "RETIRED_KEYS"):
        monkeypatch.delenv(f"REPROFARM_{name}")
    told = run("keys", "revoke", "--var", str(copy), "--why", "the secret was read", "--", stolen)
    assert told.exit_code == 0, told.output
    assert "not on the record: there is no farm's database" in told.output
    shutil.rmtree(mounted)
    shutil.copytree(copy / "keys", mounted)
    (fresh,) = listed(farm)
    assert fresh not in (stolen, beside)
    assert Signer.load(farm.settings.signing_key).key_id == fresh
    assert not list(mounted.glob("*.next.*"))


def test_an_announced_key_that_is_revoked_does_not_come_to_sign(farm: RunningApi) -> None:
    run("keys", "new")
    run("keys", "new")
    first, announced = keys()
    # As by a command that died before it came to the files.
    revoke_key(farm.rows.database, announced, "stolen", OPERATOR)
    told = run("keys", "rotate")
    assert told.exit_code == 3
    assert "no key is announced" in told.output
    assert listed(farm) == [first]
    assert Signer.load(farm.settings.signing_key).key_id == first


def test_a_retired_key_is_revoked_where_no_key_can_be_written(farm: RunningApi) -> None:
    run("keys", "new")
    (first,) = keys()
    run("keys", "rotate", "--at-once")
    (farm.settings.signing_key.parent / "rotation.lock").unlink()
    (farm.settings.signing_key.parent / "rotation.lock").mkdir()
    told = run("keys", "revoke", "--why", "stolen", "--", first)
    assert (told.exit_code, first in listed(farm)) == (0, False), told.output


@pytest.fixture(params=["database", "api"])
def there(request: pytest.FixtureRequest, farm: RunningApi, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a command is told to act on the farm's own database, or at its API."""
    if request.param == "database":
        return []
    secret = token(farm, "ops", "operate")["authorization"].removeprefix("Bearer ")
    monkeypatch.setenv("REPROFARM_TOKEN", secret)
    return ["--api", farm.url]


@pytest.mark.parametrize("of", ["claim_id", "badge_id"])
@pytest.mark.parametrize("chars", [8, 32])
def test_a_badge_is_revoked_by_an_id_or_its_beginning_wherever_the_command_acts(
    farm: RunningApi, there: list[str], of: str, chars: int
) -> None:
    claim_id, other = farm.rows.verified(), farm.rows.verified()
    typed = getattr(badge_of(farm.rows.database, claim_id), of)[:chars]
    told = run("revoke", typed, "--why", "the log was made up", *there)
    assert told.exit_code == 0, told.output
    assert badge_of(farm.rows.database, claim_id).revoked_reason == "the log was made up"
    assert badge_of(farm.rows.database, other).revoked_at is None


def test_the_beginning_of_a_claims_id_and_of_anothers_badge_revokes_neither(farm: RunningApi, there: list[str]) -> None:
    claim_id, other = farm.rows.verified(), farm.rows.verified()
    with farm.rows.database.transaction() as session:
        session.get_one(Badge, other).badge_id = claim_id[:8] + "0" * 24
    told = run("revoke", claim_id[:8], "--why", "the log was made up", *there)
    assert told.exit_code == 3
    assert f"several badges fit {claim_id[:8]}: " in told.output
    assert [badge_of(farm.rows.database, each).revoked_at for each in (claim_id, other)] == [None, None]


def test_a_badge_is_revoked_by_a_command_and_the_check_of_its_token_says_so(farm: RunningApi) -> None:
    run("keys", "new")
    farm.rows.signer = Signer.load(farm.settings.signing_key)
    claim_id = farm.rows.verified()
    token = farm.json(f"/v1/claims/{claim_id}/badge")["token"]
    assert run("verify-token", token, "--api", farm.url).exit_code == 0
    told = run("revoke", claim_id[:8], "--why", "the log was made up")
    assert told.exit_code == 0, told.output
    checked = run("verify-token", token, "--api", farm.url)
    assert checked.exit_code == 1
    assert "the log was made up" in checked.output
    shown = run("show", claim_id, "--api", farm.url)
    assert "the log was made up" in shown.output


def test_keys_that_no_farm_has_are_not_revoked(farm: RunningApi) -> None:
    told = run("keys", "revoke", "no-such-key", "--why", "?")
    assert told.exit_code == 3
    assert "no keys have an id like" in told.output


def test_keys_of_a_cluster_are_made_where_its_database_is_out_of_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REPROFARM_DATABASE_URL", raising=False)
    var = tmp_path / "var"
    told = run("keys", "new", "--var", str(var))
    assert told.exit_code == 0, told.output
    assert "not on the record: there is no farm's database" in told.output
    assert {path.name for path in (var / "keys").iterdir()} >= {"signing.pem", "signing.jwk.json"}
    assert not (var / "reprofarm.db").exists()
