"""The signing key, and all that is done with it. No other module touches the private key.

Beside the private key, `signing.pem`, lies its public half, `signing.jwk.json`: processes that only show public keys
read that and need no access to the private one. `signing.next.pem` and its public half are those of a key that is
announced and does not sign yet. How one takes the other's place is in scheduler/badges/key_rotation.py.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
import tempfile
from pathlib import Path

import rfc8785
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from jwt.api_jws import encode as encode_jws

from scheduler.settings import Settings
from specs.attestation import ALGORITHM, TYPE, Attestation, verify
from specs.errors import PolicyError, TokenError

MAX_KEY_FILE_BYTES = 16 * 1024

Jwk = dict[str, str]


class KeyFileError(PolicyError):
    """A key file is not there, not what it should be, or open to others; the operator must act."""


class Signer:
    """Signs attestations with one Ed25519 key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public_jwk = _jwk(key.public_key())
        """The public half (RFC 8037), which may be shown to anybody."""

    @property
    def key_id(self) -> str:
        """RFC 7638 thumbprint of the public key: equal keys have equal ids, wherever they were made."""
        return self.public_jwk["kid"]

    @classmethod
    def create(cls, path: Path) -> Signer:
        """Make a key and write it to `path`, for its owner alone (0600), and the public half beside it.

        Raises:
            KeyFileError: a key or a public half is there already (neither is ever overwritten), or the folder cannot
                be written.
        """
        signer = cls(Ed25519PrivateKey.generate())
        pem = signer._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        beside = public_path(path)
        if beside.exists() and not path.exists():
            # Without it the badges of the earlier key could not be verified any more.
            raise KeyFileError(
                f"{beside} is the public half of an earlier key; `reprofarm keys retire` keeps it listed"
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_new(path, pem, 0o600)
            write_public(beside, signer.public_jwk)
        except FileExistsError as error:
            raise KeyFileError(f"{path} is there already; a signing key is never overwritten") from error
        except OSError as error:
            raise KeyFileError(f"{path} cannot be written: {error.strerror}") from error
        return signer

    @classmethod
    def load(cls, path: Path) -> Signer:
        """The key in a PEM file (PKCS #8, unencrypted).

        Raises:
            KeyFileError: it is missing, not such a key, open to others, or not that of the public file beside it.
        """
        # Twice, as a rotation may come between the two files.
        for _ in range(2):
            signer = cls(_private_key(path))
            if signer._is_listed_beside(path):
                return signer
        raise KeyFileError(
            f"{public_path(path)} is the public half of another key than {path};"
            " `reprofarm keys retire` puts it among the retired ones"
        )

    def _is_listed_beside(self, path: Path) -> bool:
        # A rotation that is under way, or was interrupted, has put the key in its place and not yet its public half,
        # which is listed as the next one all the same.
        announced = read_public_if_there(public_path(next_path(path)))
        current = read_public_if_there(public_path(path))
        return current is None or self.public_jwk in (announced, current)

    def sign(self, attestation: Attestation) -> str:
        """The attestation as a compact JWS over its canonical JSON (RFC 8785).

        The token is verified as anybody would before it is given out.

        Raises:
            TokenError: what is to be signed would not pass as a proof; nothing is given out.
        """
        try:
            payload = rfc8785.dumps(attestation.model_dump(mode="json"))
        except rfc8785.CanonicalizationError as error:
            raise TokenError(f"the attestation has no canonical form: {error}") from error
        token = encode_jws(payload, self._key, ALGORITHM, headers={"typ": TYPE, "kid": self.key_id})
        if verify(token, {"keys": [self.public_jwk]}) != attestation:
            raise TokenError("what was signed does not read back as it was")
        return token


def public_path(signing_key: Path) -> Path:
    """Where the public half of a signing key lies."""
    return signing_key.with_suffix(".jwk.json")


def next_path(signing_key: Path) -> Path:
    """Where the key lies that is announced and does not sign yet."""
    return signing_key.with_suffix(f".next{signing_key.suffix}")


def public_jwks(settings: Settings) -> dict[str, list[Jwk]]:
    """All public keys that the files hold as a JWK set (RFC 7517): current, announced, then retired by file name.

    The current one is missing as long as the farm has none. Revoked keys are in it: which they are is in the database.

    Raises:
        KeyFileError: a file is not a public Ed25519 JWK.
    """
    # In the order in which a rotation moves keys on, so that none is missed while it does.
    announced = read_public_if_there(public_path(next_path(settings.signing_key)))
    current = current_public(settings)
    retired = [read_public(path) for path in sorted(settings.retired_keys.glob("*.json"))]
    keys: dict[str, Jwk] = {}
    for jwk in (current, announced, *retired):
        if jwk is not None:
            keys.setdefault(jwk["kid"], jwk)
    return {"keys": list(keys.values())}


def current_public(settings: Settings) -> Jwk | None:
    """The public half of the key that signs; None where the farm has none.

    The private key is read only where no public file lies beside it.

    Raises:
        KeyFileError: a file is not what it should be.
    """
    current = read_public_if_there(public_path(settings.signing_key))
    if current is None and settings.signing_key.exists():
        return Signer.load(settings.signing_key).public_jwk
    return current


def _jwk(key: Ed25519PublicKey) -> Jwk:
    x = _base64url(key.public_bytes(Encoding.Raw, PublicFormat.Raw))
    required = {"crv": "Ed25519", "kty": "OKP", "x": x}
    # RFC 7638, section 3: the required members alone, in this order, without white space.
    thumbprint = hashlib.sha256(json.dumps(required, separators=(",", ":"), sort_keys=True).encode()).digest()
    return {**required, "kid": _base64url(thumbprint), "use": "sig", "alg": ALGORITHM}


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _private_key(path: Path) -> Ed25519PrivateKey:
    try:
        with path.open("rb") as file:
            _check_private(path, os.fstat(file.fileno()))
            pem = file.read(MAX_KEY_FILE_BYTES)
    except FileNotFoundError as error:
        raise KeyFileError(f"{path}: there is no signing key") from error
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}") from error
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise KeyFileError(f"{path} is encrypted; the farm reads an unencrypted key that only it can open") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{path} is not a private key in PEM form") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path} is not an Ed25519 key; make one with: openssl genpkey -algorithm ed25519")
    return key


def _check_private(path: Path, found: os.stat_result) -> None:
    # A key mounted from a Kubernetes secret belongs to root and is read through the group: there is no other way.
    forbidden = 0o077 if found.st_uid == os.geteuid() else 0o037
    if found.st_mode & forbidden:
        mode = stat.S_IMODE(found.st_mode)
        raise KeyFileError(f"{path} is open to others (mode {mode:04o}); close it with: chmod 600 {path}")


def read_public_if_there(path: Path) -> Jwk | None:
    """As `read_public`, and None where there is no such file."""
    try:
        return read_public(path)
    except KeyFileError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise


def read_public(path: Path) -> Jwk:
    """A public key from its file.

    Raises:
        KeyFileError: it is not a public Ed25519 JWK.
    """
    try:
        jwk = json.loads(path.read_bytes())
        x = base64.urlsafe_b64decode(jwk["x"] + "=")
        if "d" in jwk or (jwk["kty"], jwk["crv"]) != ("OKP", "Ed25519"):
            raise ValueError("a private key, or not an Ed25519 one")
        # Its other members are made anew: what is listed follows from the key itself.
        return _jwk(Ed25519PublicKey.from_public_bytes(x))
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise KeyFileError(f"{path} is not a public Ed25519 key as a JWK: {error}") from error


def write_public(path: Path, jwk: Jwk) -> None:
    """Write a public key, whole or not at all, where none is.

    Raises:
        FileExistsError: there is a file of that name.
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_new(path, json.dumps(jwk, indent=2).encode() + b"\n", 0o644)


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a file, whole or not at all, where none is."""
    # mkstemp makes it 0600. A link, unlike a rename, fails where the name is taken.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(mode)
        os.link(temporary, path)
    finally:
        Path(temporary).unlink()
