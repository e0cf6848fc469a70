"""What the farm writes on the Hub about a verdict: plain Markdown, in which nothing from outside acts.

Names, versions and settings stand in code spans, where Markdown, HTML and mentions mean nothing (CommonMark 0.31,
section 6.1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from scheduler.public_urls import claim_url
from specs.attestation import Attestation
from specs.measurement import Circumstances
from specs.policy.generation import EffectiveGeneration
from specs.repeat_command import Repeated, not_repeatable, repeat_command
from specs.text import clean

MAX_COMMAND_CHARS = 20_000
MAX_VERSIONS_CHARS = 1000
MAX_PLAIN_CHARS = 2000
MAX_TASK_CHARS = 50
MAX_DATASET_CHARS = 80
"""In a title, which the Hub limits to 200 characters."""

TITLE_MARK = "(reprofarm "
_SHOWN_ID_CHARS = 12


_ASK_AGAIN = "can comment `/reverify`, on a line of its own, to have it run again."


@dataclass(frozen=True)
class Mismatch:
    """What is said besides where a score was not reproduced."""

    likely_reasons: tuple[str, ...]
    revoked_badges: tuple[str, ...]
    """Ids of badges that the same score was given earlier, and that do not count any more."""

    takes_comments: bool
    """Whether the farm reads `/reverify`."""


@dataclass(frozen=True)
class Ran:
    """How the run went that decided."""

    circumstances: Circumstances
    spec_refusal: str | None
    """Why Inspect's own loader refuses the spec as a whole; None where it does not."""


def title_mark(verdict_id: str) -> str:
    """What ends the title of all that the farm opens about a verdict, so that it finds it again."""
    return f"{TITLE_MARK}{verdict_id[:_SHOWN_ID_CHARS]})"


def body_mark(verdict_id: str) -> str:
    """The same for texts: a comment that is not shown."""
    return f"<!-- reprofarm verdict {verdict_id} -->"


def title(found: Attestation, verdict_id: str, *, reproduced: bool = True) -> str:
    """One line of at most 200 characters."""
    task = f" ({clean(found.task, MAX_TASK_CHARS)})" if found.task else ""
    benchmark = clean(found.dataset, MAX_DATASET_CHARS) + task
    became = "was reproduced" if reproduced else "was not reproduced"
    return f"{found.claimed_value:g} on {benchmark} {became} {title_mark(verdict_id)}"


def body(found: Attestation, ran: Ran, token: str, verdict_id: str, *, proposed: bool) -> str:
    """What is said of a verified claim: the facts, the proof and how to check it.

    `proposed` is whether a pull request claims it, on which this is said, and not the model itself.
    """
    lines = [
        f"The evaluation farm at {link(found.iss)} ran the benchmark's own `eval.yaml` and reproduced the score"
        f" {_claimed(found, proposed=proposed)}.",
        "",
        *_figures(found),
        "",
        *_how_it_ran(found, ran),
        "",
        _page(found, verdict_id),
        "",
        "Proof: this signed token states the above. Anyone can check it, with the farm's public keys and its list of"
        " revocations:",
        "",
        "```",
        clean(f"reprofarm verify-token {token} --api {found.iss.rstrip('/')}", MAX_COMMAND_CHARS),
        "```",
        "",
        body_mark(verdict_id),
    ]
    return "\n".join(lines)


def mismatch_body(found: Attestation, ran: Ran, why: Mismatch, verdict_id: str, *, proposed: bool) -> str:
    """What is said of a claim that was not reproduced: likely reasons first, then the facts and what can be done.

    `proposed` as above.
    """
    may_ask = "The model's owner or whoever opened this pull request" if proposed else "The model's owner"
    lines = [
        f"The evaluation farm at {link(found.iss)} ran the benchmark's own `eval.yaml` and did not reproduce the score"
        f" {_claimed(found, proposed=proposed)}: it measured"
        f" **{100 * found.reproduced:.2f} %** on {found.samples_used} of {found.population} samples;"
        f" {100 * found.claimed:.2f} % is claimed.",
        "",
    ]
    if why.revoked_badges:
        badges = ", ".join(code(badge) for badge in why.revoked_badges)
        lines += [f"The badge that this farm gave to the same score earlier is revoked: {badges}.", ""]
    if why.likely_reasons:
        lines += ["Likely reasons, from what the run saw, the likeliest first:", ""]
        lines += [f"{number}. {plain(reason)}" for number, reason in enumerate(why.likely_reasons, start=1)]
        lines.append("")
    lines += [
        *_figures(found),
        "",
        *_how_it_ran(found, ran),
        "",
        _page(found, verdict_id),
        "",
        "What you can do: compare these settings with yours, and read the answers in the log. A corrected entry becomes"
        f" a new claim, which the farm runs by itself.{f' {may_ask} {_ASK_AGAIN}' if why.takes_comments else ''}",
        "",
        body_mark(verdict_id),
    ]
    return "\n".join(lines)


def answer_mark(comment_id: str) -> str:
    """What an answer to a comment is found again by."""
    return f"<!-- reprofarm answer {comment_id} -->"


def answer_body(answer: str, comment_id: str) -> str:
    """An answer to a comment, line by line; each may quote what others wrote."""
    lines = [f"- {code(line, MAX_PLAIN_CHARS)}" for line in answer.splitlines()]
    return "\n".join([*lines, "", answer_mark(comment_id)])


def is_marked(text: str, mark: str) -> bool:
    """Whether a text of the farm's is the one that a mark names: it ends with it, as all that the farm writes does.

    Further up it may quote whatever somebody put into a file, and so a mark too.
    """
    return text.rstrip().endswith(mark)


def plain(text: str) -> str:
    """Text as it is: what Markdown and HTML would take for a sign is escaped (CommonMark 0.31, section 2.4)."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", clean(text, MAX_PLAIN_CHARS))


def code(text: str, max_chars: int = 300) -> str:
    """Text from outside as a code span of one line."""
    shown = clean(text, max_chars) or " "
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    # A backtick at either end would join the fence; the spaces are not shown.
    return f"{fence} {shown} {fence}" if "`" in shown else f"{fence}{shown}{fence}"


def link(url: str) -> str:
    """An address as a link; one that could break out of it, as a code span."""
    return f"<{url}>" if re.fullmatch(r"https?://[!#-;=?-\[\]_a-z~%]+", url) else code(url)


def _claimed(found: Attestation, *, proposed: bool) -> str:
    """The score, by whom it is claimed: anybody may open a pull request, and the model's owner says nothing by it."""
    score, model, dataset = code(f"{found.claimed_value:g}"), code(found.model), code(found.dataset)
    if proposed:
        return f"{score} that this pull request claims for {model} on {dataset}"
    return f"{score} that {model} claims on {dataset}"


def _page(found: Attestation, verdict_id: str) -> str:
    return f"The claim's page, with each answer and the history: {link(claim_url(found.iss, verdict_id))}."


def _how_it_ran(found: Attestation, ran: Ran) -> Iterator[str]:
    yield "How it ran:"
    yield ""
    yield from _pins(found)
    yield from _circumstances(ran.circumstances)
    yield ""
    yield f"Evidence: the complete log of the run, {link(found.evidence_url)}, SHA-256 {code(found.evidence_sha256)}."
    yield ""
    if ran.spec_refusal is not None:
        yield plain(not_repeatable(ran.spec_refusal))
        return
    yield "To repeat the run, on all samples:"
    yield ""
    yield "```"
    yield clean(_command(found, ran.circumstances), MAX_COMMAND_CHARS)
    yield "```"


def _command(found: Attestation, ran: Circumstances) -> str:
    return repeat_command(
        Repeated(
            model_id=found.model,
            model_revision=found.model_revision,
            dataset_id=found.dataset,
            dataset_revision=found.dataset_revision,
            task_id=found.task,
            circumstances=ran,
        )
    )


def _figures(found: Attestation) -> Iterator[str]:
    error = "" if found.standard_error is None else f" ± {100 * found.standard_error:.2f} (standard error)"
    difference = 100 * abs(found.reproduced - found.claimed)
    yield f"- claimed: {100 * found.claimed:.2f} %"
    yield f"- reproduced: **{100 * found.reproduced:.2f} %**{error}"
    yield f"- difference: {difference:.2f} points; up to {100 * found.tolerance:.2f} count as reproduced"
    failed = f"; {found.failed} more failed and are left out" if found.failed else ""
    yield f"- samples: {found.samples_used} of {found.population}{failed}"
    if found.interval.low < found.interval.high:
        stopped = " The run stopped when that was sure." if found.mode == "sequential" else ""
        yield (
            f"- all of them would score {100 * found.interval.low:.2f} to {100 * found.interval.high:.2f} %, and give"
            f" another verdict with a chance of at most {found.alpha:g}.{stopped}"
        )


def _pins(found: Attestation) -> Iterator[str]:
    yield f"- model {code(found.model)} at {code(found.model_revision)}"
    task = f", task {code(found.task)}" if found.task else ""
    yield f"- benchmark {code(found.dataset)} at {code(found.dataset_revision)}{task}"
    yield f"- `eval.yaml` with SHA-256 {code(found.spec_sha256)}"
    versions = ", ".join(f"{name} {version}" for name, version in sorted(found.versions.items()))
    yield f"- versions: {code(versions, MAX_VERSIONS_CHARS)}"


def _circumstances(ran: Circumstances) -> Iterator[str]:
    yield f"- hardware: {code(ran.hardware)}"
    yield f"- engine arguments: {code(' '.join(ran.engine_arguments), MAX_VERSIONS_CHARS)}"
    if ran.batch_invariant:
        yield "- kernels: batch-invariant"
    yield f"- sampling: {code(_sampling(ran.generation))}; {ran.epochs} epoch{'s' if ran.epochs > 1 else ''}"
    if ran.judges:
        judges = ", ".join(f"{name}: {judge}" for name, judge in sorted(ran.judges.items()))
        yield f"- judges: {code(judges)}"


def _sampling(generation: EffectiveGeneration) -> str:
    settings = generation.model_dump(exclude={"sources"})
    return ", ".join(f"{name} {value}" for name, value in settings.items() if value is not None)
