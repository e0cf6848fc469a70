"""A child is forked from a process with threads: what one of those holds at that moment stays held in the child."""

from __future__ import annotations

import multiprocessing
import threading

import httpx2
import psutil
from celery.signals import worker_process_init

import workers.app  # noqa: F401 - connects what is tried here
from workers.engines.devices import Machine
from workers.engines.engine_metrics import engine_figures
from workers.engines.local_http import local_http


def _begin_and_look() -> None:
    worker_process_init.send(sender=None)
    Machine().look()


def _ask() -> None:
    worker_process_init.send(sender=None)
    # Nobody listens there.
    assert engine_figures("http://127.0.0.1:9/v1") is None


def test_a_child_that_is_forked_while_somebody_asks_an_engine_can_ask_itself() -> None:
    transport = local_http()._transport
    assert isinstance(transport, httpx2.HTTPTransport)
    # Nobody but the pool itself holds it for longer than a moment.
    with transport._pool._optional_thread_lock:
        child = multiprocessing.get_context("fork").Process(target=_ask)
        child.start()
    child.join(120)
    hung = child.is_alive()
    child.kill()
    assert not hung
    assert child.exitcode == 0


def test_a_child_that_is_forked_while_somebody_looks_at_a_process_can_look_itself() -> None:
    held = [each.oneshot() for each in psutil.process_iter() if each.pid == psutil.Process().pid]
    inside, done = threading.Event(), threading.Event()

    def look() -> None:
        with held[0]:
            inside.set()
            done.wait()

    thread = threading.Thread(target=look)
    thread.start()
    inside.wait()
    child = multiprocessing.get_context("fork").Process(target=_begin_and_look)
    child.start()
    child.join(120)
    done.set()
    thread.join()
    hung = child.is_alive()
    child.kill()
    assert not hung
    assert child.exitcode == 0
