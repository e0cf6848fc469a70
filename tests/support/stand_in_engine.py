"""A stand-in for vLLM's server, for tests that are not about vLLM: `stand_in_engine.py [OPTIONS] VLLM_ARGUMENTS`.

It answers with what follows the last `Say: ` in the prompt, and where that has ` || ` in it, with the parts in turn as
the same question comes again, until it is told to forget (POST /forget). Words in the prompt make it misbehave:
[empty], [long] (cut off), [slow] (--slow-seconds, once --slow-after others were answered, and not while the file
--held-by is there; with [token by token] its count of tokens grows meanwhile), [fail] (a question that it refuses, with
[malformed] for its form), [too long] (of the prompt, for the context), [hang], [die], [die slowly] (it listens no more,
and is there for --lingers seconds yet), [out of memory].
Options have it render a chat template and read that (--renders, the file; one that calls `never_end` takes too long),
answer so many at once (--at-once), write down how many run and wait whenever that changes (--in-flight), not sleep
(--restless), refuse what names a setting (--refuses), fail to start (--last-words; --fits, with more sequences at once
than that), or start processes of its own (--family); a model whose name has "slow-start" in it is up after
--start-seconds. It stands for the engine alone: what asks it is real.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

OUT_OF_MEMORY = """\
Traceback (most recent call last):
  File "/site-packages/vllm/v1/worker/gpu_model_runner.py", line 1, in _dummy_sampler_run
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.
"""
"""As torch says it."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Else each answer's body waits until its headers are acknowledged: 40 ms.
    disable_nagle_algorithm = True
    options: argparse.Namespace
    template: Any = None
    """A template of Jinja's; None is the last message as it is."""

    generated = 0
    """Tokens put out since it is up."""

    asleep = False
    running = 0
    waiting = 0
    counting = threading.Condition()
    others_answered = 0
    """Than those that are slow."""

    slowed = 0
    """Answers so far, of which with `--ever-slower` each takes longer than the one before."""

    asked: ClassVar[Counter[str]] = Counter()
    """How often each conversation came."""

    room: threading.Semaphore
    """Requests that are answered at once."""

    def do_GET(self) -> None:
        if self.path == "/health":
            self._answer(200, {})
        elif self.path == "/metrics":
            self._answer_text(self._metrics())
        elif self.path == "/is_sleeping" and self._sleeps():
            self._answer(200, {"is_sleeping": type(self).asleep})
        elif self._authorized():
            card = {"id": self.options.served_model_name, "object": "model", "max_model_len": 2048}
            self._answer(200, {"object": "list", "data": [card]})

    def _sleeps(self) -> bool:
        return self.options.enable_sleep_mode and os.environ.get("VLLM_SERVER_DEV_MODE") == "1"

    def do_POST(self) -> None:
        if self.path == "/forget":
            self.asked.clear()
            self._answer(200, {})
            return
        if self.path in {"/sleep?level=1", "/wake_up"} and self._sleeps():
            if self.options.restless:
                self._answer(500, {"error": "the stand-in was told not to sleep"})
                return
            type(self).asleep = self.path != "/wake_up"
            self._answer(200, {"status": "sleeping" if type(self).asleep else "awake"})
            return
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self._authorized():
            self._record(body)
            self._count(0, 1)
            with self.room:
                self._count(1, -1)
                try:
                    self._complete(body, self._prompt(body["messages"]))
                except TimeoutError as error:
                    self._answer(500, {"error": {"message": str(error), "code": 500}})
                finally:
                    self._count(-1, 0)

    def _count(self, running: int, waiting: int) -> None:
        with self.counting:
            type(self).running += running
            type(self).waiting += waiting
            if self.options.in_flight:
                with open(self.options.in_flight, "a") as lines:  # noqa: PTH123 - one write, appended whole
                    lines.write(f"{type(self).running} {type(self).waiting}\n")

    def _metrics(self) -> str:
        found = {"generation_tokens_total": type(self).generated}
        found |= {"num_requests_running": type(self).running, "num_requests_waiting": type(self).waiting}
        return "".join(f'vllm:{name}{{engine="0"}} {value}\n' for name, value in found.items())

    def _prompt(self, messages: list[dict[str, Any]]) -> str:
        if self.template is None:
            return _text(messages[-1]["content"])
        rendered: str = self.template.render(messages=messages, add_generation_prompt=True)
        return rendered

    def _complete(self, body: dict[str, Any], prompt: str) -> None:
        if self._dies(prompt):
            return
        if "[hang]" in prompt:
            threading.Event().wait()
        if "[fail]" in prompt or self.options.refuses in body:
            begin = "1 validation error:\n  " if "[malformed]" in prompt else ""
            self._answer(400, {"error": {"message": f"{begin}the stand-in was told to fail", "code": 400}})
            return
        if "[too long]" in prompt:
            message = "This model's maximum context length is 2048 tokens."
            self._answer(400, {"error": {"message": message, "code": 400}})
            return
        self._slow_down()
        slow = "[slow]" in prompt
        if slow:
            with self.counting:
                self.counting.wait_for(lambda: self.others_answered >= self.options.slow_after)
            until = time.monotonic() + self.options.slow_seconds
            while (left := until - time.monotonic()) > 0 and not _is_there(self.options.hurried_by):
                time.sleep(min(left, 0.05))
                type(self).generated += "[token by token]" in prompt
            while _is_there(self.options.held_by):
                time.sleep(0.05)
        turns = prompt.rpartition("Say: ")[2].partition("\n")[0].split(" || ")
        text = "" if "[empty]" in prompt else turns[self._turn(body) % len(turns)]
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "length" if "[long]" in prompt else "stop",
        }
        type(self).generated += 2
        usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
        answer = {"id": "1", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [choice]}
        if self.template is not None and body.get("return_prompt_text"):
            answer["prompt_text"] = prompt
        self._answer(200, {**answer, "usage": usage})
        if not slow:
            with self.counting:
                type(self).others_answered += 1
                self.counting.notify_all()

    def _slow_down(self) -> None:
        with self.counting:
            type(self).slowed += 1
            pause = self.options.ever_slower * type(self).slowed
        time.sleep(pause)

    def _dies(self, prompt: str) -> bool:
        if "[die]" in prompt:
            os._exit(1)
        if "[out of memory]" in prompt:
            os.write(2, OUT_OF_MEMORY.encode())
            os._exit(1)
        if "[die slowly]" in prompt:
            self.server.shutdown()
            self._answer(500, {"error": {"message": "EngineCore encountered an issue.", "code": 500}})
            return True
        return False

    def _turn(self, body: dict[str, Any]) -> int:
        conversation = json.dumps(body["messages"])
        with self.counting:
            self.asked[conversation] += 1
            return self.asked[conversation] - 1

    def _authorized(self) -> bool:
        if self.headers.get("Authorization") == f"Bearer {os.environ['VLLM_API_KEY']}":
            return True
        self._answer(401, {"error": "Unauthorized"})
        return False

    def _record(self, body: dict[str, Any]) -> None:
        if self.options.record:
            with open(self.options.record, "a") as lines:  # noqa: PTH123 - one write, appended whole
                lines.write(json.dumps(body) + "\n")

    def _answer_text(self, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _text(content: str | list[dict[str, str]]) -> str:
    return content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content)


def _is_there(file: str | None) -> bool:
    return file is not None and Path(file).exists()


def _never_end() -> None:
    """For a template to call: what vLLM says after 30 s of one that does not end."""
    raise TimeoutError("Chat template rendering timed out after 30.0s. This may indicate a malicious template.")


def _start_family(generations: int) -> None:
    """A child in a session of its own that has a child, and so on; none of them ends by itself."""
    code = "import sys,time,subprocess as s;n=int(sys.argv[2]);"
    code += "n and s.Popen([sys.executable,'-c',sys.argv[1],sys.argv[1],str(n-1)],start_new_session=True);"
    code += "time.sleep(3600)"
    if generations:
        subprocess.Popen([sys.executable, "-c", code, code, str(generations - 1)], start_new_session=True)


def main() -> None:
    """Serve until ended."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    parser.add_argument("--served-model-name")
    parser.add_argument("--record")
    parser.add_argument("--renders")
    parser.add_argument("--in-flight")
    parser.add_argument("--at-once", type=int, default=1000)
    parser.add_argument("--enable-sleep-mode", action="store_true")
    parser.add_argument("--restless", action="store_true")
    parser.add_argument("--refuses")
    parser.add_argument("--last-words")
    parser.add_argument("--max-num-seqs", type=int, default=1)
    parser.add_argument("--fits", type=int)
    parser.add_argument("--slow-seconds", type=float, default=0.0)
    parser.add_argument("--slow-after", type=int, default=0)
    parser.add_argument("--ever-slower", type=float, default=0.0)
    parser.add_argument("--lingers", type=float, default=0.0)
    parser.add_argument("--held-by")
    parser.add_argument("--hurried-by")
    parser.add_argument("--start-seconds", type=float, default=0.0)
    parser.add_argument("--never-up", action="store_true")
    parser.add_argument("--family", type=int, default=0)
    options, _ = parser.parse_known_args()
    _start_family(options.family)
    if options.last_words:
        sys.exit(options.last_words)
    if options.fits is not None and options.max_num_seqs > options.fits:
        sys.exit(OUT_OF_MEMORY)
    if options.never_up:
        time.sleep(3600)
    if "slow-start" in (options.served_model_name or ""):
        time.sleep(options.start_seconds)
    _Handler.options = options
    if options.renders:
        from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415 - for few, and it takes its time

        environment = ImmutableSandboxedEnvironment()
        environment.globals["never_end"] = _never_end
        _Handler.template = environment.from_string(Path(options.renders).read_text())
    _Handler.room = threading.Semaphore(options.at_once)
    sys.stdout.write("stand-in up\n")
    with ThreadingHTTPServer((options.host, options.port), _Handler) as server:
        server.serve_forever()
        server.socket.close()
        time.sleep(options.lingers)
    os._exit(1)


if __name__ == "__main__":
    main()
