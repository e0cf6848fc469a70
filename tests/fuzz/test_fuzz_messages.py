"""Messages, tokens and requests: each is what it should be, or refused with the one error that its reader expects."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import strategies as st
from pydantic import ValidationError

from scheduler.api import pages
from scheduler.api.problems import BadCursor
from scheduler.badges.signing import Signer
from scheduler.planning.linked_logs import NotFollowed, linked_file, links_to_a_log
from specs.attestation import verify
from specs.errors import MessageError, SubmissionError, TokenError
from specs.hub.leaderboard import parse_leaderboard, parse_model_eval_results
from specs.judging.packed import MAX_VALUES
from specs.judging.stopping import JudgedClaim, Stopping
from specs.judging.stopping_rule import Predictor
from specs.messages import AttemptOutcome, AttemptsAlive, Message, Report, RunBatch, TaskRef, WorkerAlive
from specs.policy.judges import JudgeEndpoint
from specs.text import is_clean
from tests.support.api import RunningApi, running_api
from tests.support.attestations import FACTS, attestation, forged, jwks
from tests.support.fuzzing import JSON, fuzz, mutated_bytes, mutated_json
from tests.support.rows import measurement
from tests.support.small_repos import COMMIT
from tests.support.worker_bench import MODEL, batch_of, order

TASK = TaskRef(dataset_id="bench/say", revision=COMMIT, task_id="say", spec_sha256="a" * 64)
STOPPING = Stopping(
    claims=(JudgedClaim(claim_id="c", claimed=0.5, tolerance=None),),
    alpha=0.001,
    minimum_samples=20,
    maximum_failed_fraction=0.02,
    predictors=(Predictor(values=(0.0, 1.0, 0.5), slope=0.5),),
)
JUDGE = JudgeEndpoint(base_url="https://judge.test/v1", model="m", api_key_env="REPROFARM_JUDGE_KEY")
BATCH = batch_of(order(TASK, stopping=STOPPING, judges={"openai/o3-mini": JUDGE}), order(TASK, "r2")).encode()
REF = {"reproduction_id": "r1", "attempt": 1}
ALIVE = {
    "version": 1,
    "worker": "w@h",
    "batch_id": "b",
    "pool": "cpu",
    "progress": [
        {"ref": REF, "stage": "running", "samples_done": 3, "samples_total": 9, "score": 0.5, "log_tail": "loading"}
    ],
}
PRESENT = {
    "version": 1,
    "worker": "w@h",
    "pool": "cpu",
    "state": "busy",
    "reason": "",
    "hardware": "1 × H100",
    "memory": [{"device": "GPU 0", "total_bytes": 80, "free_bytes": 7, "health": None}],
    "engine": {
        "model": "org/model",
        "revision": COMMIT,
        "started_at": "2026-03-01T12:00:00Z",
        "tokens_per_second": 9.5,
    },
    "every_seconds": 10.0,
}
ENDED = {
    "version": 1,
    "ref": REF,
    "worker": "w@h",
    "model": MODEL.model_dump(mode="json"),
    "task": TASK.model_dump(mode="json"),
    "outcome": "stalled",
    "detail": "no answer",
    "measurement": None,
    "evidence": None,
}
DONE = {
    **ENDED,
    "outcome": AttemptOutcome.COMPLETED.value,
    "measurement": measurement().model_dump(mode="json"),
    "evidence": {"sha256": "b" * 64, "size_bytes": 100},
}
KEY = Ed25519PrivateKey.generate()
FARM = Signer(KEY)
TRUSTED = jwks(FARM)


@pytest.mark.parametrize(
    ("kind", "good"), [(RunBatch, [BATCH]), (AttemptsAlive, [ALIVE]), (WorkerAlive, [PRESENT]), (Report, [ENDED, DONE])]
)
def test_messages(kind: type[Message], good: list[dict[str, Any]]) -> None:
    for each in good:
        assert kind.decode(each).encode() == {**kind.decode(each).encode(), **each}

    def check(data: object) -> None:
        said = ""
        try:
            message = kind.decode(data)
        except MessageError as error:
            said = str(error)
        else:
            assert kind.decode(message.encode()) == message
        assert is_clean(said), repr(said)
        assert len(said) < 1000

    fuzz(kind.__name__, JSON | mutated_json(*good), check)


def test_packed_proportions() -> None:
    good = Predictor(values=(0.0, 1.0, 0.25), slope=0.5).model_dump(mode="json")

    def check(values: object) -> None:
        with contextlib.suppress(ValidationError):
            found = Predictor.model_validate_json(json.dumps({"values": values, "slope": 0.5}))
            assert len(found.values) <= MAX_VALUES
            assert all(0 <= value <= 1 for value in found.values)

    text = mutated_bytes(good["values"].encode()).map(lambda data: data.decode("latin-1"))
    fuzz("packed proportions", JSON | text, check)


@pytest.mark.parametrize("read", [parse_leaderboard, parse_model_eval_results])
def test_answers_of_the_hub(read: Callable[[object], tuple[Any, ...]]) -> None:
    row = {"modelId": "o/m", "value": 0.5, "rank": 1, "filename": ".eval_results/x.yaml", "verified": False}
    row |= {"pullRequest": 3, "notes": "n", "source": {"url": "https://x.test"}, "author": {"name": "a"}}
    result = {"filename": ".eval_results/x.yaml", "data": {"dataset": {"id": "a/b", "task_id": "t"}, "value": 1.5}}

    def check(data: object) -> None:
        with contextlib.suppress(SubmissionError):
            for entry in read(data):
                assert all(map(is_clean, (*entry.reasons, *entry.warnings)))

    fuzz(read.__name__, JSON | mutated_json([row], [result], [row, result]), check)


def test_tokens() -> None:
    token = FARM.sign(attestation())

    def check(text: str) -> None:
        said = ""
        try:
            assert verify(text, TRUSTED) == attestation()
        except TokenError as error:
            said = str(error)
        assert is_clean(said), repr(said)

    def check_signed(payload: object) -> None:
        with contextlib.suppress(TokenError):
            found = verify(forged(KEY, FARM.key_id, payload), TRUSTED)
            assert abs(found.claimed - found.reproduced) <= found.tolerance + 1e-12

    def check_keys(keys: Any) -> None:
        with contextlib.suppress(TokenError):
            assert verify(token, keys) == attestation()

    fuzz("tokens", st.text(max_size=200) | mutated_bytes(token.encode()).map(lambda b: b.decode("latin-1")), check)
    fuzz("signed payloads", JSON | mutated_json(FACTS), check_signed)
    fuzz("key sets", JSON | mutated_json(TRUSTED), check_keys)


def test_addresses_of_linked_logs() -> None:
    hub = "https://hub.test"
    good = b"https://hub.test/datasets/o/m/blob/refs/pr/3/logs/x.eval?download=true#a"

    def check(url: str) -> None:
        links_to_a_log(url)
        with contextlib.suppress(NotFollowed):
            found = linked_file(url, hub)
            assert ".." not in f"{found.repo_id}/{found.path}".split("/")

    fuzz("linked addresses", st.text(max_size=80) | mutated_bytes(good).map(lambda b: b.decode("latin-1")), check)


def test_cursors() -> None:
    times = st.datetimes(timezones=st.timezones()).map(lambda at: at.isoformat())
    made = st.tuples(times | st.text(max_size=30), st.text(max_size=10)).map(_cursor)

    def check(cursor: str) -> None:
        with contextlib.suppress(BadCursor):
            at, row_id = pages.decode(cursor)
            assert pages.decode(pages.encode(at, row_id)) == (at, row_id)

    fuzz("cursors", st.text(max_size=60) | made, check)


def _cursor(parts: tuple[str, str]) -> str:
    return base64.urlsafe_b64encode("|".join(parts).encode("utf-8", "surrogatepass")).decode().rstrip("=")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with running_api(tmp_path_factory.mktemp("api")) as found:
        yield found


def test_requests(api: RunningApi) -> None:
    described = api.json("/openapi.json")["paths"]
    paths = sorted(path for path, methods in described.items() if path.startswith("/v1/") and "get" in methods)
    names = sorted({each["name"] for path in paths for each in described[path]["get"].get("parameters", [])})
    odd = st.text(max_size=30).filter(lambda text: text.isprintable()) | st.sampled_from(
        ["\x00", "0" * 300, "-1", "1e9"]
    )

    def check(request: tuple[str, str, dict[str, str]]) -> None:
        path, part, asked = request
        for name in names:
            path = path.replace("{" + name + "}", part)
        answer = api.get(path, **asked)
        # 401 where only operators may look.
        assert answer.status_code in {200, 304, 400, 401, 404, 409, 422}, (path, asked, answer.text)

    part = st.text("0123456789abcdefg.%", min_size=1, max_size=40)
    fuzz("requests", st.tuples(st.sampled_from(paths), part, st.dictionaries(st.sampled_from(names), odd)), check)
