"""The file that a claim links to as its Inspect log, read into what it says, or why it says nothing that can be used.

Anybody may have written it, and anybody may have written anything into it. Every reason is for its author, who alone
can do better.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from inspect_ai.log import EvalLog, EvalSample

from specs.errors import EvidenceError
from specs.judging.scale import as_proportion
from specs.judging.stopping import target_in_words, targets_sha256
from specs.judging.tolerance import rounding_of
from specs.logs.linked_log import LinkedLog, LinkedLogReading
from specs.logs.run_log import MIB, LogLimits, RunLog
from specs.logs.run_scores import mean_of, run_scores, scorer_names
from specs.logs.scoring import reduced
from specs.policy.verification import Scale
from specs.text import clean

MAX_FILE_BYTES = 512 * MIB
MAX_ANSWERS = 200_000
"""Samples times epochs."""

MAX_TARGET_CHARS = 16 * MIB
"""Of all targets together, which are held in memory."""

LIMITS = LogLimits(directory=16 * MIB, file=8 * MIB, unpacked=4096 * MIB)
"""Tighter than for a worker's log: planning waits for this one, and JSON of empty lists takes 27 times its bytes."""

MAX_REASON_CHARS = 2000

# What summing in another order, and binary fractions, can change.
_ROUNDING = 1e-9
_SAMPLE_ID = re.compile(r"[1-9][0-9]{0,6}")


class _Unusable(Exception):  # noqa: N818 - a condition, not a mistake
    """Why a log cannot be used."""


def read_linked_log(path: Path, url: str, value: float, scale: Scale, is_late: Callable[[], bool]) -> LinkedLogReading:
    """Read a log and hold it against the claim that links to it.

    It can be used where

    1. it lies within the limits above, and is read before it `is_late`;
    2. it is that of a run that ended with success and was not invalidated;
    3. it holds every sample of the dataset in every epoch: as many samples as the header says, with ids 1 to N (which
       Inspect gives to samples that have none of their own), each with a score in [0, 1] by the first scorer;
    4. the mean of these scores is the claimed value, as exactly as that was written: 41.2 percent is 41.15 to 41.25.
       Written floats lose their last zeros, so 41 is 40.5 to 41.5.

    Whether it is about the claimed task is decided by its targets when it is held against a run of our own. Names of
    tasks and datasets in its header are free text and decide nothing.

    Args:
        path: the file.
        url: where it came from.
        value: the claimed score, as written.
        scale: how the benchmark's claims write scores.
        is_late: asked between answers; reading ends where it says so.
    """
    try:
        return LinkedLogReading(url=url, log=_read(path, value, scale, is_late), reason="")
    except (_Unusable, EvidenceError) as error:
        return LinkedLogReading(url=url, log=None, reason=clean(str(error), MAX_REASON_CHARS))


def _read(path: Path, value: float, scale: Scale, is_late: Callable[[], bool]) -> LinkedLog:
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise _Unusable(too_large(size))
    with RunLog(path, LIMITS) as log:
        header = log.header()
        scorer, samples, epochs = _check_header(header, log.answer_count())
        targets: dict[int, str | list[str]] = {}
        answers = _counted(log.answers(), samples, epochs, targets, is_late)
        found = run_scores(answers, [scorer], range(1, samples + 1), epochs, _reducer(header, epochs), own=None)
    scores = found.by_scorer[scorer]
    whole = tuple(score for score in scores if score is not None)
    if len(whole) < samples:
        first = scores.index(None) + 1
        raise _Unusable(
            f"{samples - len(whole)} of its {samples} samples have no score by {_shown(scorer)}, sample {first} first: "
            "they failed, or not every epoch of them was scored; run them again (inspect eval-retry)"
        )
    _check_mean(whole, value, scale)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return LinkedLog(
        sha256=digest,
        scores=whole,
        targets_sha256=targets_sha256(targets[sample] for sample in range(1, samples + 1)),
        greedy=_is_greedy(header),
    )


def _check_header(header: EvalLog, answers: int) -> tuple[str, int, int]:
    """The name of the first scorer, the number of samples and that of epochs, of a log of a whole run."""
    if header.status != "success":
        raise _Unusable(f"its run did not end with success, but as {header.status}: link the log of a whole run")
    if header.invalidated:
        raise _Unusable("it was declared invalid")
    scorers = scorer_names(header)
    if not scorers:
        raise _Unusable("its header has no results: score it (inspect score) and link the scored log")
    samples, epochs = header.eval.dataset.samples or 0, header.eval.config.epochs or 1
    if samples < 1 or epochs < 1:
        raise _Unusable("its header does not say how many samples the dataset has, as that of a whole run does")
    if samples * epochs > MAX_ANSWERS:
        raise _Unusable(f"it has {samples} samples in {epochs} epochs; this farm reads {MAX_ANSWERS} answers at most")
    if answers != samples * epochs:
        raise _Unusable(
            f"it holds {answers} answers, and its dataset has {samples} samples, to be answered in {epochs} epochs: "
            "link the log of a run without a limit"
        )
    return scorers[0], samples, epochs


def _counted(
    answers: Iterator[EvalSample],
    samples: int,
    epochs: int,
    targets: dict[int, str | list[str]],
    is_late: Callable[[], bool],
) -> Iterator[EvalSample]:
    """The answers with numbers for ids, 1 to `samples`, each once an epoch; fills `targets` by id on the way."""
    seen: set[tuple[int, int]] = set()
    characters = 0
    for answer in answers:
        if is_late():
            raise _Unusable("it took longer to read than planning waits for a linked log")
        number = int(str(answer.id)) if _SAMPLE_ID.fullmatch(str(answer.id)) else 0
        if not (1 <= number <= samples and 1 <= answer.epoch <= epochs):
            raise _Unusable(
                f"it has a sample {_shown(answer.id)} in epoch {_shown(answer.epoch)}; samples are numbered from 1 to "
                f"{samples} and epochs from 1 to {epochs}, as in a run of the benchmark's eval.yaml"
            )
        if (number, answer.epoch) in seen:
            raise _Unusable(f"it holds sample {number} twice for epoch {answer.epoch}")
        seen.add((number, answer.epoch))
        target = target_in_words(answer.target, answer.choices)
        if number not in targets:
            targets[number] = target
            characters += len(target) if isinstance(target, str) else sum(map(len, target)) + 1
            if characters > MAX_TARGET_CHARS:
                raise _Unusable(f"its targets are longer than the {MAX_TARGET_CHARS} characters that this farm reads")
        elif targets[number] != target:
            raise _Unusable(f"sample {number} has not the same target in every epoch")
        answer.id = number
        yield answer


def _reducer(header: EvalLog, epochs: int) -> str:
    """Inspect's name of what makes one score of a sample's epochs."""
    name = (header.eval.config.epochs_reducer or ["mean"])[0]
    refusal = _Unusable(f"its {epochs} epochs cannot be made one by {_shown(name)}")
    try:
        made_one = reduced([0.0] * epochs, name)
    except Exception as error:  # each reducer has errors of its own
        raise refusal from error
    if made_one is None:
        raise refusal
    return name


def _check_mean(scores: tuple[float, ...], value: float, scale: Scale) -> None:
    mean, claimed = mean_of(scores), as_proportion(value, scale)
    if mean is None or claimed is None:
        raise _Unusable(f"the claimed {value} is no score: the benchmark is scored as a {scale}")
    if abs(mean - claimed) > rounding_of(claimed) + _ROUNDING:
        raise _Unusable(
            f"its {len(scores)} samples score {mean:.4%} on average, and the claim says {value} ({scale}): "
            "link the log of the claimed run, or claim what it says"
        )


def too_large(size: int) -> str:
    """Why a log of so many bytes is not read."""
    return f"it has {size} bytes; this farm reads {MAX_FILE_BYTES // MIB} MiB of a linked log at most"


def _is_greedy(header: EvalLog) -> bool:
    """Whether it says so: what it leaves out is the engine's default, or the model's own."""
    stated = (header.plan.config.temperature, header.eval.model_generate_config.temperature)
    return next((each for each in stated if each is not None), None) == 0


def _shown(value: object) -> str:
    return clean(repr(value), 100)
