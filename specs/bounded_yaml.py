"""YAML from strangers, read within limits.

The values are those that PyYAML's `safe_load` gives (YAML 1.1), because that is what Inspect and huggingface_hub read
the same files with. What costs too much or says two things at once is refused: so are numbers that YAML 1.2 reads as
others, or as text.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import cast

import yaml
from yaml.constructor import ConstructorError
from yaml.reader import ReaderError

from specs.errors import YamlError
from specs.text import clean

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
# Ten times what the largest published file has; bounds the reading time of a file that is all structure to a second.
MAX_NODES = 50_000
# Longer numbers are no scores, and turning long digit strings into integers takes quadratic time.
MAX_NUMBER_CHARS = 64

_CORE = "tag:yaml.org,2002:"
_PLAIN_KINDS = ("str", "int", "float", "bool", "null", "seq", "map", "timestamp")
# "!" asks for text; None is the usual case of no tag.
_KNOWN_TAGS = frozenset({None, "!", *(_CORE + kind for kind in _PLAIN_KINDS)})
_NUMBER_TAGS = frozenset(_CORE + kind for kind in ("int", "float"))
# 057 is 47, 1:30 is 90 and 1_0 is 10 in YAML 1.1 alone.
_OF_YAML_1_1 = re.compile(r"[-+]?0[b0-9]+|[-+]0x.*|.*[_:].*")

# What PyYAML says, and what its reader can do about it.
_PLAIN_SENTENCES = {
    "mapping values are not allowed here": "a second ': ' on one line; put text that contains a colon in quotes",
    "found character '\\t' that cannot start any token": "a tab; YAML is indented with spaces",
    "expected a single document in the stream": "a second document (---); only one is read",
    "could not find expected ':'": "a key without ': ' after it; check the indentation and the quotes",
    "expected <block end>, but found '-'": "a list item that is not indented like the one before",
    "expected <block end>, but found '<block mapping start>'": "a key that is not indented like the one before",
    "expected <block end>, but found '<scalar>'": "text after the end of a value; put the whole value in quotes",
    "could not determine a constructor for the tag 'tag:yaml.org,2002:value'": "a lone =; put it in quotes",
    "found unexpected end of stream": "the file ends inside a quoted text",
}


def load(text: bytes | str) -> object:
    """Read one YAML document of at most 256 KiB, 32 levels and 50,000 nodes.

    Aliases, anchors, merge keys, duplicate keys, keys that are lists or mappings, tags other than YAML's own plain
    ones, a second document and numbers that YAML 1.1 and 1.2 read differently are refused. An empty document is None.

    Raises:
        YamlError: with the place and a sentence that the author of the file can act on.
    """
    decoded = _decode(text)
    loader = None
    try:
        loader = _BoundedLoader(decoded)
        return loader.get_single_data()
    except ReaderError as error:
        line, column = _place(decoded, error.position)
        raise YamlError(f"a character that YAML does not allow (U+{error.character:04X})", line, column) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (None, None)
        raise YamlError(_sentence(error), *place) from error
    except yaml.YAMLError as error:
        raise YamlError(clean(str(error), 200)) from error
    finally:
        if loader is not None:
            loader.dispose()


def _decode(text: bytes | str) -> str:
    size = len(text) if isinstance(text, bytes) else len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise YamlError(f"the file has {size:,} bytes; at most {MAX_BYTES:,} are read")
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise YamlError(f"the file is not UTF-8 (byte 0x{text[error.start]:02x})", line) from error


def _place(text: str, position: int) -> tuple[int, int]:
    line_start = text.rfind("\n", 0, position) + 1
    return text.count("\n", 0, position) + 1, position - line_start + 1


def _sentence(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or error.context or "not YAML"
    if problem in _PLAIN_SENTENCES:
        return _PLAIN_SENTENCES[problem]
    if error.context in _PLAIN_SENTENCES:
        return _PLAIN_SENTENCES[error.context]
    return clean(problem, 200)


class _BoundedLoader(yaml.SafeLoader):
    """PyYAML's safe loader with the limits checked while the tree is built, before anything is spent on it."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]  # untyped in the stubs
        self._nodes += 1
        self._depth += 1
        refusal = self._over_limit() or _refusal(event)
        if refusal:
            raise ConstructorError(None, None, refusal, cast("yaml.Mark", event.start_mark))
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def _over_limit(self) -> str | None:
        if self._nodes > MAX_NODES:
            return f"more than {MAX_NODES:,} values in the file"
        if self._depth > MAX_DEPTH:
            return f"nested more than {MAX_DEPTH} levels deep"
        return None

    def construct_object(self, node: yaml.Node, deep: bool = False) -> object:
        if node.tag in _NUMBER_TAGS and len(node.value) > MAX_NUMBER_CHARS:
            raise ConstructorError(None, None, f"a number of more than {MAX_NUMBER_CHARS} digits", node.start_mark)
        if node.tag in _NUMBER_TAGS and _OF_YAML_1_1.fullmatch(node.value):
            refusal = "not the same number to every reader; write it as a plain decimal, or put text in quotes"
            raise ConstructorError(None, None, refusal, node.start_mark)
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, ArithmeticError, LookupError, AttributeError) as error:
            # PyYAML trusts what looks like a date or a number, or is tagged so: 2026-13-45, 0x_, `!!int x`.
            kind = node.tag.removeprefix(_CORE)
            raise ConstructorError(None, None, f"not a valid {kind}; put text in quotes", node.start_mark) from error

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict[Hashable, object]:
        if not isinstance(node, yaml.MappingNode):
            raise ConstructorError(None, None, "a mapping was expected here", node.start_mark)
        mapping: dict[Hashable, object] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _CORE + "merge":
                raise ConstructorError(None, None, "a merge key (<<); write the keys out", key_node.start_mark)
            key = self.construct_object(key_node)
            if not isinstance(key_node, yaml.ScalarNode) or not isinstance(key, Hashable):
                raise ConstructorError(None, None, "a key must be plain text", key_node.start_mark)
            if key in mapping:
                name = clean(str(key_node.value), 60)
                raise ConstructorError(None, None, f"the key {name!r} stands here a second time", key_node.start_mark)
            mapping[key] = self.construct_object(value_node, deep=deep)
        return mapping


def _refusal(event: yaml.Event) -> str | None:
    if isinstance(event, yaml.AliasEvent):
        return "an alias (*name); write the value out"
    if getattr(event, "anchor", None) is not None:
        return "an anchor (&name); write the value out each time"
    if getattr(event, "tag", None) not in _KNOWN_TAGS:
        return "a tag (!name); only plain YAML is read"
    return None
