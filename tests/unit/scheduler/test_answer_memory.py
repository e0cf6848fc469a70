"""The memory of answers is bounded, and forgets first what was asked for longest ago."""

from __future__ import annotations

from scheduler.api.live.answer_memory import Answer, AnswerMemory, Said
from scheduler.api.live.follower import Mark

NOW = Mark("a", 1, 1)


def answer(letter: bytes) -> Answer:
    return Answer(NOW, 0.0, live=True, said=Said(200, [], letter * 100, b"etag"))


def kept(memory: AnswerMemory, letters: bytes) -> bytes:
    return bytes(each for each in letters if memory.known(bytes([each]), NOW) is not None)


def test_what_was_asked_for_longest_ago_makes_room() -> None:
    memory = AnswerMemory(5000)
    for letter in (b"a", b"b", b"c", b"d"):
        memory.put(letter, answer(letter))
    assert memory.known(b"a", NOW) is not None
    for letter in (b"e", b"f"):
        memory.put(letter, answer(letter))
    assert kept(memory, b"abcdef") == b"adef"


def test_an_answer_that_is_replaced_takes_its_room_once() -> None:
    memory = AnswerMemory(5000)
    for _ in range(50):
        memory.put(b"a", answer(b"a"))
    memory.put(b"b", answer(b"b"))
    assert kept(memory, b"ab") == b"ab"


def test_one_that_is_larger_than_all_the_room_is_not_kept() -> None:
    memory = AnswerMemory(1000)
    memory.put(b"a", answer(b"a"))
    assert kept(memory, b"a") == b""
