"""One signing key takes another's place, and every badge can be checked at every moment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from scheduler.badges import key_rotation
from scheduler.badges.key_rotation import announce, finish, lost_with, replace_revoked, retire, rotate
from scheduler.badges.signing import KeyFileError, Signer, next_path, public_jwks, public_path, write_public
from scheduler.settings import Settings
from specs.attestation import verify
from tests.support.attestations import attestation


@pytest.fixture
def farm(tmp_path: Path) -> Settings:
    keys = tmp_path / "keys"
    found = Settings(signing_key=keys / "signing.pem", retired_keys=keys / "retired")
    Signer.create(found.signing_key)
    return found


def listed(farm: Settings) -> list[str]:
    return [jwk["kid"] for jwk in public_jwks(farm)["keys"]]


def signs(farm: Settings) -> str:
    """The id of the key that signs, whose signature the listed keys must prove."""
    signer = Signer.load(farm.signing_key)
    assert verify(signer.sign(attestation()), dict(public_jwks(farm))) == attestation()
    return signer.key_id


def test_a_key_is_listed_before_it_signs_and_after_it_signed(farm: Settings) -> None:
    old = signs(farm)
    new, made = announce(farm)
    assert (made, signs(farm), listed(farm)) == (True, old, [old, new])
    assert announce(farm) == (new, False), "one at a time"
    assert rotate(farm) == key_rotation.Rotation(old, new)
    assert (signs(farm), listed(farm)) == (new, [new, old])
    assert not next_path(farm.signing_key).exists()
    assert farm.signing_key.stat().st_mode & 0o777 == 0o600


def test_badges_of_every_earlier_key_stay_verifiable(farm: Settings) -> None:
    tokens = []
    for _ in range(4):
        tokens.append(Signer.load(farm.signing_key).sign(attestation()))
        rotate(farm, at_once=True)
    for token in tokens:
        verify(token, dict(public_jwks(farm)))


def test_a_key_that_nobody_can_know_yet_signs_only_when_that_is_asked_for(farm: Settings) -> None:
    with pytest.raises(KeyFileError, match="no key is announced: make one with `reprofarm keys new`"):
        rotate(farm)
    old = signs(farm)
    assert rotate(farm, at_once=True).retired == old
    assert signs(farm) != old


@pytest.mark.parametrize("dies_before", range(3))
def test_a_rotation_that_dies_anywhere_leaves_a_farm_that_signs_and_is_finished_by_the_next(
    farm: Settings, monkeypatch: pytest.MonkeyPatch, dies_before: int
) -> None:
    old = signs(farm)
    early = Signer.load(farm.signing_key).sign(attestation())
    new, _ = announce(farm)
    steps = 0

    def counted(step: Callable[..., None]) -> Callable[..., None]:
        def act(*arguments: object) -> None:
            nonlocal steps
            if steps == dies_before:
                raise KeyboardInterrupt
            steps += 1
            step(*arguments)

        return act

    with monkeypatch.context() as dying:
        # The three things that a rotation does to files.
        dying.setattr(key_rotation, "write_public", counted(write_public))
        dying.setattr(key_rotation, "_move", counted(key_rotation._move))
        with pytest.raises(KeyboardInterrupt):
            rotate(farm)
    assert steps == dies_before
    assert signs(farm) == (old if dies_before < 2 else new)
    assert set(listed(farm)) == {old, new}
    verify(early, dict(public_jwks(farm)))
    assert rotate(farm) == key_rotation.Rotation(old, new)
    assert (signs(farm), listed(farm)) == (new, [new, old])
    assert finish(farm) is None


def test_an_announcement_that_died_before_its_public_half_is_finished(farm: Settings) -> None:
    new, _ = announce(farm)
    public_path(next_path(farm.signing_key)).unlink()
    with pytest.raises(KeyFileError, match="no key is announced"):
        rotate(farm)
    assert announce(farm) == (new, True)
    assert new in listed(farm)


def test_a_retired_key_is_listed_and_gone(farm: Settings) -> None:
    old = signs(farm)
    assert retire(farm) == key_rotation.Rotation(old, None)
    assert listed(farm) == [old]
    assert not farm.signing_key.exists()
    with pytest.raises(KeyFileError, match="no key to retire"):
        retire(farm)
    new, made = announce(farm)
    assert (made, signs(farm)) == (True, new), "the first key of a farm signs at once"


def test_a_lost_private_key_can_be_retired_by_its_public_half(farm: Settings) -> None:
    old = signs(farm)
    farm.signing_key.unlink()
    with pytest.raises(KeyFileError, match="`reprofarm keys retire` keeps it listed"):
        announce(farm)
    retire(farm)
    new, _ = announce(farm)
    assert listed(farm) == [new, old]


def test_a_revoked_key_is_replaced_by_a_fresh_one_and_not_by_what_lay_beside_it(farm: Settings) -> None:
    old = signs(farm)
    announced, _ = announce(farm)
    done = replace_revoked(farm, old)
    assert done is not None
    assert done.current == signs(farm)
    assert done.current not in (old, announced)
    assert announced not in listed(farm)
    assert replace_revoked(farm, old) is None, "it signs nothing now"


def test_of_a_rotation_that_died_between_two_keys_neither_signs_once_the_earlier_is_revoked(farm: Settings) -> None:
    old = signs(farm)
    new, _ = announce(farm)
    next_path(farm.signing_key).replace(farm.signing_key)
    assert (lost_with(farm, old), lost_with(farm, new)) == ([old, new], [new])
    for each in lost_with(farm, old):
        replace_revoked(farm, each)
    assert signs(farm) not in (old, new)
    assert lost_with(farm, old) == []


def test_a_revoked_key_that_was_only_announced_never_signs(farm: Settings) -> None:
    old = signs(farm)
    announced, _ = announce(farm)
    assert replace_revoked(farm, announced) == key_rotation.Rotation(announced, None)
    assert (signs(farm), listed(farm)) == (old, [old])


def test_keys_that_cannot_be_written_say_where_they_are_changed(
    farm: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(key_rotation, "write_public", read_only)
    with pytest.raises(KeyFileError, match="Read-only file system; keys that are mounted from a secret"):
        retire(farm)
    assert farm.signing_key.exists()
