"""Whether the model's chat template writes something around one question that it does not write around another.

A template is a program that its author writes and the engine runs over every question, and Inspect's log has the
question alone. One that knows the benchmark's questions could put the answer beside each. So the engine tells with each
answer the prompt that it was given (`return_prompt_text`, vLLM 0.32), and is asked what the template makes of a message
of the same shape with made-up words in it: that is the frame. With the words of the question put into it the frame has
to be the prompt, letter by letter.

Of the shape are roles, parts, white space at the edges, and marks that templates look for, as those around thoughts; of
calls of tools all but their ids and the texts among their arguments.
"""

from __future__ import annotations

import asyncio
import copy
import json
import math
import re
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import product, zip_longest
from typing import Any, TypeAlias

from inspect_ai.log._samples import sample_active
from inspect_ai.model import GenerateConfig
from inspect_ai.model._providers.openai_compatible import OpenAICompatibleAPI
from inspect_ai.model._providers.vllm import VLLMAPI
from openai import BadRequestError, InternalServerError
from openai.types.chat import ChatCompletion

_FEW = 2
_SMALL_PART = 0.01
"""So many of a benchmark's questions, or such a part of them, may have prompts other than by the frame: a question that
holds a mark which nobody here knows of. By the default tolerance they change no verdict; by a narrower one they can."""

_SOME = 5
_DEVIATIONS = 4
"""Of the questions so far more may be so, by chance. They are counted again with each one, so it has many chances."""

_DOES_NOT_END = "Chat template rendering timed out"
"""How vLLM says, as an error of its own, that it has ended a template after 30 s (`_render_with_timeout` in
vllm/renderers/hf.py)."""

_TRIES = 2
"""For a template to end, as an engine that was held up says the same."""

_SHOWN = 60
"""Characters of a prompt that operators are shown."""

_TEXTS = frozenset({"content", "text", "reasoning", "reasoning_content"})
"""Where a message has what it says."""

_ARGUMENTS = "arguments"
"""Where a call of a tool has them: an object as JSON, which the engine parses for the template."""

_IDS = frozenset({"id", "tool_call_id"})
"""Of calls of tools."""

_MEDIA = frozenset({"image_url", "input_audio", "audio_url", "video_url"})

_MARKS = re.compile(
    r"(</?(?:seed:)?(?:think|thinking|thought|reasoning|response|answer|tool_call|tool_response|image|video|audio)>"
    r"|◁/?think▷|\[/?THINK\]|\[(?:BEGIN|END) FINAL RESPONSE\]|/(?:no_?)?think|/system_override)"
)
"""What templates look for in messages: Qwen's, DeepSeek's, SmolLM's, GLM's and others'."""

_FORMS: tuple[Callable[[str], str], ...] = (
    lambda text: text,
    # Falcon's.
    lambda text: text.replace("\r\n", "\n").replace("\n\n", "\n"),
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
)
"""As what templates write a text. Each writes all of a run's in one of them that are of one kind."""

_KINDS = _SAID, _RESULT, _ARGUMENT, _WITHIN = range(4)
"""Kinds of texts: what is said, what a tool gave, an argument of a tool's, or deeper in one. Most templates write the
last as JSON, some all but the first."""

_FORMS_BY_KIND = tuple(product(_FORMS, repeat=len(_KINDS)))

_Messages: TypeAlias = Sequence[dict[str, Any]]


def guard_template(questions: int, on_key: Callable[[str, str], None]) -> None:
    """Look at every prompt that this process's run has the engine answer, those to a model that judges itself too.

    Once the template is found to depend on what is asked, `on_key` is called with words for the model's author and
    evidence for the operator alone; it is to end the run. The benchmark has so many `questions`, all of which need not
    be asked.
    """
    ask = VLLMAPI._generate_completion
    guard = TemplateGuard(questions)

    async def watched(self: OpenAICompatibleAPI, request: dict[str, Any], config: GenerateConfig) -> ChatCompletion:
        told = {**request, "extra_body": {**(request.get("extra_body") or {}), "return_prompt_text": True}}

        async def render(messages: _Messages) -> str | None:
            # Otherwise the same request, whose settings a template may see; but no answer of Inspect's.
            other = {
                name: value for name, value in told.items() if name not in {"extra_headers", "max_completion_tokens"}
            }
            once = copy.copy(self)
            # The client's own tries would be of 30 s each, while all questions of the shape wait.
            once.client = self.client.with_options(max_retries=0)
            for _ in range(_TRIES):
                try:
                    return _prompt(await ask(once, {**other, "messages": messages, "max_tokens": 1}, config))
                except BadRequestError:
                    break
                except InternalServerError as error:
                    if _DOES_NOT_END not in str(error):
                        raise
            return None

        completion = await ask(self, told, config)
        # None of vLLM's own making, as for gpt-oss: no template had a hand in it.
        if (prompt := _prompt(completion)) is not None:
            active = sample_active()
            sample_id = active.sample.id if active else None
            if (found := await guard.look(request["messages"], prompt, render, sample_id)) is not None:
                on_key(found.words, found.evidence)
        return completion

    VLLMAPI._generate_completion = watched  # type: ignore[method-assign]


def _prompt(completion: ChatCompletion) -> str | None:
    prompt = getattr(completion, "prompt_text", None)
    return prompt if isinstance(prompt, str) else None


@dataclass(frozen=True)
class Found:
    """That a template depends on what is asked."""

    words: str
    """For the model's author, and public: they say nothing of what is asked."""

    evidence: str
    """For the operator, who may look whether it is so: what was expected and what there was, of a question too."""


class TemplateGuard:
    """Holds the prompts of a run against the frames of their messages."""

    def __init__(self, questions: int) -> None:
        self._questions = questions
        self._words = _MadeUp()
        self._frames: dict[str, _Frame | None] = {}
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._samples: set[object] = set()
        self._others: tuple[set[object], ...] = tuple(set() for _ in _FORMS_BY_KIND)
        """By `_FORMS_BY_KIND`: samples with a prompt that is not by its frame with the texts in those forms."""

    async def look(
        self,
        messages: _Messages,
        prompt: str,
        render: Callable[[_Messages], Awaitable[str | None]],
        sample_id: int | str | None,
    ) -> Found | None:
        """Look at one more prompt; what was found, once too many samples have another than by its frame.

        `render` asks for the prompt of other messages; None where the template refuses them, or does not end on them.
        """
        masking = _Masking(self._words)
        masked = masking.masked(messages)
        # All prompts of a shape are held against one frame: a template that knows a made-up word gains nothing.
        shape = json.dumps(_without_media(masked))
        async with self._asking[shape]:
            if shape not in self._frames:
                rendered = await render(masked)
                known = len(masking.texts)
                self._frames[shape] = _Frame.of(rendered, self._words, known) if rendered is not None else None
        frame = self._frames[shape]
        # The epochs of a sample are alike, and so are its turns.
        sample = (shape, *masking.texts) if sample_id is None else sample_id
        self._samples.add(sample)
        filled = _filled(frame, masking.texts)
        for odd, expected in zip(self._others, filled, strict=True):
            if expected != prompt:
                odd.add(sample)
        others = min(map(len, self._others))
        if not self._are_too_many(others):
            return None
        # By the form in which fewest are odd; the last one, which made them too many, is so in that one.
        expected = filled[min(range(len(filled)), key=lambda number: len(self._others[number]))]
        does = (
            "writes other text around a question than around another of the same shape, as one with an answer key in it"
            " does"
            if expected is not None
            else "refuses (by an error), or does not end on, other words in the place of a question's, which it takes"
        )
        words = (
            f"the model's chat template {does}: so for {others} of {len(self._samples)} samples, the last of them"
            f" {sample_id}; the model's author has to give it a template that does not depend on what is asked"
        )
        return Found(words, f"sample {sample_id}: {_difference(expected, prompt)}")

    def _are_too_many(self, others: int) -> bool:
        """Whether they are more than the small part of all questions, or sure to become it."""
        so_far = len(self._samples)
        by_chance = _DEVIATIONS * math.sqrt(so_far * _SMALL_PART * (1 - _SMALL_PART))
        surely = max(_SOME, _SMALL_PART * so_far + by_chance)
        return others > min(max(_FEW, _SMALL_PART * self._questions), surely)


def _difference(expected: str | None, prompt: str) -> str:
    if expected is None:
        return (
            f"the template refused made-up words, or did not end on them, where it wrote {prompt[:_SHOWN]!r} for the"
            " question's"
        )
    at = next(n for n, (one, other) in enumerate(zip_longest(expected, prompt)) if one != other)
    begin = max(0, at - _SHOWN // 3)
    wanted, found = (text[begin : begin + _SHOWN] for text in (expected, prompt))
    return f"from character {at} on the prompt differs; expected, from {begin}: {wanted!r}; the prompt: {found!r}"


@dataclass(frozen=True)
class _Frame:
    """What a template writes around texts."""

    around: tuple[str, ...]
    """One more than there are texts in it."""

    order: tuple[int, ...]
    """Which text is where: one may be in several places, or nowhere."""

    @classmethod
    def of(cls, rendered: str, words: _MadeUp, texts: int) -> _Frame | None:
        """The frame that has been rendered around so many texts in whose place there were these words.

        None where it has a word of another number, which is none of them: the template did not take these words.
        """
        found = words.pattern.split(rendered)
        order = tuple(map(int, found[1::2]))
        return cls(tuple(found[::2]), order) if max(order, default=-1) < texts else None

    def filled(self, texts: Sequence[str]) -> str:
        """With these texts in it."""
        first, *others = self.around
        return first + "".join(texts[at] + after for at, after in zip(self.order, others, strict=True))


def _filled(frame: _Frame | None, texts: Sequence[tuple[str, int]]) -> list[str | None]:
    """A frame with these texts in it, each of a kind, by `_FORMS_BY_KIND`."""
    if frame is None:
        return [None] * len(_FORMS_BY_KIND)
    # Most prompts have one kind, and so three ways to fill in their texts.
    kinds = sorted({kind for _, kind in texts})
    ways = {}
    for forms in product(_FORMS, repeat=len(kinds)):
        form_of = dict(zip(kinds, forms, strict=True))
        ways[forms] = frame.filled([form_of[kind](text) for text, kind in texts])
    return [ways[tuple(forms[kind] for kind in kinds)] for forms in _FORMS_BY_KIND]


def _without_media(value: Any) -> Any:
    """Messages without what is seen or heard, of which a template only learns that it is there."""
    if isinstance(value, dict):
        return {name: _without_media(each) for name, each in value.items() if name not in _MEDIA}
    return [_without_media(each) for each in value] if isinstance(value, list) else value


class _MadeUp:
    """Words that stand for texts and ids, with a number each; no author of a template can foresee them."""

    def __init__(self) -> None:
        self._text = f"w{secrets.token_hex(8)}"
        # Mistral's templates take ids of nine characters alone.
        self._id = f"i{secrets.token_hex(1)}"
        self.pattern = re.compile(rf"(?:{self._text}|{self._id})(\d{{6}})")

    def text(self, number: int) -> str:
        return f"{self._text}{number:06}"

    def id(self, number: int) -> str:
        return f"{self._id}{number:06}"


class _Masking:
    """Puts made-up words in the place of what messages say."""

    def __init__(self, words: _MadeUp) -> None:
        self.texts: list[tuple[str, int]] = []
        """By number: what they stand for, and its kind."""

        self._words = words
        self._ids: dict[str, str] = {}

    def masked(self, value: Any, kind: int | None = None) -> Any:
        """Messages, or a part of them, with the words; texts have a kind."""
        if isinstance(value, str):
            return value if kind is None else self._text(value, kind)
        within = _WITHIN if kind in {_ARGUMENT, _WITHIN} else None
        if isinstance(value, dict):
            said = _RESULT if kind == _RESULT or value.get("role") == "tool" else _SAID
            return {
                name: self._by_name(name, each, said) if within is None else self.masked(each, within)
                for name, each in value.items()
            }
        return [self.masked(each, within or kind) for each in value] if isinstance(value, list | tuple) else value

    def _by_name(self, name: str, value: Any, said: int) -> Any:
        if name in _IDS and isinstance(value, str):
            return self._id(value)
        if name == _ARGUMENTS and isinstance(value, str):
            return self._arguments(value)
        return self.masked(value, said if name in _TEXTS else None)

    def _arguments(self, value: str) -> str:
        try:
            arguments = json.loads(value)
        except (ValueError, RecursionError):
            arguments = None
        if not isinstance(arguments, dict):
            return self._text(value, _ARGUMENT)
        return json.dumps({name: self.masked(each, _ARGUMENT) for name, each in arguments.items()})

    def _id(self, value: str) -> str:
        # A result has its call's, and templates look for that.
        if value not in self._ids:
            self._ids[value] = self._words.id(len(self.texts))
            self.texts.append((value, _SAID))
        return self._ids[value]

    def _text(self, value: str, kind: int) -> str:
        parts = _MARKS.split(value)
        # Every other one is a mark.
        for place, part in enumerate(parts[::2]):
            if said := part.strip():
                begin = part.index(said)
                word = self._words.text(len(self.texts))
                parts[2 * place] = f"{part[:begin]}{word}{part[begin + len(said) :]}"
                self.texts.append((said, kind))
        return "".join(parts)
