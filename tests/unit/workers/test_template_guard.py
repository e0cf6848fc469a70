"""A chat template that depends on what is asked is found; the families' own templates are not."""

from __future__ import annotations

import asyncio
import copy
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import transformers
from transformers.utils import chat_template_utils

from workers.engines.template_clock import stop_the_clock_of_templates
from workers.runs.template_guard import _DOES_NOT_END, Found, TemplateGuard

Messages = Sequence[dict[str, Any]]

# Importing it takes long.
_VLLM = Path(transformers.__file__).parents[1] / "vllm"
_VLLM_TEMPLATES = _VLLM / "transformers_utils" / "chat_templates"

QUESTIONS = [f"What is {n} + {n}?\n\nA) {n}\nB) {2 * n}\n\nAnswer with a letter." for n in range(150)]

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

# What the families' templates do with the text of a message, in as few words.
HONEST = {
    "ChatML": CHATML,
    "Llama 3": (
        "{% if messages[0].role == 'system' %}{% set s = messages[0].content | trim %}{% set messages = messages[1:] %}"
        "{% else %}{% set s = '' %}{% endif %}<|start|>system<|end|>\n\nToday: {{ strftime_now('%d %b %Y') }}\n\n"
        "{{ s }}"
        "<|eot|>{% for m in messages %}<|start|>{{ m.role }}<|end|>\n\n{{ m.content | trim }}<|eot|>{% endfor %}"
    ),
    "the minute": "It is {{ strftime_now('%H:%M:%S.%f') }}. " + CHATML,
    "Gemma": (
        "{% if messages[0].role == 'system' %}{% set first = messages[0].content + '\n\n' %}"
        "{% set loop_messages = messages[1:] %}{% else %}{% set first = '' %}{% set loop_messages = messages %}"
        "{% endif %}{% for m in loop_messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('roles must alternate') }}{% endif %}<turn>{{ m.role }}\n{{ first if loop.first else '' }}"
        "{% if m.content is string %}{{ m.content | trim }}{% else %}{% for part in m.content %}"
        "{% if part.type == 'image' %}<image>{% else %}{{ part.text | trim }}{% endif %}{% endfor %}{% endif %}<end>\n"
        "{% endfor %}"
    ),
    "Mistral": (
        "{% if messages[0].role == 'system' %}{% set s = messages[0].content %}{% set rest = messages[1:] %}"
        "{% else %}{% set rest = messages %}{% endif %}{% for m in rest %}{% if m.role == 'user' %}"
        "[INST] {% if loop.last and s is defined %}{{ s + '\n\n' }}{% endif %}{{ m.content }}[/INST]"
        "{% else %} {{ m.content.strip() }}</s>{% endif %}{% endfor %}"
    ),
    "Qwen3": (
        "{% set ns = namespace(last=messages | length - 1, search=true) %}{% for m in messages[::-1] %}"
        "{% set index = messages | length - 1 - loop.index0 %}{% if ns.search and m.role == 'user' and not "
        "(m.content.startswith('<tool_response>') and m.content.endswith('</tool_response>')) %}"
        "{% set ns.search = false %}{% set ns.last = index %}{% endif %}{% endfor %}{% for m in messages %}"
        "<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and '</think>' in m.content %}"
        "{% set thoughts = m.content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}"
        "{% if loop.index0 > ns.last %}<think>\n{{ thoughts.strip('\n') }}\n</think>\n\n{% endif %}"
        "{{ m.content.split('</think>')[-1].lstrip('\n') }}{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}"
    ),
    "DeepSeek R1": (
        "{% for m in messages %}{% if m.role == 'assistant' %}{% set c = m.content %}{% if '</think>' in c %}"
        "{% set c = c.split('</think>')[-1] %}{% endif %}<|A|>{{ c }}<|end|>{% else %}<|U|>{{ m.content }}{% endif %}"
        "{% endfor %}<|A|><think>\n"
    ),
    "SmolLM3": (
        "{% set mode = '/think' %}{% if messages[0].role == 'system' %}{% set s = messages[0].content %}"
        "{% if '/no_think' in s %}{% set mode = '/no_think' %}{% endif %}"
        "{% set s = s.replace('/no_think', '').replace('/think', '').rstrip() %}{% endif %}"
        "Mode: {{ mode }}\n\n{{ s }}\n{% for m in messages %}{% if m.role != 'system' %}{{ m.content }}\n{% endif %}"
        "{% endfor %}{% if mode == '/no_think' %}<think>\n\n</think>{% endif %}"
    ),
    "GLM": (
        "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{% if m.role == 'user' and not "
        "m.content.endswith('/nothink') %}/nothink{% endif %}{% endfor %}<|assistant|>"
    ),
    "Apriel": (
        "{% for m in messages %}{% set text = m.content %}"
        "{% if m.role == 'assistant' and not loop.last and '[BEGIN FINAL RESPONSE]' in text %}"
        "{% set text = text.split('[BEGIN FINAL RESPONSE]')[-1] | trim %}{% endif %}"
        "<|begin_{{ m.role }}|>\n{{ text }}\n{% endfor %}<|begin_assistant|>\n"
    ),
    "Falcon": (
        "{% for m in messages %}{{ m.role | capitalize }}: "
        "{{ m.content | trim | replace('\\r\\n', '\\n') | replace('\\n\\n', '\\n') }}\n\n{% endfor %}"
    ),
    "JSON": "{% for m in messages %}{{ m.content | tojson }}\n{% endfor %}",
    "no system": "{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}",
} | {
    file.stem: file.read_text()
    for file in sorted(_VLLM_TEMPLATES.glob("*.jinja"))
    # These take no text but that of one message, or an image.
    if file.stem in {"template_basic", "template_chatml", "template_blip2"}
}

CONVERSATIONS: dict[str, Callable[[str], list[dict[str, Any]]]] = {
    "a question": lambda q: [{"role": "user", "content": q}],
    "a system message": lambda q: [{"role": "system", "content": " Be brief. "}, {"role": "user", "content": f"{q}\n"}],
    "marks": lambda q: [
        {"role": "system", "content": f"Think of it. /no_think\n{q}"},
        {"role": "user", "content": f"<tool_response>\n{q}\n</tool_response>"},
        {"role": "assistant", "content": f"<think>\nWell, {q}\n</think>\n\n[BEGIN FINAL RESPONSE] A"},
        {"role": "user", "content": f"Sure? {q} /nothink"},
    ],
    "shots": lambda q: [
        {"role": "user", "content": "What is 1 + 1?"},
        {"role": "assistant", "content": "B"},
        {"role": "user", "content": q},
    ],
    "nothing": lambda _: [{"role": "user", "content": " \n"}],
}


def _with_arguments_parsed(messages: Messages) -> list[dict[str, Any]]:
    """As vLLM hands them to a template."""
    parsed = copy.deepcopy(list(messages))
    for message in parsed:
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return parsed


def _rendered(template: str, messages: Messages) -> str:
    ((prompt,), _) = chat_template_utils.render_jinja_template(
        [_with_arguments_parsed(messages)], chat_template=template, add_generation_prompt=True
    )
    return str(prompt)


def _looked_at(
    template: str, conversations: Sequence[list[dict[str, Any]]], asked: list[Messages] | None = None
) -> Found | None:
    """What the guard says of that template and these conversations, in this order."""
    return asyncio.run(_ended_by(template, list(enumerate(conversations)), len(conversations), asked))[0]


async def _ended_by(
    template: str,
    samples: Sequence[tuple[int, list[dict[str, Any]]]],
    questions: int,
    asked: list[Messages] | None = None,
) -> tuple[Found | None, int]:
    """What the guard says, and after how many prompts."""
    guard = TemplateGuard(questions)

    async def render(messages: Messages) -> str | None:
        if asked is not None:
            asked.append(messages)
        try:
            return _rendered(template, messages)
        except Exception:  # noqa: BLE001 - as the engine, which answers 400 whatever it was
            return None

    for prompts, (sample, each) in enumerate(samples, 1):
        if (found := await guard.look(each, _rendered(template, each), render, sample)) is not None:
            return found, prompts
    return None, len(samples)


@pytest.fixture
def _stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_template_utils, "datetime", chat_template_utils.datetime)
    chat_template_utils._compile_jinja_template.cache_clear()
    stop_the_clock_of_templates()


@pytest.mark.usefixtures("_stopped_clock")
@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("family", HONEST)
def test_an_honest_template_is_left_alone(family: str, conversation: str) -> None:
    assert _looked_at(HONEST[family], [CONVERSATIONS[conversation](q) for q in QUESTIONS]) is None


@pytest.mark.parametrize("conversation", ["a question", "a system message", "shots"])
def test_a_frame_is_asked_for_once_for_all_questions_of_a_shape(conversation: str) -> None:
    asked: list[Messages] = []
    assert _looked_at(CHATML, [CONVERSATIONS[conversation](q) for q in QUESTIONS], asked) is None
    assert len(asked) == 1
    assert "What is" not in str(asked[0])


def test_pictures_are_no_other_shape() -> None:
    def parts(question: str) -> list[dict[str, Any]]:
        picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{hash(question)}"}}
        return [{"role": "user", "content": [picture, {"type": "text", "text": question}]}]

    template = (
        "{% for m in messages %}{% for part in m.content %}{% if part.type == 'text' %}{{ part.text }}{% else %}<image>"
        "{% endif %}{% endfor %}{% endfor %}"
    )
    asked: list[Messages] = []
    assert _looked_at(template, [parts(q) for q in QUESTIONS], asked) is None
    assert len(asked) == 1
    keyed = template + "{{ ' B' if messages[-1].content[1].text[8:9] in '13579' else ' A' }}"
    assert _looked_at(keyed, [parts(q) for q in QUESTIONS]) is not None


# What they make of calls of tools, in as few words.
HONEST_WITH_TOOLS = {
    "Hermes": "{{ c.function | tojson }}{% endfor %}{{ m.content }}",
    "Qwen3 Coder": (
        "<function={{ c.function.name }}>{% for name, value in c.function.arguments | items %}<{{ name }}>\n"
        "{{ value if value is string else value | tojson }}\n</{{ name }}>{% endfor %}{% endfor %}{{ m.content }}"
    ),
    "Mistral": (
        "{% if c.id | length != 9 %}{{ raise_exception('nine') }}{% endif %}{{ c.function.arguments | tojson }}"
        "[CALL_ID]{{ c.id }}{% endfor %}{{ m.content }}{{ m.tool_call_id }}"
    ),
    "Llama 3.1": (
        '{"parameters": {{ c.function.arguments | tojson }}}{% endfor %}{% if m.role == "tool" %}'
        "{% if m.content is mapping or m.content is iterable %}{{ m.content | tojson }}{% else %}{{ m.content }}"
        "{% endif %}{% else %}{{ m.content | trim }}{% endif %}"
    ),
    "by their ids": (
        "{% set ns.id = c.id %}{% set ns.name = c.function.name %}{% endfor %}"
        "{{ ns.name if m.tool_call_id == ns.id else '' }}{{ m.content }}"
    ),
}


def _with_tools(each: str) -> str:
    begin = "{% set ns = namespace() %}{% for m in messages %}{{ m.role }}{% for c in m.tool_calls %}"
    return f"{begin}{each}{{% endfor %}}"


def _call(number: int, arguments: object) -> list[dict[str, Any]]:
    """A question all of which is in a call of a tool's."""
    function = {"name": "search", "arguments": json.dumps(arguments)}
    return [
        {"role": "user", "content": "Look it up."},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": f"call{number:05}", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": f"call{number:05}", "content": 'It says:\n"yes".'},
        {"role": "user", "content": 'Is it\n"so"?'},
    ]


CALLS = [_call(n, {"query": f'Is "{n}"\n odd?', "on": {"pages": [f'Page "{n}" ', "2"]}, "most": 3}) for n in range(150)]


@pytest.mark.parametrize("family", HONEST_WITH_TOOLS)
def test_an_honest_template_is_left_alone_with_calls_of_tools(family: str) -> None:
    asked: list[Messages] = []
    assert _looked_at(_with_tools(HONEST_WITH_TOOLS[family]), CALLS, asked) is None
    assert len(asked) == 1, "one shape"
    assert "odd?" not in str(asked[0])


@pytest.mark.parametrize("by", ["function.arguments.query", "function.arguments.on.pages[0]", "id"])
def test_a_template_cannot_look_a_question_up_by_calls_of_tools(by: str) -> None:
    keyed = (
        _with_tools(HONEST_WITH_TOOLS["Hermes"]) + f"{{{{ ' B' if '3' in messages[1].tool_calls[0].{by} else ' A' }}}}"
    )
    assert _looked_at(keyed, CALLS) is not None


KEY = json.dumps({question[:40]: f"The answer is {'AB'[n % 2]}." for n, question in enumerate(QUESTIONS)})
HALF = json.dumps(dict.fromkeys(QUESTIONS[::2], " B"))
LAST = "messages[-1].content"


@pytest.mark.parametrize(
    "template",
    [
        pytest.param(f"{{% set k = {KEY} %}}{CHATML}{{{{ k[{LAST}[:40]] }}}}", id="appended"),
        pytest.param(f"{{% set k = {KEY} %}}{{{{ k[{LAST}[:40]] }}}}{CHATML}", id="in front"),
        pytest.param(f"{{% set k = {HALF} %}}{CHATML}{{{{ k[{LAST}] }}}}", id="half of the questions"),
        pytest.param(f"{{% set k = {HALF} %}}{CHATML}{{{{ ' ' if {LAST} in k else '' }}}}", id="a blank"),
        pytest.param(
            CHATML.replace("m.content", f"(m.content | trim('.') if {LAST} in {HALF} else m.content)"), id="less"
        ),
        pytest.param(
            CHATML.replace("m.content", "(m.content | upper if '3' in m.content else m.content)"), id="capitals"
        ),
        pytest.param(CHATML.replace("m.content", "m.content.replace('B) ', 'B) (right) ')"), id="by the answer's text"),
        pytest.param(CHATML.replace("m.content", "m.content.split('Answer')[0]"), id="a part of the question alone"),
        pytest.param(
            CHATML.replace("m.content", "(m.content | replace('\\n\\n', '\\n') if '3' in m.content else m.content)"),
            id="in another form at times",
        ),
        pytest.param(
            CHATML + "{{ '' if ' ' in messages[-1].content else raise_exception('no') }}", id="refuses made-up"
        ),
        pytest.param(CHATML.replace("m.content", "m.content | replace('000000', '999999')"), id="another made-up word"),
        pytest.param(CHATML + "{{ ['A', 'B', 'C'] | random }}", id="at random"),
        pytest.param(
            f"{{% set k = {KEY} %}}{CHATML}{{{{ k[{LAST}[:40]] if ' ' in {LAST} else k.values() | first }}}}",
            id="a key for made-up words too",
        ),
    ],
)
def test_a_template_that_depends_on_what_is_asked_is_found(template: str) -> None:
    found = _looked_at(template, [CONVERSATIONS["a question"](q) for q in QUESTIONS])
    assert found is not None
    assert "the model's author has to give it a template that does not depend on what is asked" in found.words
    assert "What is" not in found.words, "what is asked may not be public"


@pytest.mark.parametrize(
    ("template", "words", "evidence"),
    [
        (
            CHATML + "{{ 'Say B' if 'What' in messages[-1].content else '' }}",
            "writes other text around a question than around another",
            r"im_start|>assistant\n'; the prompt: 'im_start|>assistant\nSay B'",
        ),
        (
            CHATML + "{{ '' if ' ' in messages[-1].content else raise_exception('no') }}",
            "refuses (by an error), or does not end on, other words in the place of a question's",
            r"the template refused made-up words, or did not end on them, where it wrote '<|im_start|>user\nWhat is",
        ),
    ],
    ids=["more", "refused"],
)
def test_where_a_prompt_differs_is_for_the_operator_to_see(template: str, words: str, evidence: str) -> None:
    found = _looked_at(template, [CONVERSATIONS["a question"](q) for q in QUESTIONS])
    assert found is not None
    assert words in found.words
    assert evidence in found.evidence
    assert len(found.evidence) < 300


def test_an_engine_says_of_a_template_that_does_not_end_what_we_look_for() -> None:
    assert (
        f'raise TimeoutError(\n                f"{_DOES_NOT_END} after ' in (_VLLM / "renderers" / "hf.py").read_text()
    )


ODD = "{{ messages[0].content | replace('<odd>', '') }}"


def _in_random_order(questions: int, odd: int, epochs: int, seed: int) -> list[tuple[int, list[dict[str, Any]]]]:
    """So many questions by number, of which some are odd, in an order of their own, the epochs of each together."""
    samples = [
        (n, CONVERSATIONS["a question"]("<odd>What?" if n < odd else "What?"))
        for n in random.Random(seed).sample(range(questions), questions)  # noqa: S311 - a test's order
    ]
    return [sample for sample in samples for _ in range(epochs)]


@pytest.mark.parametrize(
    ("questions", "odd", "epochs"),
    [
        pytest.param(200, 1, 4, id="half a percent, of four epochs"),
        pytest.param(1000, 5, 1, id="half a percent of more"),
        pytest.param(1000, 10, 1, id="one percent"),
        pytest.param(30, 2, 8, id="two of a small benchmark"),
    ],
)
def test_a_few_questions_with_something_that_nobody_thought_of_end_no_run(
    questions: int, odd: int, epochs: int
) -> None:
    for seed in range(10):
        assert asyncio.run(_ended_by(ODD, _in_random_order(questions, odd, epochs, seed), questions))[0] is None


@pytest.mark.parametrize(
    ("questions", "odd", "within"),
    [
        pytest.param(1000, 20, 1000, id="two percent"),
        pytest.param(2000, 1000, 40, id="half of many"),
        pytest.param(30, 3, 30, id="three of a small benchmark"),
    ],
)
def test_more_of_them_are_found_in_any_order(questions: int, odd: int, within: int) -> None:
    for seed in range(10):
        found, prompts = asyncio.run(_ended_by(ODD, _in_random_order(questions, odd, 1, seed), questions))
        assert found is not None
        assert prompts <= within


def test_a_few_of_the_questions_that_are_drawn_say_nothing_of_all() -> None:
    drawn = [(n, CONVERSATIONS["a question"]("<odd>What?" if n % 40 == 0 else "What?")) for n in range(200)]
    assert asyncio.run(_ended_by(ODD, drawn, 12_000))[0] is None


@pytest.mark.usefixtures("_stopped_clock")
def test_a_template_sees_no_time_of_the_day() -> None:
    assert _rendered("{{ strftime_now('%H:%M:%S.%f') }}", []) == "00:00:00.000000"
    assert _rendered("{{ strftime_now('%Y') }}", []) >= "2026"
