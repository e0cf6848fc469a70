"""The signing key on disk, and what is signed with it."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from scheduler.badges.signing import KeyFileError, Signer, public_jwks, public_path
from scheduler.settings import Settings
from specs.attestation import verify
from specs.errors import TokenError
from tests.support.attestations import attestation, jwks, parts

RFC_8037_KEY = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
RFC_8037_THUMBPRINT = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def settings(folder: Path) -> Settings:
    return Settings(signing_key=folder / "signing.pem", retired_keys=folder / "retired")


def write_pem(path: Path, key: object, mode: int = 0o600, password: bytes | None = None) -> Path:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    assert isinstance(key, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    path.chmod(mode)
    return path


def test_a_made_key_is_private_and_signs_after_it_was_loaded_again(tmp_path: Path) -> None:
    made = Signer.create(tmp_path / "keys" / "signing.pem")
    assert (tmp_path / "keys" / "signing.pem").stat().st_mode & 0o777 == 0o600
    loaded = Signer.load(tmp_path / "keys" / "signing.pem")
    assert loaded.key_id == made.key_id
    assert verify(loaded.sign(attestation()), jwks(made)) == attestation()
    assert {path.name for path in (tmp_path / "keys").iterdir()} == {"signing.pem", "signing.jwk.json"}


def test_a_token_is_canonical_and_names_its_key_algorithm_and_type(tmp_path: Path) -> None:
    signer = Signer.create(tmp_path / "signing.pem")
    first, second = signer.sign(attestation()), signer.sign(attestation())
    header, payload, _ = parts(first)
    assert first == second
    assert header == {"alg": "EdDSA", "kid": signer.key_id, "typ": "reprofarm-attestation+jwt"}
    assert payload == attestation().model_dump(mode="json")
    assert list(payload) == sorted(payload)


def test_other_software_verifies_a_token_with_the_listed_key(tmp_path: Path) -> None:
    token = Signer.create(tmp_path / "signing.pem").sign(attestation())
    listed = jwt.PyJWKSet.from_dict(public_jwks(settings(tmp_path)))
    key = listed[jwt.get_unverified_header(token)["kid"]]
    assert jwt.decode(token, key, algorithms=["EdDSA"])["model"] == "smol/one"


def test_the_key_id_is_the_thumbprint_of_the_standard() -> None:
    signer = Signer(ed25519.Ed25519PrivateKey.from_private_bytes(RFC_8037_KEY))
    assert signer.key_id == RFC_8037_THUMBPRINT


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "signing.pem"
    Signer.create(path)
    before = path.read_bytes(), public_path(path).read_bytes()
    with pytest.raises(KeyFileError, match="never overwritten"):
        Signer.create(path)
    assert (path.read_bytes(), public_path(path).read_bytes()) == before


def test_of_many_who_make_a_key_at_once_one_does(tmp_path: Path) -> None:
    path = tmp_path / "signing.pem"
    made: list[Signer] = []
    refused: list[KeyFileError] = []
    start = threading.Barrier(8)

    def make() -> None:
        start.wait()
        try:
            made.append(Signer.create(path))
        except KeyFileError as error:
            refused.append(error)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(made), len(refused)) == (1, 7)
    assert Signer.load(path).key_id == made[0].key_id


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_a_key_that_others_can_open_is_refused(tmp_path: Path, mode: int) -> None:
    path = write_pem(tmp_path / "signing.pem", ed25519.Ed25519PrivateKey.generate(), mode)
    with pytest.raises(KeyFileError, match=f"open to others \\(mode {mode:04o}\\)"):
        Signer.load(path)


def test_a_key_mounted_from_a_secret_may_be_read_through_its_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_pem(tmp_path / "signing.pem", ed25519.Ed25519PrivateKey.generate(), 0o640)
    monkeypatch.setattr("os.geteuid", lambda: path.stat().st_uid + 1)
    Signer.load(path)
    for mode in (0o660, 0o644):
        path.chmod(mode)
        with pytest.raises(KeyFileError, match="open to others"):
            Signer.load(path)


def test_what_is_no_ed25519_key_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "signing.pem"
    with pytest.raises(KeyFileError, match="there is no signing key"):
        Signer.load(path)
    write_pem(path, ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(KeyFileError, match="not an Ed25519 key"):
        Signer.load(path)
    write_pem(path, ed25519.Ed25519PrivateKey.generate(), password=b"secret")
    with pytest.raises(KeyFileError, match="encrypted"):
        Signer.load(path)
    path.write_text("-----BEGIN PRIVATE KEY-----\n")
    with pytest.raises(KeyFileError, match="not a private key in PEM form"):
        Signer.load(path)
    with pytest.raises(KeyFileError, match="cannot be read"):
        Signer.load(tmp_path)


def test_a_public_half_of_another_key_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "signing.pem"
    Signer.create(path)
    write_pem(path, ed25519.Ed25519PrivateKey.generate())
    with pytest.raises(KeyFileError, match="public half of another key"):
        Signer.load(path)


def test_after_rotation_old_badges_still_verify(tmp_path: Path) -> None:
    farm = settings(tmp_path)
    token = Signer.create(farm.signing_key).sign(attestation())
    farm.signing_key.unlink()
    with pytest.raises(KeyFileError, match="earlier key; `reprofarm keys retire` keeps it listed"):
        Signer.create(farm.signing_key)
    farm.retired_keys.mkdir()
    public_path(farm.signing_key).rename(farm.retired_keys / "2026.json")
    renewed = Signer.create(farm.signing_key)
    keys = public_jwks(farm)
    assert [key["kid"] for key in keys["keys"]] == [renewed.key_id, parts(token)[0]["kid"]]
    assert verify(token, dict(keys)) == attestation()


def test_the_public_keys_are_listed_without_access_to_the_private_one(tmp_path: Path) -> None:
    farm = settings(tmp_path)
    signer = Signer.create(farm.signing_key)
    farm.signing_key.unlink()
    assert public_jwks(farm) == {"keys": [signer.public_jwk]}


def test_a_key_without_its_public_half_beside_it_is_listed_too(tmp_path: Path) -> None:
    farm = settings(tmp_path)
    signer = Signer.create(farm.signing_key)
    public_path(farm.signing_key).unlink()
    assert public_jwks(farm) == {"keys": [signer.public_jwk]}


def test_a_farm_that_never_signed_lists_no_keys(tmp_path: Path) -> None:
    assert public_jwks(settings(tmp_path)) == {"keys": []}


def test_no_private_key_is_ever_listed(tmp_path: Path) -> None:
    farm = settings(tmp_path)
    farm.retired_keys.mkdir()
    leaked = {**Signer(ed25519.Ed25519PrivateKey.generate()).public_jwk, "d": "AAAA"}
    (farm.retired_keys / "old.json").write_text(json.dumps(leaked))
    with pytest.raises(KeyFileError, match=r"old\.json is not a public Ed25519 key"):
        public_jwks(farm)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"x": 1}', '{"x": "AAAA", "kty": "OKP", "crv": "Ed25519"}', "[" * 10**5]
)
def test_a_broken_retired_key_is_named(tmp_path: Path, text: str) -> None:
    farm = settings(tmp_path)
    farm.retired_keys.mkdir()
    (farm.retired_keys / "old.json").write_text(text)
    with pytest.raises(KeyFileError, match=r"old\.json is not a public"):
        public_jwks(farm)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"reproduced": 0.9}, "do not match within its tolerance"),
        ({"claimed_value": 0.412}, "not its claimed proportion"),
        ({"versions": {"vllm": "x" * 20_000}}, "longer than"),
        ({"iat": 2**60}, "no canonical form"),
    ],
)
def test_nothing_is_signed_that_would_not_pass_as_a_proof(
    tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    with pytest.raises(TokenError, match=reason):
        Signer.create(tmp_path / "signing.pem").sign(attestation(**changes))
