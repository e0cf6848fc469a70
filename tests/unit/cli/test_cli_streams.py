"""What commands do where nobody reads, the terminal has no such signs, a named place is not there, or a proxy is."""

from __future__ import annotations

import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from workers.processes.guarded import clean_environment

COMMAND = [sys.executable, "-c", "from deploy.cli.main import main; main()"]


def ran(*arguments: str | bytes, by_shell: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A command, or what a shell makes of it as `"$@"`."""
    command = ["sh", "-c", by_shell, "sh", *COMMAND] if by_shell else COMMAND
    told = clean_environment(PYTHONPATH=os.pathsep.join(sys.path), **environment)
    return subprocess.run([*command, *arguments], capture_output=True, env=told, check=False)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["noise", "--help"], ["--version"], ["policy", "check", "/dev/null"]]
)
def test_whoever_reads_no_further_is_not_told_of_a_mismatch(arguments: list[str]) -> None:
    # The pipe is closed before the command writes.
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as pipe:
        environment = clean_environment(PYTHONPATH=os.pathsep.join(sys.path))
        done = subprocess.run([*COMMAND, *arguments], stdout=pipe, stderr=subprocess.PIPE, env=environment, check=False)
    assert done.returncode == 141
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["--version"], ["policy", "check", "/dev/null"]])
def test_a_closed_standard_output_is_no_error(arguments: list[str]) -> None:
    done = ran(*arguments, by_shell='exec "$@" >&-')
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_terminal_without_such_signs_is_shown_others() -> None:
    done = ran("policy", "check", "nowh\u00e9re\u2026", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (3, b"error: nowh?re? cannot be read: No such file or directory\n")


@pytest.mark.parametrize("command", ["noise", "claims --model", "reproductions --model"])
def test_bytes_that_are_no_text_are_refused_in_a_sentence(command: str) -> None:
    done = ran(*command.split(), b"a/\xff", REPROFARM_API="http://127.0.0.1:1")
    assert (done.returncode, done.stderr.count(b"\n")) == (3, 1)
    assert b"bytes in it that are no text" in done.stderr


def test_what_is_too_long_to_be_asked_is_not_called_a_wrong_address() -> None:
    done = ran("claims", "--model", "x" * 100_000, REPROFARM_API="http://127.0.0.1:1")
    assert (done.returncode, done.stderr) == (3, b"error: what is asked for is longer than anything that a farm has\n")


def test_a_place_that_cannot_be_is_named_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for arguments, words in (
        (("check", "x" * 300), b"File name too long"),
        (("check", str(tmp_path / "none")), b"there is no such file or folder"),
        (("up", "--api-port", "0", "--var", str(tmp_path / "file" / "var")), b"Not a directory"),
    ):
        done = ran(*arguments)
        assert done.returncode == 3
        assert words in done.stderr
        assert b"Traceback" not in done.stderr


class _NoClaims(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"items": [], "next": null}')


@pytest.mark.parametrize("direct", [{}, {"NO_PROXY": ".svc"}, {"no_proxy": "*"}])
def test_a_farm_on_this_machine_is_reached_past_the_proxy_to_the_outside(direct: dict[str, str]) -> None:
    with HTTPServer(("127.0.0.1", 0), _NoClaims) as farm:
        Thread(target=farm.serve_forever, daemon=True).start()
        proxy = {"HTTP_PROXY": "http://127.0.0.1:1", "ALL_PROXY": "http://127.0.0.1:1", **direct}
        done = ran("claims", "--json", "--api", f"http://127.0.0.1:{farm.server_port}", **proxy)
        farm.shutdown()
    assert (done.returncode, b'"items": []' in done.stdout) == (0, True), done.stderr


@pytest.mark.parametrize(("place", "listens_on"), [("[::1]", "::"), ("127.0.0.2", "127.0.0.2")])
def test_no_proxy_is_asked_for_the_address_that_the_api_listens_on(place: str, listens_on: str) -> None:
    with HTTPServer(("127.0.0.1", 0), _NoClaims) as proxy:
        Thread(target=proxy.serve_forever, daemon=True).start()
        told = {"HTTP_PROXY": f"http://127.0.0.1:{proxy.server_port}", "REPROFARM_API_HOST": listens_on}
        # The proxy would answer for a farm that is not there.
        done = ran("claims", "--json", "--api", f"http://{place}:1", **told)
        proxy.shutdown()
    assert (done.returncode, done.stdout) == (3, b""), done.stderr
