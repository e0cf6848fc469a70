"""Only files on the farm's own Hub are followed, however the address is written."""

from __future__ import annotations

import httpx2
import pytest

from scheduler.hub.answers import HubFile
from scheduler.hub.hub import Hub
from scheduler.planning.linked_logs import NotFollowed, linked_file, links_to_a_log
from specs.errors import HubAway

HUB = "https://huggingface.co"


@pytest.mark.parametrize(
    ("address", "file"),
    [
        ("/o/m/blob/main/log.eval", HubFile("model", "o/m", "main", "log.eval")),
        ("/o/m/resolve/main/logs/my%20run.eval?download=true", HubFile("model", "o/m", "main", "logs/my run.eval")),
        ("/o/m/raw/0123abc/log.eval#top", HubFile("model", "o/m", "0123abc", "log.eval")),
        ("/datasets/o/d/blob/main/a/b/c.eval", HubFile("dataset", "o/d", "main", "a/b/c.eval")),
        ("/o/m/blob/refs%2Fpr%2F7/log.eval", HubFile("model", "o/m", "refs/pr/7", "log.eval")),
        ("/o/m/blob/refs/pr/7/log.eval", HubFile("model", "o/m", "refs/pr/7", "log.eval")),
        ("/o/m/blob/main/%E2%86%92.eval", HubFile("model", "o/m", "main", "→.eval")),
        ("/o/m/blob/main/100%2525.eval", HubFile("model", "o/m", "main", "100%25.eval")),
    ],
)
def test_files_of_repos_on_the_hub_are_followed(address: str, file: HubFile) -> None:
    assert links_to_a_log(HUB + address)
    assert linked_file(HUB + address, HUB) == file


def test_host_and_port_may_be_written_in_other_ways() -> None:
    expected = HubFile("model", "o/m", "main", "l.eval")
    assert linked_file("https://HuggingFace.co:443/o/m/blob/main/l.eval", HUB) == expected
    assert linked_file("http://127.0.0.1:8123/hub/o/m/blob/main/l.eval", "http://127.0.0.1:8123/hub/") == expected


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/o/m/blob/main/l.eval",
        "http://huggingface.co/o/m/blob/main/l.eval",
        "https://huggingface.co:8443/o/m/blob/main/l.eval",
        "https://huggingface.co:99999/o/m/blob/main/l.eval",
        "https://huggingface.co.example.org/o/m/blob/main/l.eval",
        "https://huggingface.co@example.org/o/m/blob/main/l.eval",
        "https://me@huggingface.co/o/m/blob/main/l.eval",
        "https://example.org\\@huggingface.co/o/m/blob/main/l.eval",
        "http://169.254.169.254/latest/meta-data/l.eval",
        "file:///etc/l.eval",
        "https://[::1/o/m/blob/main/l.eval",
    ],
)
def test_other_hosts_are_not(url: str) -> None:
    with pytest.raises(NotFollowed, match=r"not on the Hub|no web address"):
        linked_file(url, HUB)


@pytest.mark.parametrize(
    "path",
    [
        "/l.eval",
        "/o/m/l.eval",
        "/o/m/blob/l.eval",
        "/o/m/tree/main/l.eval",
        "/api/models/o/m/resolve/main/l.eval",
        "/spaces/o/s/blob/main/l.eval",
        "/datasets/d/blob/main/l.eval",
        "//o/m/blob/main/l.eval",
        "/o/m/blob/main//l.eval",
        "/o/m/blob/main/../../l.eval",
        "/o/m/blob/main/%2e%2e/l.eval",
        "/o/m/blob/main/..%2F..%2Fl.eval",
        "/o/m/blob/../l.eval",
        "/o/m/blob/-rf/l.eval",
        "/o%2Fx/m/blob/main/l.eval",
        "/o/m/blob/main/%00l.eval",
        "/o/m/blob/main/%5C..%5Cl.eval",
        "/o/m/blob/main/%FF.eval",
        "/o/m/blob/ma%0Ain/l.eval",
    ],
)
def test_what_is_no_file_of_a_repo_is_not(path: str) -> None:
    with pytest.raises(NotFollowed, match="so not read"):
        linked_file(HUB + path, HUB)


@pytest.mark.parametrize(
    "url",
    [
        f"{HUB}/o/m",
        f"{HUB}/o/m/blob/main/l.eval.md",
        f"{HUB}/?x=.eval",
        f"{HUB}/o/m/blob/main/l%2Eeval",
        "https://[::1/x.eval",
    ],
)
def test_most_sources_are_no_logs(url: str) -> None:
    assert not links_to_a_log(url)


def test_the_hub_may_not_lead_to_an_address_without_tls() -> None:
    (check,) = Hub(HUB, None, request_seconds=1)._anybody.event_hooks["request"]
    with pytest.raises(HubAway, match=r"leads to 169\.254\.169\.254 without TLS"):
        check(httpx2.Request("GET", "http://169.254.169.254/latest"))
    check(httpx2.Request("GET", "https://cas-bridge.xethub.hf.co/x"))
