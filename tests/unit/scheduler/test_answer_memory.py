"""The memory of answers is bounded, and forgets first what was asked for longest ago."""

from __future__ import annotations

from scheduler.api.live.answer_memory import MAX_KEY_BYTES, Answer, AnswerMemory, Headers, Said
from scheduler.api.live.follower import Mark

NOW = Mark("a", 1, 1)


def answer(letter: bytes, headers: Headers | None = None) -> Answer:
    return Answer(NOW, 0.0, live=True, said=Said(200, headers or [], letter * 100, b"etag"))


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


def test_long_addresses_and_headers_take_room_too() -> None:
    memory = AnswerMemory(5000)
    memory.put(b"a", answer(b"a"))
    for n in range(3):
        memory.put(b"%d" % n + b"?" * 1000, answer(b"b"))
    assert kept(memory, b"a") == b""
    memory = AnswerMemory(5000)
    for letter in (b"a", b"b", b"c"):
        memory.put(letter, answer(letter, [(b"link", b"x" * 1000)]))
    assert kept(memory, b"abc") == b"bc"


def test_an_address_that_nobody_has_by_heart_is_not_kept() -> None:
    memory = AnswerMemory(10 * MAX_KEY_BYTES)
    address = b"?" * MAX_KEY_BYTES
    memory.put(address, answer(b"a"))
    memory.put(address + b"?", answer(b"a"))
    assert memory.known(address, NOW) is not None
    assert memory.known(address + b"?", NOW) is None
