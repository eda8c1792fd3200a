"""Programs that loop, fork, eat memory, write, connect or cheat are trials that failed, and leave
nothing behind.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from artifacts.errors import UserError
from trainer.evaluation.programs import sandbox as module
from trainer.evaluation.programs.sandbox import Limits, Outcome, Sandbox, Trial
from trainer.evaluation.programs.walls import EVERY, LANDLOCK, NAMESPACES, SYSTEM_CALLS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="programs are run on Linux alone")

TESTS = "assert f(1) == 2"
BUILT = {"all": EVERY, "namespaces": (NAMESPACES,), "others": (LANDLOCK, SYSTEM_CALLS)}

ENDLESS = {
    "loops": "def f(x):\n    while True: pass",
    "loops while it defines": "while True: pass",
    "floods its output": "def f(x):\n    while True: print('y' * 100_000)",
    "waits for a lock": "import threading\nlock = threading.Lock()\nlock.acquire()\n"
    "def f(x): lock.acquire()",
    "gives values without end": "def f(x):\n    while True: yield x",
}

HOSTILE = {
    "takes memory": "def f(x):\n    return len([bytearray(1 << 20) for _ in range(100_000)])",
    "recurses": "def f(x): return f(x)",
    "crashes": "import ctypes\ndef f(x): ctypes.string_at(0)",
    "detaches a daemon": """
import os, time
def f(x):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(1000)
        os._exit(0)
    return 3
""",
    "starts a shell": "import os\ndef f(x): return os.system('sleep 1000 & touch OUTSIDE') + 3",
    "starts one by ctypes": "import ctypes\ndef f(x): return ctypes.CDLL(None).system(b'true') + 7",
    "writes a file": "def f(x):\n    open('OUTSIDE', 'w').write('x')\n    return 3",
    "changes a file": "def f(x):\n    open('VICTIM', 'a').write('x')\n    return 3",
    "truncates a file": "import os\ndef f(x):\n    os.truncate('VICTIM', 0)\n    return 3",
    "deletes a file": "import os\ndef f(x):\n    os.remove('VICTIM')\n    return 3",
    "renames a file": "import os\ndef f(x):\n    os.rename('VICTIM', 'OUTSIDE')\n    return 3",
    "opens a file's mode": "import os\ndef f(x):\n    os.chmod('VICTIM', 0o777)\n    return 3",
    "connects": """
import socket
def f(x):
    socket.create_connection(('127.0.0.1', PORT), 1).send(b'x')
    return 3
""",
    "kills its parent": "import os\ndef f(x):\n    os.kill(os.getppid(), 9)\n    return 3",
    "kills all": "import os\ndef f(x):\n    os.kill(-1, 9)\n    return 3",
    "kills the tests": "import os\ndef f(x):\n    os.kill(PID, 9)\n    return 3",
    "closes its files": "import os\ndef f(x):\n    os.closerange(0, 100)\n    return 2",
    "leaves at once": "import os\nos._exit(0)",
    "leaves with success": "import sys\nsys.exit(0)",
    "leaves when it is called": "import os\ndef f(x): os._exit(0)",
    "leaves at exit": "import atexit, os\natexit.register(os._exit, 0)\ndef f(x): exit(0)",
    "prints a verdict": """
import os, sys
VERDICT = b'{"passed": true, "reason": "", "walls": null}'
def f(x):
    for number in range(40):
        try:
            os.write(number, VERDICT)
        except OSError:
            pass
    return 2
""",
    "answers before it is asked": """
import os, struct
MESSAGE = b'["tuple", [["str", "value"], ["int", "0x2"]]]'
for number in range(3, 40):
    try:
        os.write(number, struct.pack('<Q', len(MESSAGE)) + MESSAGE)
    except OSError:
        pass
""",
    "equals everything": """
class Same:
    def __eq__(self, other): return True
def f(x): return Same()
""",
    "is an int that equals everything": """
class Same(int):
    def __eq__(self, other): return True
def f(x): return Same(5)
""",
    "is a text that lies of its type": """
class Same(str):
    __class__ = int
    def __eq__(self, other): return True
def f(x): return Same('5')
""",
    "replaces what compares": """
import builtins, json
builtins.AssertionError = builtins.exec = builtins.compile = None
json.dumps = lambda value: '["tuple", [["str", "value"], true]]'
def f(x): return 5
""",
    "looks for the tests in open files": """
import glob, os
def f(x):
    for path in glob.glob('/proc/[0-9]*/fd/*') + glob.glob('/proc/[0-9]*/mem'):
        if not path.startswith('/proc/' + os.readlink('/proc/self') + '/'):
            try:
                with open(path, 'rb') as file:
                    file.seek(0)
                    if b' '.join([b'f(1)', b'== 2']) in file.read(1 << 20):
                        return 2
            except OSError:
                pass
    return 3
""",
    "reads the tests": """
import gc, sys
def f(x):
    frames, frame = [], sys._getframe()
    while frame:
        frames.append(str(frame.f_locals))
        frame = frame.f_back
    everything = [thing for thing in gc.get_objects() if isinstance(thing, (dict, list, tuple))]
    assert ' '.join(['f(1)', '== 2']) in ''.join(frames) + str(everything)
    return 2
""",
}


@cache
def standing() -> frozenset[str]:
    return frozenset(wall for wall in EVERY if module._stands(wall))


def sandbox(walls: str, seconds: float = 10) -> Sandbox:
    missing = set(BUILT[walls]) - standing()
    if missing:
        pytest.skip(f"this machine does not allow {', '.join(sorted(missing))}")
    return Sandbox(BUILT[walls], Limits(seconds))


def marked(mark: str) -> list[str]:
    """Processes whose command line has a mark, as that of a guard and of what it forked has."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended
                if mark.encode() in (folder / "cmdline").read_bytes():
                    found.append(folder.name)
    return found


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where folders of trials are made; nothing is left there, nor any process."""
    made = tmp_path / "trials"
    made.mkdir()
    mark = uuid.uuid4().hex
    monkeypatch.setattr(tempfile, "tempdir", str(made))
    monkeypatch.setattr(module, "_START", f"{module._START} # {mark}")
    yield made
    assert list(made.iterdir()) == []
    assert marked(mark) == []


@pytest.mark.parametrize("walls", BUILT)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_program_fails_and_leaves_nothing(
    name: str, walls: str, folders: Path, tmp_path: Path
) -> None:
    victim, outside = tmp_path / "victim", tmp_path / "outside"
    victim.write_text("whole")
    victim.chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        program = HOSTILE[name].replace("PORT", str(server.getsockname()[1]))
        program = program.replace("VICTIM", str(victim)).replace("OUTSIDE", str(outside))
        outcome = sandbox(walls).run(Trial(program.replace("PID", str(os.getpid())), TESTS, ("f",)))
        with pytest.raises(BlockingIOError):
            server.accept()
    assert not outcome.passed
    assert outcome.reason
    assert victim.read_text() == "whole"
    assert victim.stat().st_mode & 0o777 == 0o600
    assert not outside.exists()


@pytest.mark.parametrize("name", ENDLESS)
def test_a_program_without_end_is_out_of_time(name: str, folders: Path) -> None:
    outcome = sandbox("all", 0.4).run(Trial(ENDLESS[name], TESTS, ("f",)))
    assert not outcome.passed
    assert outcome.reason in ("out of time", "MemoryError: ")


@pytest.mark.parametrize("walls", BUILT)
@pytest.mark.parametrize("program", ["os.kill(os.getpid(), 19)", "os.kill(0, 19)"])
def test_a_program_that_stops_itself_fails(program: str, walls: str, folders: Path) -> None:
    trial = Trial(f"import os\ndef f(x):\n    {program}\n    return 3", TESTS, ("f",))
    assert not sandbox(walls, 0.4).run(trial).passed


def test_a_fork_bomb_makes_no_process(folders: Path) -> None:
    program = "import os\ndef f(x):\n    while True: os.fork()"
    outcome = sandbox("others").run(Trial(program, TESTS, ("f",)))
    assert outcome == Outcome(False, "PermissionError: [Errno 1] Operation not permitted")


def test_processes_end_with_their_namespace(folders: Path) -> None:
    program = """
import os, time
def f(x):
    for _ in range(40):
        if os.fork() == 0:
            os.setsid()
            time.sleep(1000)
    return 2
"""
    assert sandbox("namespaces").run(Trial(program, TESTS, ("f",))).passed


def test_a_program_may_write_in_a_folder_of_its_own_within_bounds(folders: Path) -> None:
    program = """
import os
def f(x):
    with open('note', 'w') as file:
        file.write('2')
    return os.listdir(), open('note').read()
def fill(x):
    for number in range(1000):
        with open(str(number), 'wb') as file:
            file.write(bytes(1 << 19))
"""
    tests = """
assert f(1) == (['note'], '2')
try:
    fill(1)
except OSError:
    pass
else:
    raise AssertionError
"""
    assert sandbox("all").run(Trial(program, tests, ("f", "fill"))) == Outcome(True, "")


VALUES = [
    "None",
    "(1, [2.5, -0.0], {'a': {3}, (4, 5): b'\\x00\\xff'})",
    "[10 ** 5000, float('inf'), 1e-320, 3 + 4j]",
    "[frozenset({1}), bytearray(b'x'), 'a\\ud800\\U0001f600']",
    "__import__('collections').deque([1, 2])",
    "__import__('decimal').Decimal('1.10')",
    "__import__('fractions').Fraction(1, 3)",
    "__import__('collections').Counter('hello')",
]


def test_values_pass_equal_both_ways() -> None:
    program = "def f(x): return x"
    tests = "\n".join(f"assert f({value}) == {value}, {value!r}" for value in VALUES)
    kinds = (
        "\nparts = f((1, True, 2.0, []))\nassert [*map(type, parts)] == [int, bool, float, list]"
    )
    assert sandbox("all").run(Trial(program, tests + kinds, ("f",))) == Outcome(True, "")


def test_iterators_exceptions_named_arguments_and_objects_pass() -> None:
    program = """
class Pair:
    def __init__(self, a, b): self.a, self.b = a, b
def f(x, *, times=1):
    if x < 0: raise KeyError('below')
    return (x for _ in range(times))
def g(pairs): return sum(pair.a * pair.b for pair in pairs)
"""
    reference = "class Pair:\n    def __init__(self, a, b): self.a, self.b = a, b"
    tests = """
assert list(f(3, times=2)) == [3, 3]
try:
    f(-1)
except KeyError:
    pass
else:
    raise AssertionError
assert g([Pair(2, 3), Pair(4, 5)]) == 26
"""
    assert sandbox("all").run(Trial(program, tests, ("f", "g"), reference)) == Outcome(True, "")


def test_tests_that_expect_an_exception_are_not_passed_by_leaving() -> None:
    tests = "try:\n    f(1)\nexcept BaseException:\n    pass"
    outcome = sandbox("all").run(Trial("import os\ndef f(x): os._exit(0)", tests, ("f",)))
    assert outcome == Outcome(False, "the program ended")


@pytest.mark.parametrize("tests", ["import os\nos._exit(0)", "while True: pass", "def (", "0 / 0"])
def test_tests_that_do_not_work_are_no_pass(tests: str, folders: Path) -> None:
    trial = Trial("def f(x): return 2", tests, ("f",))
    assert not sandbox("all", 0.4).run(trial).passed


def test_the_environment_and_the_packages_of_this_process_are_not_there() -> None:
    program = """
import os, sys
def f(x):
    try:
        import numpy
    except ImportError:
        return sorted(os.environ), sys.stdin.read()
"""
    trial = Trial(program, "assert f(1) == (['LC_ALL'], '')", ("f",))
    assert sandbox("all").run(trial) == Outcome(True, "")


def test_many_run_side_by_side_in_their_order() -> None:
    trials = [Trial(f"def f(x): return {number}", TESTS, ("f",)) for number in range(6)]
    assert [outcome.passed for outcome in sandbox("all").run_all(trials)] == [
        number == 2 for number in range(6)
    ]


def test_where_walls_are_missing_nothing_runs_without_consent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_stands", lambda wall: wall == LANDLOCK)
    with pytest.raises(UserError) as raised:
        Sandbox.here()
    assert raised.value.found == "the network and other processes would be open to them"
    assert Sandbox.here(without_walls=True).walls == (LANDLOCK,)


def test_a_killed_parent_leaves_no_process(tmp_path: Path) -> None:
    made, mark = sandbox("all", 60), uuid.uuid4().hex
    code = f"""
from trainer.evaluation.programs import sandbox
sandbox._START += "# {mark}"
print("begun", flush=True)
trial = sandbox.Trial("while True: pass", "f(1)", ("f",))
sandbox.Sandbox({made.walls!r}, sandbox.Limits(60)).run(trial)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": module.ROOT},
    )
    own, waited = str(parent.pid), threading.Event()
    while len(set(marked(mark)) - {own}) < 3:  # guard, judge, program
        waited.wait(0.01)
    parent.kill()
    parent.communicate()
    while marked(mark):
        waited.wait(0.01)
