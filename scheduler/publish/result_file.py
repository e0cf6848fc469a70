"""Put a proof into one entry of a `.eval_results` file and leave every other byte as its author wrote it.

PyYAML says where things stand; the text itself is spliced, never written anew, so comments, quoting, order and line
ends stay. What comes out is read again before it is given out.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import cast

import yaml

from specs.bounded_yaml import load
from specs.errors import SubmissionError, YamlError

_LINE_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
"""Of YAML 1.1, section 5.4: what ends a comment."""

_TOKEN = re.compile(r"[A-Za-z0-9_.-]+")


class NotEditable(SubmissionError):  # noqa: N818 - a condition, not a mistake
    """The entry is not there, or is laid out in a way that cannot be changed without touching the rest."""


@dataclass(frozen=True)
class Source:
    """Where a score's proof can be looked at."""

    url: str
    name: str


def with_proof(text: bytes, index: int, token: str | None = None, source: Source | None = None) -> bytes:
    """The file with the proof in entry `index`, counted from 0.

    A token replaces any `verifyToken` that stands there; a source is put in only where the entry names none. New keys
    come after the entry's `value`. Line ends are those of the file, and a JSON file stays JSON.

    Raises:
        YamlError: `text` is not YAML within our limits.
        NotEditable: there is no such entry, or its layout is beyond us; nothing else would have been safe.
    """
    wanted = _entries(load(text), index)
    edited = text.decode()
    if source is not None and wanted[index].get("source") is None:
        wanted[index]["source"] = {"url": source.url, "name": source.name}
        edited = _with_key(edited, index, "source", wanted[index]["source"])
    if token is not None:
        if not _TOKEN.fullmatch(token):
            raise NotEditable("what should be put in is not a token")
        wanted[index]["verifyToken"] = token
        edited = _with_key(edited, index, "verifyToken", token)
    try:
        found = load(edited)
    except YamlError as error:
        raise NotEditable(f"entry {index} is laid out in a way that cannot be edited in place: {error}") from error
    if not _same(found, wanted):
        raise NotEditable(f"entry {index} is laid out in a way that cannot be edited in place")
    return edited.encode()


def _entries(data: object, index: int) -> list[dict[str, object]]:
    if not isinstance(data, list) or not 0 <= index < len(data):
        raise NotEditable(f"the file has no entry {index}")
    if not isinstance(data[index], dict) or "value" not in data[index]:
        raise NotEditable(f"entry {index} is not a mapping with a value")
    return data


def _with_key(text: str, index: int, key: str, value: object) -> str:
    entry = cast("yaml.MappingNode", cast("yaml.SequenceNode", yaml.compose(text, yaml.SafeLoader)).value[index])
    pairs = {name.value: (name, node) for name, node in entry.value}
    # Quoted keys are how JSON is told from YAML.
    quoted = entry.value[0][0].style == '"'
    if key in pairs:
        return _replaced(text, pairs[key][1], _inline(value, quoted))
    after = pairs["value"][1]
    if entry.flow_style:
        name = json.dumps(key) if quoted else key
        return _spliced(text, after.end_mark.index, f", {name}: {_inline(value, quoted)}")
    line_end = _LINE_BREAK.search(text, after.end_mark.index)
    any_break = line_end or _LINE_BREAK.search(text)
    start = (any_break.group() if any_break else "\n") + " " * entry.value[0][0].start_mark.column
    return _spliced(text, line_end.start() if line_end else len(text), _block(start, key, value, quoted))


def _replaced(text: str, old: yaml.Node, new: str) -> str:
    if not isinstance(old, yaml.ScalarNode) or old.style in ("|", ">"):
        raise NotEditable("the old value spans lines of its own and cannot be replaced in place")
    start, end = old.start_mark.index, old.end_mark.index
    # Nothing at all after the colon: the place is right behind it.
    return text[:start] + (" " if start == end else "") + new + text[end:]


def _block(start: str, key: str, value: object, quoted: bool) -> str:
    """Lines of a block mapping, each begun by a line break and the mapping's indentation."""
    name = json.dumps(key) if quoted else key
    if not isinstance(value, dict):
        return f"{start}{name}: {_inline(value, quoted)}"
    return f"{start}{name}:" + "".join(_block(f"{start}  ", inner, item, quoted) for inner, item in value.items())


def _inline(value: object, quoted: bool) -> str:
    """A value on one line, as flow YAML; JSON where `quoted`."""
    if isinstance(value, dict):
        pairs = (f"{json.dumps(key) if quoted else key}: {_inline(item, quoted)}" for key, item in value.items())
        return "{" + ", ".join(pairs) + "}"
    if not quoted and isinstance(value, str) and _TOKEN.fullmatch(value):
        return value
    # JSON's escapes are YAML's too, but for surrogate pairs.
    return json.dumps(value, ensure_ascii=False)


def _spliced(text: str, place: int, new: str) -> str:
    return text[:place] + new + text[place:]


def _same(left: object, right: object) -> bool:
    """Equal in value and type, whatever the order of keys."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    # By their text, in which a NaN is itself.
    return repr(left) == repr(right)
