from __future__ import annotations

import pytest

from scheduler.webhooks.addresses import Unsendable, is_public, resolve, split


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",  # noqa: S104 - an address that must be refused
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.0.192",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:192.0.0.192",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "64:ff9b:1::7f00:1",
        "::127.0.0.1",
        "fec0::1",
        "3fff::1",
        "5f00::1",
    ],
)
def test_what_is_not_on_the_public_internet_is_seen_through(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_what_is_public_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "http://[::1]:80/", "http://2130706433/", "http://0x7f.1/"])
def test_names_are_judged_by_what_they_resolve_to(url: str) -> None:
    with pytest.raises(Unsendable):
        resolve(split(url), private=False)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.example/",
        "file:///etc/passwd",
        "//a.example",
        "https:///path",
        "https://user:secret@a.example/",
        "https://a.example:99999/",
        "https://a.example/a b",
        "https://a.example/\r\nx: y",
        "https://[::1/",
        "https://ä.example/",
    ],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(Unsendable):
        split(url)


def test_an_address_in_its_parts() -> None:
    target = split("https://a.example:8443/hook?x=1#y")
    assert (target.host, target.port, target.path, target.authority) == (
        "a.example",
        8443,
        "/hook?x=1",
        "a.example:8443",
    )
    assert split("http://[2606:4700::1111]").authority == "[2606:4700::1111]"
