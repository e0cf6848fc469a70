"""Tasks of an eval.yaml that Inspect is to run: read with Inspect's own models, then asked what they would do.

Importing this module imports inspect_ai (three seconds, 90 MB), so `specs.hub.eval_yaml` does it only when needed.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from inspect_ai._eval.task.hf import HFFieldSpec, HFScorer, HFSolver, HFTask
from pydantic import ValidationError

from specs.epochs import MAX_EPOCHS, epochs_needed
from specs.hub.inspect_args import check_arguments
from specs.hub.task_hints import sentence
from specs.hub.task_spec import JUDGING, JUDGING_SCORERS, TURNS, SpecStatus, TaskSpec, read_id
from specs.hub.templates import check_template
from specs.text import clean

_KNOWN_NAMES = {
    "solvers": typing.get_args(HFSolver.model_fields["name"].annotation),
    "scorers": typing.get_args(HFScorer.model_fields["name"].annotation),
}
# What Inspect's record mapping for eval.yaml reads (`_record_to_sample_hf`); it ignores the rest of FieldSpec.
_FIELD_SPEC_KEYS = frozenset({"input", "input_image", "target", "choices", "metadata", "description"})
_JUDGE_TEMPLATE = frozenset({"question", "answer", "criterion", "instructions"})
# The placeholders of each template argument, beside the columns in field_spec.metadata. Inspect fills the first four
# leniently, and those arguments of theirs that it does not know are placeholders too; the others with str.format.
_LENIENT_TEMPLATES: Mapping[str, frozenset[str]] = {
    "prompt_template": frozenset({"prompt"}),
    "chain_of_thought": frozenset({"prompt"}),
    "system_message": frozenset(),
    "user_message": frozenset(),
}
_PLAIN_TEMPLATES: Mapping[tuple[str, str], frozenset[str]] = {
    ("multiple_choice", "template"): frozenset({"question", "choices", "letters"}),
    ("self_critique", "critique_template"): frozenset({"question", "completion"}),
    ("self_critique", "completion_template"): frozenset({"question", "completion", "critique"}),
    ("model_graded_qa", "template"): _JUDGE_TEMPLATE,
    ("model_graded_fact", "template"): _JUDGE_TEMPLATE,
}


@dataclass
class _Findings:
    invalid: list[str] = field(default_factory=list)
    unsupported: list[str] = field(default_factory=list)
    judge_reasons: list[str] = field(default_factory=list)
    judges: list[str | None] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def status(self) -> SpecStatus:
        if self.invalid:
            return SpecStatus.INVALID
        if self.unsupported:
            return SpecStatus.UNSUPPORTED
        return SpecStatus.NEEDS_JUDGE if self.judge_reasons else SpecStatus.RUNNABLE


def read_task(index: int, item: object) -> TaskSpec:
    """Classify item `index` of `tasks` for a run by Inspect."""
    where = f"tasks[{index}]"
    task_id, id_reasons = read_id(index, item)
    if not isinstance(item, dict):
        return TaskSpec(None, SpecStatus.INVALID, id_reasons, (), None, (), {}, unreadable=True)
    if not any(key in item for key in ("field_spec", "solvers", "scorers", "scores")):
        reason = (
            f"{where}: field_spec, solvers and scorers are missing, so it registers a leaderboard (valid as a "
            "registration) but says nothing that could be run"
        )
        return TaskSpec(task_id, SpecStatus.INVALID, (*id_reasons, reason), (), None, (), item, unreadable=True)
    found = _Findings(invalid=list(id_reasons))
    definition = _read_definition(where, item, found)
    if definition is not None:
        _check_arguments(where, definition, found)
        _check_templates(where, definition, found)
        _check_choices(where, definition, found)
        _check_epochs(where, definition, found)
        _find_judges(where, definition, found)
    reasons = found.invalid or found.unsupported + found.judge_reasons
    return TaskSpec(
        id=task_id,
        status=found.status,
        reasons=tuple(dict.fromkeys(reasons)),
        warnings=tuple(dict.fromkeys(found.warnings)),
        definition=None if found.invalid else definition,
        judges=tuple(dict.fromkeys(found.judges)),
        raw=item,
        unreadable=definition is None,
    )


def _read_definition(where: str, item: Mapping[str, object], found: _Findings) -> HFTask | None:
    field_spec = item.get("field_spec")
    columns = field_spec if isinstance(field_spec, dict) else {}
    ignored = [clean(str(key), 60) for key in columns if key not in _FIELD_SPEC_KEYS]
    found.warnings += [f"field_spec.{key}: Inspect ignores this key in an eval.yaml" for key in ignored]
    absent = [key for key in ("input", "target") if isinstance(field_spec, dict) and key not in columns]
    try:
        definition = HFTask.model_validate(dict(item))
    except ValidationError as error:
        found.invalid += [
            sentence(where, each, _KNOWN_NAMES) for each in error.errors(include_url=False) if each["loc"] != ("id",)
        ]
        found.invalid += [f"{where}.field_spec has no {key}" for key in absent]
        return None
    found.warnings += [f"field_spec has no {key}: Inspect takes the column named '{key}'" for key in absent]
    if definition.id is None:
        found.warnings.append("id is missing; the Hub keeps a leaderboard for each task id")
    return definition


def _steps(where: str, task: HFTask) -> Iterator[tuple[str, str, HFSolver | HFScorer]]:
    for i, solver in enumerate(task.solvers):
        yield f"{where}.solvers[{i}]", "solver", solver
    for i, scorer in enumerate(task.scorers):
        yield f"{where}.scorers[{i}]", "scorer", scorer


def _check_arguments(where: str, task: HFTask, found: _Findings) -> None:
    for place, kind, step in _steps(where, task):
        if step.name == "use_tools":
            found.unsupported.append(f"{place}: use_tools lets the model call tools, which this farm does not run")
            continue
        arguments = check_arguments(kind, step.name, step.args, place)
        found.invalid += arguments.invalid
        found.unsupported += arguments.unsupported


def _check_templates(where: str, task: HFTask, found: _Findings) -> None:
    columns = _metadata_columns(task.field_spec)
    for place, _, step in _steps(where, task):
        for key, value in step.args.items():
            lenient = key == "template" and step.name in _LENIENT_TEMPLATES
            if not isinstance(value, str) or not (lenient or (step.name, key) in _PLAIN_TEMPLATES):
                continue
            own = _LENIENT_TEMPLATES[step.name] if lenient else _PLAIN_TEMPLATES[step.name, key]
            known = own | set(step.args) if lenient else own
            # multiple_choice fills in nothing from the sample's metadata.
            known = known if step.name == "multiple_choice" else known | columns
            finding = check_template(value, known, lenient=lenient)
            found.invalid += [f"{place}.args.{key} {problem}" for problem in finding.problems]
            found.invalid += _missing_placeholders(f"{place}.args.{key}", step.name, value)
            found.invalid += _doubled_placeholders(f"{place}.args.{key}", value, own - finding.names)
            found.warnings += [f"{step.name}: the template {warning}" for warning in finding.warnings]
            if "prompt" in _LENIENT_TEMPLATES.get(step.name, ()) and "prompt" not in finding.names:
                found.warnings.append(f"{step.name}: the template has no {{prompt}}, so the question is not in it")


def _metadata_columns(field_spec: HFFieldSpec) -> frozenset[str]:
    return frozenset(field_spec.metadata) if isinstance(field_spec.metadata, list) else frozenset()


def _doubled_placeholders(place: str, template: str, absent: frozenset[str]) -> list[str]:
    """An older schema doubled the braces of placeholders; today that is how to write a brace."""
    return [
        f"{place} has {{{{{name}}}}}, of which Inspect makes the text {{{name}}} and nothing else; write {{{name}}}"
        for name in sorted(absent)
        if f"{{{{{name}}}}}" in template
    ]


def _missing_placeholders(place: str, name: str, template: str) -> list[str]:
    if name != "multiple_choice":
        return []
    missing = [f"{{{each}}}" for each in ("question", "choices") if f"{{{each}}}" not in template]
    return [f"{place} has no {' and no '.join(missing)}, which Inspect insists on"] if missing else []


def _check_choices(where: str, task: HFTask, found: _Findings) -> None:
    """Inspect's schema does not see that the parts do not fit; each of these fails or scores nothing at run time."""
    solvers = {solver.name for solver in task.solvers}
    has_choices = task.field_spec.choices is not None
    if not solvers & TURNS and "use_tools" not in solvers:
        found.invalid.append(f"{where}.solvers: none asks the model for an answer; add `- name: generate`")
    if "multiple_choice" in solvers and not has_choices:
        found.invalid.append(f"{where}.solvers: multiple_choice needs field_spec.choices")
    scored_by_choice = any(scorer.name == "choice" for scorer in task.scorers)
    if scored_by_choice and not (has_choices and "multiple_choice" in solvers):
        found.invalid.append(
            f"{where}.scorers: valid for Inspect, but choice cannot score without field_spec.choices and the solver "
            "multiple_choice; use match or exact for free text"
        )
    if task.shuffle_choices and not has_choices:
        found.warnings.append("shuffle_choices has nothing to shuffle without field_spec.choices")
    if isinstance(task.field_spec.choices, str):
        found.warnings.append(
            f"choices: the column '{clean(task.field_spec.choices, 60)}' must hold a real list; on a text that "
            "spells a list Inspect fails"
        )


def _check_epochs(where: str, task: HFTask, found: _Findings) -> None:
    if task.epochs > MAX_EPOCHS:
        found.unsupported.append(f"{where}.epochs: {task.epochs} epochs; this farm runs up to {MAX_EPOCHS}")
    needed, reducer = epochs_needed(task.epoch_reducer), clean(task.epoch_reducer or "", 60)
    if needed < 1:
        found.invalid.append(f"{where}.epoch_reducer: {reducer} counts no epoch; begin with 1")
    elif needed > task.epochs:
        found.invalid.append(
            f"{where}.epoch_reducer: passes the schema, but Inspect refuses to run it: {reducer} needs "
            f"{needed} epochs, and epochs is {task.epochs}"
        )


def _find_judges(where: str, task: HFTask, found: _Findings) -> None:
    for place, _, step in _steps(where, task):
        if step.name not in JUDGING:
            continue
        model = step.args.get("model")
        named = [each for each in (model if isinstance(model, list) else [model]) if isinstance(each, str)]
        if model == [] or "" in named:
            found.invalid.append(f"{place}.args.model is empty; name a model or leave it out")
        elif step.name == "self_critique" and named:
            found.judge_reasons.append(f"{place}: self_critique asks another model, {clean(', '.join(named), 200)}")
            found.judges += named
        elif step.name in JUDGING_SCORERS and named:
            found.judge_reasons.append(f"{place}: {step.name} needs the judge {clean(', '.join(named), 200)}")
            found.judges += named
        elif step.name in JUDGING_SCORERS:
            found.judge_reasons.append(f"{place}: {step.name} names no judge, so the evaluated model judges itself")
            found.judges.append(None)
