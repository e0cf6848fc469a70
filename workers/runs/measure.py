"""An Inspect `.eval` log as a measurement."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from inspect_ai.log import EvalLog, EvalSample

from specs.errors import EvidenceError
from specs.judging.stopping import Population
from specs.logs.run_log import RunLog
from specs.logs.run_scores import mean_of, run_scores, scorer_names, standard_error_of
from specs.logs.scoring import is_refused_prompt, is_timed_out
from specs.measurement import Circumstances, Measurement, Resumed
from workers.errors import ModelError, RunError
from workers.runs.refusals import EngineRefuses, refusal

_NO_CHAT_TEMPLATE = "must provide a chat template"
"""What vLLM (0.32, vllm/renderers/hf.py) says where the model has none, and it has none for its kind."""


@dataclass(frozen=True)
class Plan:
    """What was run, and what of it counts."""

    sample_ids: tuple[int | str, ...]
    """In the seeded order; those that count."""

    population: Population
    model: str
    """Inspect's name of the evaluated model."""

    resumed: Resumed | None
    """What the run went on from."""


def measure(log: Path, plan: Plan, circumstances: Circumstances) -> Measurement:
    """The measurement in a finished log.

    Raises:
        RunError: the log is not that of a successful run, or no question in it was answered.
        EngineRefuses: as the engine refused them all.
        ModelError: as the model has no chat template.
    """
    try:
        with RunLog(log) as run_log:
            header = run_log.header()
            scorers = _scorers(header)
            if not scorers:
                # Where every sample failed, Inspect names none.
                raise _nothing_answered(run_log)
            found = run_scores(
                run_log.answers(),
                scorers,
                plan.sample_ids,
                plan.population.epochs,
                plan.population.reducer,
                own=header,
            )
            # Answers without a score are what the run measured: a judge that gives no grade, or prompts too long for
            # the context, do so again however often it is tried.
            unscored = all(score is None for score in found.by_scorer[scorers[0]])
            if unscored and all(answer.error is not None for answer in run_log.answers()):
                raise _nothing_answered(run_log)
    except EvidenceError as error:
        raise RunError(str(error)) from error
    sample_scores = found.by_scorer[scorers[0]]
    usage = header.stats.model_usage.get(plan.model)
    return Measurement(
        scorer=scorers[0],
        score=mean_of(sample_scores),
        standard_error=standard_error_of(sample_scores),
        population=plan.population.samples,
        targets_sha256=plan.population.targets_sha256,
        sample_ids=plan.sample_ids,
        sample_scores=sample_scores,
        truncated=found.truncated,
        cut_by_context=found.cut_by_context(circumstances.generation.max_tokens),
        unparsed=found.unparsed,
        thoughts=found.thoughts,
        ignored=found.ignored,
        other_scorers={name: mean_of(found.by_scorer[name]) for name in scorers[1:]},
        input_tokens=usage.input_tokens if usage else 0,
        output_tokens=usage.output_tokens if usage else 0,
        started_at=_time(header.stats.started_at),
        ended_at=_time(header.stats.completed_at),
        circumstances=circumstances,
        resumed=plan.resumed,
    )


def without_a_score(log: Path) -> str:
    """Why the answers in a log have no score, by how many there are of each kind.

    Raises:
        RunError: there is no such log.
    """
    try:
        with RunLog(log) as run_log:
            why = Counter(_why_unscored(answer) for answer in run_log.answers())
    except EvidenceError as error:
        raise RunError(str(error)) from error
    counted = ", ".join(f"{count} {words}" for words, count in why.most_common())
    return f"of {why.total()} answers none has a score: {counted}"


def _why_unscored(answer: EvalSample) -> str:
    if answer.error is not None:
        return "failed"
    if is_refused_prompt(answer):
        return "had a prompt too long for the engine's context"
    if any(is_timed_out(score) for score in (answer.scores or {}).values()):
        return "took the scorer too long"
    return "got no number from the scorer"


def _nothing_answered(log: RunLog) -> RunError | ModelError:
    """Why, by the first answer that failed."""
    failed = [(answer, answer.error.message) for answer in log.answers() if answer.error is not None]
    said = next((message for _, message in failed), "no scorer gave a number")
    if _NO_CHAT_TEMPLATE in said:
        return ModelError(
            "the model's repo has no chat template, and an eval.yaml is asked as a chat: the engine refuses every"
            " question; a model that is not for chats needs a template too, in chat_template.jinja"
        )
    # Whoever asks again is refused again. An error with an answer beside it is a judge's.
    refusals = [None if answer.output.choices else refusal(message) for answer, message in failed]
    if refusals and refusals[0] is not None and all(refusals):
        return EngineRefuses(refusals[0])
    return RunError(f"not one sample was scored: {said}")


def _scorers(header: EvalLog) -> list[str]:
    if header.status != "success":
        reason = header.error.message if header.error is not None else "no reason given"
        raise RunError(f"the run ended with status {header.status}: {reason}")
    return scorer_names(header)


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise RunError(f"the log has a time without its zone: {text}")
    return time
