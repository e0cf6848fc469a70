"""Prompt templates of an eval.yaml: would Inspect fill them in, and with nothing but what the author may use?

Inspect (0.3.285) fills some templates with a lenient formatter that leaves unknown `{...}` alone (`format_template` in
inspect_ai/_util/format.py) and others with plain `str.format`, which fails on them. Both follow `{x.attribute}` and
`{x[index]}` into objects. A template that names a file or an address is read first (`inspect_ai.util.resource`).
"""

from __future__ import annotations

import re
import string
from collections.abc import Collection
from dataclasses import dataclass

# fsspec takes what stands before :// or :: for a protocol, and knows file: and local: without slashes.
_ADDRESS = re.compile(r"\s*(?:[A-Za-z][A-Za-z0-9+.\-]*(?:://|::)|(?:file|local):)")
# One leading / alone is left to the switches of chat models (/no_think).
_ABSOLUTE_PATH = re.compile(r"(?:/[^/\s]*/|~[^/\s]*/|\.{1,2}/)")
_FILE_NAME = re.compile(r"\.\w{1,5}\Z")
# Padding to a width costs that much memory for each sample.
_WIDE = re.compile(r"\d{5,}")


@dataclass(frozen=True)
class TemplateFinding:
    """What is wrong with a template, and what is only suspicious."""

    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    names: frozenset[str]
    """Of the placeholders; empty where the template can't be read."""


@dataclass(frozen=True)
class _Placeholder:
    name: str
    conversion: str
    spec: str

    @property
    def root(self) -> str:
        return re.split(r"[.\[]", self.name, maxsplit=1)[0]

    @property
    def reaches_inside(self) -> bool:
        return self.root != self.name


def check_template(template: str, known: Collection[str], *, lenient: bool) -> TemplateFinding:
    """Judge a template whose placeholders may be `known`, as Inspect's lenient formatter or str.format fills it."""
    if _names_a_resource(template):
        return TemplateFinding(
            ("is a path or an address, which Inspect would read; write the text itself",), (), frozenset()
        )
    try:
        placeholders = [
            _Placeholder(name, conversion or "", spec or "")
            for _, name, spec, conversion in string.Formatter().parse(template)
            if name is not None
        ]
    except ValueError:
        return TemplateFinding(("has a lone { or }; double it ({{ or }}) where it is meant as text",), (), frozenset())
    problems = [sentence for each in placeholders for sentence in _dangers(each, known, lenient=lenient)]
    warnings: list[str] = []
    numbered = {each.name == "" for each in placeholders if each.name == "" or each.name.isdigit()}
    if len(numbered) == 2:
        problems.append("mixes {} with numbered placeholders; double the braces that are meant as text")
    elif lenient and True in numbered:
        warnings.append("has {}, which Inspect turns into {0}; double the braces: {{}}")
    if not lenient:
        problems += [_unknown(each, known) for each in placeholders if each.root not in known]
    names = frozenset(each.root for each in placeholders)
    return TemplateFinding(tuple(dict.fromkeys(problems)), tuple(warnings), names)


def _names_a_resource(template: str) -> bool:
    text = template.strip()
    if _ADDRESS.match(text):
        return True
    if re.search(r"[\s{}]", text):
        return "\n" not in text and bool(_ABSOLUTE_PATH.match(text))
    return "/" in text[1:] or bool(_FILE_NAME.search(text))


def _dangers(each: _Placeholder, known: Collection[str], *, lenient: bool) -> list[str]:
    found = []
    shown = "{" + each.name[:40] + "}"
    if each.reaches_inside and (not lenient or each.root in known or re.search(r"[.\[]_", each.name)):
        found.append(f"reaches into a value with {shown}; only plain {{name}} placeholders are filled in")
    if each.conversion not in {"", "r", "s", "a"}:
        found.append(f"has !{each.conversion} in {shown}; double the braces where they are meant as text")
    if "{" in each.spec or _WIDE.search(each.spec):
        found.append(f"formats {shown} with a width of its own making; leave out what follows the colon")
    elif not lenient and not _formats(each.spec):
        found.append(f"formats {shown} in a way that text has not; leave out what follows the colon")
    return found


def _formats(spec: str) -> bool:
    try:
        format("", spec)
    except ValueError:
        return False
    return True


def _unknown(each: _Placeholder, known: Collection[str]) -> str:
    names = ", ".join("{" + name + "}" for name in sorted(known))
    shown = "{" + each.name[:40] + "}"
    return f"has {shown}, which Inspect cannot fill in (it knows {names}); double the braces where it is meant as text"
