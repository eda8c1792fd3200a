"""The process of a sample: a guard, a judge behind walls, and the program behind its own.

    guard ─ starts, waits, kills ─▶ judge ─ a name, arguments ─▶ program
      ▲ one line: the verdict         ▲ the tests    ◀─ a value ─┘

The guard stays outside the walls and runs nothing of anybody. The judge has the publisher's tests
and solution, the latter for names that tests use beside the function. The program is in another
process, in whose memory these never were: it is told a name and arguments and sends a value. So
there is no mark of success that it could print, no test to skip by leaving early, no function of
the judge to replace.
Nothing but the standard library is there (``python -I -S``).
"""

from __future__ import annotations

import builtins
import contextlib
import ctypes
import json
import math
import os
import resource
import select
import signal
import sys
import time
import types
from collections.abc import Callable
from typing import Any, NoReturn

from trainer.evaluation.programs import walls
from trainer.evaluation.programs.channel import Channel, EndedError
from trainer.evaluation.programs.system_calls import (
    conceal,
    die_with_parent,
    no_new_privileges,
    refuse_calls,
)

Job = dict[str, Any]
Verdict = dict[str, Any]

LONGEST_VERDICT = 4096
PROCESSES, FILES, FILE_BYTES = 64, 32, 1 << 20
_SUBREAPER = 36


def main() -> None:
    """Be the guard of the job on standard input, and print the verdict as JSON: ``passed``,
    ``reason``, and ``walls``: why the walls could not be built, else None.
    """
    die_with_parent(signal.SIGKILL)
    job = json.load(sys.stdin)
    sys.path[:] = [path for path in sys.path if path != job["root"]]
    sys.stdout.write(json.dumps(_guarded(job)))


def _guarded(job: Job) -> Verdict:
    """Start the judge, wait until it is done or the time is over, end all that it began."""
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    if walls.NAMESPACES in job["walls"]:
        try:
            walls.enter_namespaces()
        except OSError as error:
            return _said(False, "", str(error))
    conceal()
    reads, writes = os.pipe()
    judge = os.fork()
    if not judge:
        _as_judge(job, writes)
    with contextlib.suppress(OSError):  # it has ended
        os.setpgid(judge, judge)
    os.close(writes)
    line = _awaited(reads, time.monotonic() + job["seconds"])
    _end(judge)
    if line is None:
        return _said(False, "out of time")
    try:
        verdict: Verdict = json.loads(line)
        return _said(verdict["passed"] is True, str(verdict["reason"]), verdict["walls"])
    except (ValueError, KeyError, TypeError):
        return _said(False, "the tests ended early")


def _said(passed: bool, reason: str, why: str | None = None) -> Verdict:
    return {"passed": passed, "reason": reason, "walls": why}


def _awaited(reads: int, deadline: float) -> bytes | None:
    """What the judge wrote until it ended; None where the time was over before."""
    line = b""
    while len(line) <= LONGEST_VERDICT:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([reads], [], [], left)[0]:
            return None
        part = os.read(reads, LONGEST_VERDICT)
        if not part:
            break
        line += part
    return line


def _end(judge: int) -> None:
    """Kill the judge and whoever came from it, and wait until none is left.

    The first process of a namespace takes all others with it; elsewhere orphans become children of
    this process, which kills until there are none.
    """
    with contextlib.suppress(ProcessLookupError):
        os.kill(judge, signal.SIGKILL)
        os.killpg(judge, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(judge, 0)
        while True:
            for child in _children():
                os.kill(child, signal.SIGKILL)
            os.waitpid(-1, 0)


def _children() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [int(pid) for pid in file.read().split()]


def _as_judge(job: Job, verdict: int) -> NoReturn:
    """Build the walls, start the program, run the tests, say what came out, and end."""
    outcome = _said(False, "the tests ended early")
    try:
        die_with_parent(signal.SIGKILL)
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _only_these(verdict, job["judged_by"])
        if walls.NAMESPACES in job["walls"]:
            walls.close_files(job["folder"])
        os.chdir(job["folder"])
        module = _fresh_main()
        (asked, asks), (answers, answered) = os.pipe(), os.pipe()
        if not os.fork():
            _only_these(asked, answered)
            _as_program(job, Channel(asked, answered, module.__dict__), module)
        os.close(asked)
        os.close(answered)
        with open(job["judged_by"], "rb") as file:  # not before: a child has what its parent has
            judged_by = json.load(file)
        _enclose(job, 2 * job["memory"])
        outcome = _judged(judged_by, Channel(answers, asks, module.__dict__), module)
    except OSError as error:
        outcome = _said(False, "", str(error))
    finally:
        os.write(verdict, json.dumps(outcome).encode()[:LONGEST_VERDICT])
        os._exit(0)


def _only_these(*kept: int) -> None:
    """Close every file but these; what is read is empty, what is written goes nowhere."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)
    begin = 3
    for number in sorted(kept):
        os.closerange(begin, number)
        begin = number + 1
    os.closerange(begin, 4096)


def _fresh_main() -> types.ModuleType:
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    return module


def _enclose(job: Job, memory: int) -> None:
    """Set the limits and build the walls of this process. Raises: OSError."""
    seconds = math.ceil(job["seconds"])
    for which, limit in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_NOFILE, FILES),
        (resource.RLIMIT_NPROC, PROCESSES),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(which)[1]
        least = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(which, (least, least))
    no_new_privileges()
    walls.drop_capabilities()
    if walls.LANDLOCK in job["walls"]:
        walls.lock_files(job["folder"] if walls.NAMESPACES in job["walls"] else None)
    if walls.SYSTEM_CALLS in job["walls"]:
        refuse_calls()


def _as_program(job: Job, channel: Channel, module: types.ModuleType) -> NoReturn:
    """Be the program: define what it defines, then answer calls, until nobody asks."""
    try:
        try:
            die_with_parent(signal.SIGKILL)
            _enclose(job, job["memory"])
        except OSError as error:
            channel.send("walls", str(error))
            os._exit(0)
        channel.send("ready")
        try:
            exec(compile(job["program"], "<program>", "exec"), module.__dict__)
            channel.send("defined")
        except BaseException as error:
            channel.send("raised", type(error).__name__, str(error)[:200])
        while True:
            name, arguments, named = channel.receive()
            try:
                channel.send("value", module.__dict__[name](*arguments, **named))
            except BaseException as error:
                channel.send("raised", type(error).__name__, str(error)[:200])
    finally:
        os._exit(0)


def _judged(judged_by: Job, channel: Channel, module: types.ModuleType) -> Verdict:
    """Run the tests against the program."""
    first, *why = channel.receive()
    if first != "ready":
        return _said(False, "", str(*why))
    asked = _Asked(channel)
    try:
        asked.expect("defined")
        exec(compile(judged_by["reference"], "<reference>", "exec"), module.__dict__)
        for name in judged_by["functions"]:
            module.__dict__[name] = asked.function(name)
        exec(compile(judged_by["tests"], "<tests>", "exec"), module.__dict__)
    except BaseException as error:
        return _said(False, asked.broken or f"{type(error).__name__}: {error}"[:300])
    return _said(asked.broken is None, asked.broken or "")


class _Asked:
    """The program as the judge calls it. ``broken``: why it answers no more, once it does not."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.broken: str | None = None

    def function(self, name: str) -> Callable[..., Any]:
        """What stands in the tests for a function of the program."""

        def called(*arguments: Any, **named: Any) -> Any:
            try:
                self._channel.send(name, list(arguments), named)
                return self.expect("value")
            except EndedError as error:
                self.broken = str(error)
                raise

        return called

    def expect(self, kind: str) -> Any:
        """The value of the next message, which is to be of a kind. Raises: what the program raised,
        EndedError.
        """
        try:
            message = self._channel.receive()
            if message[0] == "raised" and len(message) == 3:
                raise _raised(str(message[1]), str(message[2]))
            if message[0] != kind:
                raise EndedError("the program answered out of turn")
        except EndedError as error:
            self.broken = str(error)
            raise
        return message[1] if len(message) > 1 else None


def _raised(name: str, text: str) -> BaseException:
    """The exception that the program raised, as far as the tests can know it."""
    kind = getattr(builtins, name, None)
    if not isinstance(kind, type) or not issubclass(kind, BaseException):
        return Exception(f"{name}: {text}")
    if not issubclass(kind, Exception):
        return EndedError(f"the program raised {name}")
    try:
        return kind(text)
    except TypeError:  # some take more than a text
        return Exception(f"{name}: {text}")
