"""What is done to the farm: a victim, and the way in which it is struck."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from typing import Literal

import psutil

from tests.chaos.farm import ChaosFarm, engine_of, worker_family
from tests.chaos.supervisor import signal_all

Way = Literal["kill", "freeze"]


@dataclass(frozen=True)
class Blow:
    """One way of striking one part of the farm."""

    victim: str
    """The process; `engine`, or `run` for the child of the worker that runs batches."""

    way: Way = "kill"
    loses_data: bool = False

    @property
    def name(self) -> str:
        """For the table."""
        what = {
            "control": "control worker",
            "api": "API",
            "redis": "Redis",
            "hub": "local Hub",
            "run": "worker's child",
        }
        what |= {"postgresql": "PostgreSQL"}
        data = {True: ", its data lost", False: ", its data kept"}[self.loses_data] if self.victim == "redis" else ""
        return f"{what.get(self.victim, self.victim)}{data}{' (frozen)' if self.way == 'freeze' else ''}"

    def strike(self, farm: ChaosFarm) -> None:
        """Do it. A frozen victim is thawed once its lease has run out, which is when this returns."""
        if self.victim in ("engine", "run"):
            self._strike_within_worker(farm)
        elif self.way == "kill":
            # Its disk is gone with it: what it kept must not come back.
            farm.supervisor.kill(self.victim, farm.lose_redis_data if self.loses_data else None)
        else:
            family = worker_family(farm) if self.victim == "worker" else farm.supervisor.family(self.victim)
            signal_all(family, signal.SIGSTOP)
            time.sleep(farm.lease_seconds * 1.5)
            signal_all(family, signal.SIGCONT)

    def _strike_within_worker(self, farm: ChaosFarm) -> None:
        found = engine_of(farm) if self.victim == "engine" else _child(farm)
        if found is None:
            # None runs for that worker now: there is nothing to strike, which is a stage of its own.
            return
        if self.way == "kill":
            found.kill()
        else:
            found.suspend()
            time.sleep(farm.lease_seconds * 1.5)
            found.resume()


def _child(farm: ChaosFarm) -> psutil.Process | None:
    """The prefork child that runs batches: what the kernel kills when memory is short."""
    main, *_ = farm.supervisor.family("worker")
    children: list[psutil.Process] = main.children()
    return next((each for each in children if "celery" in _command(each)), None)


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        # A child that has just ended is listed until its parent has looked.
        return ""


KILLS = (
    Blow("worker"),
    Blow("run"),
    Blow("engine"),
    Blow("control"),
    Blow("beat"),
    Blow("api"),
    Blow("redis"),
    Blow("redis", loses_data=True),
    Blow("postgresql"),
    Blow("hub"),
)
FREEZES = (
    Blow("worker", "freeze"),
    Blow("engine", "freeze"),
    Blow("control", "freeze"),
    Blow("redis", "freeze"),
    Blow("postgresql", "freeze"),
    Blow("hub", "freeze"),
)
EVERY_BLOW = (*KILLS, *FREEZES)
