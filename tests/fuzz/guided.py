"""Fuzzing that is guided by the code that an input reaches: `python -m tests.fuzz.guided TARGET SECONDS`.

For what parses bytes in Python: libFuzzer, by way of atheris (the extra `fuzz`), keeps every input that reaches a new
branch and changes it further. `make fuzz` runs it where atheris is installed. An input that breaks a property stays in
the current folder as `crash-…`; it belongs into the tests of its parser then, under the name of its flaw.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["specs", "workers.snapshots.weights", "yaml", "zipfile", "jwt"]):
    from specs import bounded_yaml
    from specs.attestation import verify
    from specs.errors import EvidenceError, TokenError, YamlError
    from specs.hub import eval_results, eval_yaml
    from specs.logs.run_log import RunLog
    from tests.support.attestations import attestation, jwks, signer
    from tests.support.inspect_logs import inspect_log
    from workers.errors import ModelError
    from workers.snapshots.weights import check_weights, stored_parameters

FOLDER = Path(tempfile.mkdtemp(prefix="reprofarm-guided-"))
FARM = signer()
KEYS = jwks(FARM)
TARGETS = ["t1", "t2"]


def _yaml(data: bytes) -> None:
    with contextlib.suppress(YamlError):
        bounded_yaml.load(data)


def _files(data: bytes) -> None:
    eval_yaml.parse(data)
    eval_results.parse(data)


def _token(data: bytes) -> None:
    with contextlib.suppress(TokenError):
        verify(data.decode("latin-1"), KEYS)


def _weights(data: bytes) -> None:
    (FOLDER / "model.safetensors").write_bytes(data)
    with contextlib.suppress(ModelError):
        check_weights(FOLDER)
        stored_parameters(FOLDER)


def _log(data: bytes) -> None:
    log = FOLDER / "log.eval"
    log.write_bytes(data)
    with contextlib.suppress(EvidenceError), RunLog(log) as found:
        found.header()
        for _ in found.answers():
            pass


def _safetensors() -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(4)


PROPERTIES: dict[str, tuple[Callable[[bytes], None], Callable[[], bytes]]] = {
    "yaml": (_yaml, lambda: b"a: [1, {b: 'c'}]\n"),
    "files": (_files, lambda: b"- dataset: {id: a/b, task_id: c}\n  value: 41.2\n  date: '2026-01-01'\n"),
    "token": (_token, lambda: FARM.sign(attestation()).encode()),
    "safetensors": (_weights, _safetensors),
    "log": (_log, lambda: inspect_log(FOLDER, TARGETS, [["t1"], ["no"]]).read_bytes()),
}
"""What is tried on each, and one good input to begin with."""


def main(target: str, seconds: int) -> None:
    """Try inputs on a target for so long; ends the process, with another code than 0 where one did harm."""
    check, seed = PROPERTIES[target]
    corpus = FOLDER / "corpus"
    corpus.mkdir()
    (corpus / "good").write_bytes(seed())
    options = [f"-max_total_time={seconds}", "-max_len=65536", "-timeout=20", "-rss_limit_mb=4096", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *options, "-print_final_stats=1", str(corpus)], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
