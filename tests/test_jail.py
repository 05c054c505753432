"""Programs that a model wrote: what they may not do, what they can do, and what is left of them.

The hostile ones are in ``programs/hostile.txt``, the benign ones in ``programs/benign.txt``. Each
hostile one is judged from outside (a file, a server, a process, the next program), and each that
can be is first run in plain Python, where it must do its harm.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from smalltolarge.errors import RecipeError, RefusedForSafety
from smalltolarge.jail import Jails, Ran, backends, confine, find_backend, syscalls

PROGRAMS = Path(__file__).with_name("programs")
SECRET = "secret-8f14e45fceea167a5a36dedd4bea2543"
CONFINED = ("bubblewrap", "landlock")
_NUMBERS = {
    "add_key": (248, 217),
    "bpf": (321, 280),
    "clone": (56, 220),
    "exit": (60, 93),
    "perf_event_open": (298, 241),
    "pivot_root": (155, 41),
    "userfaultfd": (323, 282),
}
"""System calls without a function of the C library, on x86_64 and on aarch64."""


@cache
def lacking(backend: str) -> str | None:
    """Say what this machine lacks for a backend; asked of the machine, not of what is tested."""
    if backend == "unconfined":
        return None
    if sys.platform != "linux" or platform.machine() not in {"x86_64", "aarch64"}:
        return f"{sys.platform} on {platform.machine()}"
    if backend == "landlock":
        return None if confine.landlock_version() else "the kernel has no Landlock"
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return "bubblewrap is not installed"
    tried = [bwrap, "--unshare-all", "--ro-bind", "/", "/", sys.executable, "-S", "-c", ""]
    ran = subprocess.run(tried, capture_output=True, text=True, check=False)
    return None if ran.returncode == 0 else f"bubblewrap does not work: {ran.stderr}"


@pytest.fixture(scope="module", params=CONFINED)
def backend(request: pytest.FixtureRequest) -> str:
    """Each jail that works on this machine."""
    name: str = request.param
    if reason := lacking(name):
        pytest.skip(f"{name}: {reason}")
    return name


@pytest.fixture(scope="module", params=(*CONFINED, "unconfined"))
def any_backend(request: pytest.FixtureRequest) -> str:
    """Each way to run programs that works on this machine."""
    name: str = request.param
    if reason := lacking(name):
        pytest.skip(f"{name}: {reason}")
    return name


@pytest.fixture
def no_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start jails without numpy and sympy, which is faster."""
    monkeypatch.setattr(backends, "library_folders", list)


# Hostile programs


@dataclass(frozen=True)
class Hostile:
    """A program of ``programs/hostile.txt``."""

    kind: str
    name: str
    text: str
    where: str
    """"some": it works outside a jail on some systems, or for root; "!": it is not run there."""


def hostile() -> list[Hostile]:
    """Read all of them."""
    found = []
    for block in (PROGRAMS / "hostile.txt").read_text().split("\n### ")[1:]:
        head, text = block.split("\n", 1)
        kinds, name = head.split(": ", 1)
        kind, _, where = kinds.partition(" ")
        found.append(Hostile(kind, name, text, where))
    return found


HOSTILE = hostile()
ATTACKS = [one for one in HOSTILE if one.kind != "resource"]


class Servers:
    """Servers on this machine that count what arrives."""

    def __init__(self) -> None:
        self.arrived = 0
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.name = f"jail-{os.getpid()}-{id(self)}"
        self.abstract = socket.socket(socket.AF_UNIX)
        self.abstract.bind(f"\0{self.name}")
        self.abstract.listen()
        for server in (self.tcp, self.udp, self.abstract):
            threading.Thread(target=self._count, args=(server,), daemon=True).start()

    def _count(self, server: socket.socket) -> None:
        while True:
            try:
                if server is self.udp:
                    server.recv(100)
                else:
                    server.accept()[0].close()
            except OSError:
                return
            self.arrived += 1

    def close(self) -> None:
        """End them."""
        for server in (self.tcp, self.udp, self.abstract):
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()


class World:
    """What a hostile program finds: a folder with secrets, and another process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / ".ssh").mkdir(parents=True)
        (folder / "empty").mkdir()
        (folder / "secret.txt").write_text(SECRET)
        (folder / ".ssh" / "id_ed25519").write_text(SECRET)
        (folder / "planted.py").write_text(f"value = {SECRET!r}\n")
        with zipfile.ZipFile(folder / "archive.zip", "w") as archive:
            archive.writestr("secret.txt", SECRET)
        with contextlib.closing(sqlite3.connect(folder / "data.db")) as data:
            data.execute("create table secrets (text)")
            data.execute("insert into secrets values (?)", (SECRET,))
            data.commit()

    def copy(self, to: Path) -> World:
        """Give another one like it."""
        shutil.copytree(self.folder, to)
        found = World.__new__(World)
        found.folder = to
        return found

    def state(self) -> dict[str, tuple[object, ...]]:
        """Describe the folder, so that any change of it shows."""
        found: dict[str, tuple[object, ...]] = {}
        for path in (self.folder, *sorted(self.folder.rglob("*"))):
            facts = path.lstat()
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            names = tuple(os.listxattr(path, follow_symlinks=False))
            shown = (facts.st_mode, facts.st_uid, facts.st_gid, facts.st_nlink, facts.st_mtime_ns)
            found[str(path.relative_to(self.folder))] = (*shown, content, names)
        # Python's own files of imported modules, which plain Python leaves there.
        return {
            name: one for name, one in found.items() if "__pycache__" not in name and name != "."
        }


class Victim:
    """A process that keeps the secret in its memory and should live."""

    def __init__(self, folder: Path) -> None:
        script = (
            "import ctypes, sys, time\n"
            "kept = ctypes.create_string_buffer(sys.stdin.readline().strip().encode(), 40)\n"
            "print(ctypes.addressof(kept), flush=True)\n"
            "time.sleep(600)\n"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=folder,
            env={**os.environ, "JAIL_TEST_SECRET": SECRET},
            text=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{SECRET}\n")
        self._process.stdin.flush()
        self.pid, self.address = self._process.pid, int(self._process.stdout.readline())

    @property
    def is_alive(self) -> bool:
        """Whether nothing has ended it."""
        return self._process.poll() is None

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


def numbered(program: str) -> str:
    """Put the numbers of system calls into a program."""
    for name, both in _NUMBERS.items():
        program = program.replace(f"@{name}@", str(both[platform.machine() == "aarch64"]))
    return program


def filled(program: str, world: World, servers: Servers, victim: Victim) -> str:
    """Put what there is to attack into a program."""
    values: dict[str, object] = {
        "SECRET": world.folder / "secret.txt",
        "FOLDER": world.folder,
        "TCP": servers.tcp.getsockname()[1],
        "UDP": servers.udp.getsockname()[1],
        "ABSTRACT": servers.name,
        "VICTIM": victim.pid,
        "ADDRESS": victim.address,
    }
    for name, value in values.items():
        program = program.replace(f"@{name}@", str(value))
    return numbered(program)


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    found = Servers()
    yield found
    found.close()


@pytest.fixture(scope="module")
def model_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The world that others are copies of."""
    return World(tmp_path_factory.mktemp("model") / "world")


@dataclass(frozen=True)
class Attack:
    """What came of a hostile program: what it printed, and what was seen of it outside."""

    ran: Ran
    next_ran: Ran
    is_world_changed: bool


BENIGN = (
    "from fractions import Fraction\nimport math, os\n"
    "print(int(math.sqrt(1764)), sum([Fraction(1, 2)] * 2), os.listdir())"
)


@pytest.fixture(scope="module")
def attacks(
    backend: str,
    model_world: World,
    servers: Servers,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Attack]:
    """Run all attacks in one jail, one after the other, and after each a benign program."""
    folder = tmp_path_factory.mktemp(backend)
    victim = Victim(model_world.folder)
    worlds = [model_world.copy(folder / str(number)) for number in range(len(ATTACKS))]
    before = [world.state() for world in worlds]
    arrived = servers.arrived
    programs = []
    for one, world in zip(ATTACKS, worlds, strict=True):
        programs += [filled(one.text, world, servers, victim), BENIGN]
    os.environ["JAIL_TEST_SECRET"] = SECRET
    try:
        with Jails(backend, workers=1, seconds=5, megabytes=256) as jails:
            found = jails.run(programs)
    finally:
        del os.environ["JAIL_TEST_SECRET"]
    time.sleep(0.05)
    assert servers.arrived == arrived
    assert victim.is_alive
    victim.close()
    return {
        f"{one.kind}: {one.name}": Attack(ran, next_ran, world.state() != state)
        for one, ran, next_ran, world, state in zip(
            ATTACKS, found[::2], found[1::2], worlds, before, strict=True
        )
    }


def names(kind: str) -> list[str]:
    """Name the attacks of a kind."""
    return [f"{one.kind}: {one.name}" for one in ATTACKS if one.kind == kind]


@pytest.mark.parametrize("name", names("read"))
def test_a_program_cannot_read_a_file_of_the_host(name: str, attacks: dict[str, Attack]) -> None:
    ran = attacks[name].ran
    assert SECRET not in ran.printed + str(ran.failure)


@pytest.mark.parametrize("name", names("write"))
def test_a_program_cannot_change_a_file_of_the_host(name: str, attacks: dict[str, Attack]) -> None:
    assert not attacks[name].is_world_changed


@pytest.mark.parametrize("name", names("network"))
def test_a_program_cannot_reach_the_network(name: str, attacks: dict[str, Attack]) -> None:
    assert "BROKE" not in attacks[name].ran.printed  # and the fixture: nothing has arrived


@pytest.mark.parametrize("name", names("process"))
def test_a_program_cannot_start_or_touch_processes(name: str, attacks: dict[str, Attack]) -> None:
    assert "BROKE" not in attacks[name].ran.printed  # and the fixture: the victim is alive


@pytest.mark.parametrize("name", names("escape"))
def test_a_program_speaks_for_itself_only(name: str, attacks: dict[str, Attack]) -> None:
    assert "BROKE" not in attacks[name].ran.printed


def test_no_hostile_program_harms_the_next_one(attacks: dict[str, Attack]) -> None:
    wrong = {name: one.next_ran for name, one in attacks.items() if one.next_ran.failure}
    assert wrong == {}
    assert {one.next_ran.printed for one in attacks.values()} == {"42 1 []\n"}


def test_no_hostile_program_changes_a_file_or_is_slow(attacks: dict[str, Attack]) -> None:
    assert [name for name, one in attacks.items() if one.is_world_changed] == []
    assert [name for name, one in attacks.items() if one.ran.seconds > 4] == []


def test_failures_are_one_line_of_plain_text(attacks: dict[str, Attack]) -> None:
    for attack in attacks.values():
        assert len(str(attack.ran.failure)) <= 200
        assert str(attack.ran.failure).isprintable()


@pytest.fixture(scope="module")
def controls(
    model_world: World, servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bool]:
    """Run the attacks in plain Python; say of each whether it did its harm."""
    folder = tmp_path_factory.mktemp("control")
    run = [one for one in ATTACKS if one.kind != "escape" and one.where != "!"]

    def harms(given: tuple[int, Hostile]) -> bool:
        number, one = given
        world = model_world.copy(folder / str(number))
        victim = Victim(world.folder)
        before, arrived = world.state(), servers.arrived
        try:
            ran = subprocess.run(
                [sys.executable, "-c", filled(one.text, world, servers, victim)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=30,
                cwd=folder,
                env={**os.environ, "JAIL_TEST_SECRET": SECRET},
                check=False,
            )
        finally:
            is_alive = victim.is_alive
            victim.close()
        printed = ran.stdout.decode(errors="replace")
        if one.kind == "read":
            return SECRET in printed
        if one.kind == "write":
            return world.state() != before
        if "BROKE" in printed or not is_alive:
            return True
        limit = time.monotonic() + 1
        while one.kind == "network" and servers.arrived == arrived and time.monotonic() < limit:
            time.sleep(0.01)
        return servers.arrived > arrived

    # What arrives is counted for all together, so programs of the network go one by one.
    with ThreadPoolExecutor(2) as two, ThreadPoolExecutor(1) as single:
        done = [
            (one, (single if one.kind == "network" else two).submit(harms, (number, one)))
            for number, one in enumerate(run)
        ]
        return {f"{one.kind}: {one.name}": future.result() for one, future in done}


@pytest.mark.heavy
@pytest.mark.skipif(sys.platform != "linux", reason="the attacks are on Linux")
def test_hostile_programs_do_their_harm_outside_a_jail(controls: dict[str, bool]) -> None:
    sure = {
        f"{one.kind}: {one.name}"
        for one in ATTACKS
        if one.kind in {"read", "write", "network"} and one.where == ""
    }
    assert {name for name in sure if not controls[name]} == set()
    assert len(sure) > 60
    # The kernel of a container may refuse some of what else is tried.
    assert sum(controls.values()) > len(controls) // 2


# Resources

RESOURCES = [one for one in HOSTILE if one.kind == "resource"]
SECONDS = 0.4
REASONS = {
    "endless loop": "ran longer than 0.4 s",
    "sleep": "ran longer than 0.4 s",
    "signals ignored": "ran longer than 0.4 s",
    "memory at once": "used more than 128 MB",
    "numpy memory": "used more than 128 MB",
    "shared memory": "used more than 128 MB",
    "output": "printed more than 64 KB",
    "event loop that never ends": "ran longer than 0.4 s",
    "threads that print": "printed more than 64 KB",
    "long file of nothing": "OSError: [Errno 27] File too large",
    "output past Python": "printed more than 64 KB",
    "output that does not wait": "printed more than 64 KB",
    "error output": "printed more than 64 KB",
    "segmentation fault": "ended by signal 11",
    "input": "EOFError: EOF when reading a line",
    "exit code": "ended with exit code 77",
    "recursion": "RecursionError: maximum recursion depth exceeded",
}


@pytest.fixture(scope="module")
def spent(any_backend: str) -> dict[str, Ran]:
    """Run all programs that use up something, two at once."""
    # As root, nothing limits the number of processes outside a jail. The others are held by what
    # every way to run programs has in common.
    run = [one for one in RESOURCES if any_backend != "unconfined" or one.name in REASONS]
    with_libraries = [one for one in run if "numpy" in one.text or "sympy" in one.text]
    bare = [one for one in run if one not in with_libraries]
    # What is stopped for how much it takes may be slow to take it on a busy machine.
    filling = [one for one in bare if "more than" in REASONS.get(one.name, "")]
    bare = [one for one in bare if one not in filling]
    spent: dict[str, Ran] = {}
    with pytest.MonkeyPatch.context() as patch:
        for group, seconds in ((with_libraries, SECONDS), (filling, 5.0), (bare, SECONDS)):
            began = time.monotonic()
            with Jails(any_backend, workers=2, seconds=seconds, megabytes=128) as jails:
                found = jails.run([numbered(one.text) for one in group] + [BENIGN] * 4)
            # they are stopped; how soon is no claim on a machine that does other work
            assert time.monotonic() - began < len(group) * (seconds + 2) + 20
            assert [ran.printed for ran in found[-4:]] == ["42 1 []\n"] * 4
            spent |= {one.name: ran for one, ran in zip(group, found, strict=False)}
            patch.setattr(backends, "library_folders", list)
    return spent


def test_no_program_ends_well_that_uses_too_much(spent: dict[str, Ran]) -> None:
    fine = {"recursion", "nested source", "expansion of a compressed text", "lost reference counts"}
    assert [name for name, ran in spent.items() if ran.failure is None and name not in fine] == []


def test_no_program_runs_much_longer_than_it_may(spent: dict[str, Ran]) -> None:
    assert [name for name, ran in spent.items() if ran.seconds > 5 + 3] == []


def test_no_program_prints_much_more_than_it_may(spent: dict[str, Ran]) -> None:
    assert max(len(ran.printed) for ran in spent.values()) <= 65536


@pytest.mark.parametrize("name", REASONS)
def test_the_reason_is_said(name: str, spent: dict[str, Ran]) -> None:
    assert spent[name].failure == REASONS[name]


# Benign programs


def benign() -> dict[str, tuple[str, str]]:
    """Read them: a name, the program, what it prints."""
    found = {}
    for block in (PROGRAMS / "benign.txt").read_text().split("\n### ")[1:]:
        head, printed = block.split("\n-->\n")
        name, _, text = head.partition("\n")
        found[name] = (text, printed.removesuffix("\n"))
    return found


BENIGNS = benign()


def test_benign_programs_print_what_is_right(any_backend: str) -> None:
    assert len(BENIGNS) >= 200
    advanced: list[int] = []
    with Jails(any_backend, workers=2, seconds=20) as jails:
        found = jails.run([text for text, _ in BENIGNS.values()], advance=advanced.append)
    assert sum(advanced) == len(BENIGNS)
    wrong = {
        name: (ran, printed)
        for (name, (_, printed)), ran in zip(BENIGNS.items(), found, strict=True)
        if ran.failure or ran.printed.rstrip("\n") != printed.rstrip("\n")
    }
    assert wrong == {}


def test_programs_that_draw_without_a_seed_draw_the_same_every_time(any_backend: str) -> None:
    draw = (
        "import random, numpy\nprint(random.random(), numpy.random.rand(), hash('a'), {'b', 'c'})"
    )
    with Jails(any_backend, workers=2) as jails, Jails(any_backend, workers=1) as others:
        assert len({ran.printed for ran in [*jails.run([draw] * 6), *others.run([draw])]}) == 1


SHARED = {
    "thread": (
        "import threading\nfound = []\n"
        "threads = [threading.Thread(target=found.append, args=(n,)) for n in range(20)]\n"
        "for one in threads: one.start()\nfor one in threads: one.join()\nprint(sum(found))",
        "190",
    ),
    "thread that is not waited for": (
        "import threading, time\n"
        "threading.Thread(target=lambda: (time.sleep(0.05), print('late'))).start()",
        "late",
    ),
    "timer": ("import threading\nthreading.Timer(0.01, print, ('rung',)).start()", "rung"),
    "executor": (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor() as pool: print(*pool.map(str, range(4)))",
        "0 1 2 3",
    ),
    "executor that is not closed": (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "print(ThreadPoolExecutor(2).submit(pow, 2, 5).result())",
        "32",
    ),
    "event loop": (
        "import asyncio\nasync def add(a, b):\n    await asyncio.sleep(0.01)\n    return a + b\n"
        "async def main():\n    print(await asyncio.gather(add(1, 2), add(3, 4)))\n"
        "asyncio.run(main())",
        "[3, 7]",
    ),
    "event loop and thread": (
        "import asyncio\nprint(asyncio.run(asyncio.to_thread(abs, -7)))",
        "7",
    ),
    "file": (
        "with open('out.txt', 'w') as file: file.write('7')\nprint(open('out.txt').read())",
        "7",
    ),
    "file of another module": (
        "import csv, os, pathlib\nwith open('a.csv', 'a+') as file:\n"
        "    csv.writer(file).writerow([1, 2])\n    file.seek(0)\n    print(file.read().strip())\n"
        "os.makedirs('folder/below')\npathlib.Path('folder/b').write_bytes(bytes(9))\n"
        "os.rename('a.csv', 'b.csv')\nos.remove('folder/b')\nprint(sorted(os.listdir()))",
        "1,2\n['b.csv', 'folder']",
    ),
    "temporary files": (
        "import tempfile\nwith tempfile.TemporaryFile() as file: print(file.write(b'abc'))\n"
        "with tempfile.TemporaryDirectory() as folder: print(len(folder) > 3)",
        "3\nTrue",
    ),
    "processes that are not started": (
        "import multiprocessing as mp\nfrom multiprocessing import Pool, Process\n"
        "from concurrent.futures import ProcessPoolExecutor\nimport subprocess\n"
        "print(mp.cpu_count() > 0)",
        "True",
    ),
}


@pytest.mark.usefixtures("no_libraries")
def test_threads_event_loops_and_files_of_its_own_are_a_programs_right(backend: str) -> None:
    with Jails(backend, workers=2) as jails:
        found = jails.run([text for text, _ in SHARED.values()])
    wrong = {
        name: ran
        for (name, (_, printed)), ran in zip(SHARED.items(), found, strict=True)
        if ran.failure or ran.printed.rstrip("\n") != printed
    }
    assert wrong == {}


REFUSED = [
    ("import subprocess\nsubprocess.run(['ls'])", "may not start a process"),
    ("import os\nos.system('ls')", "may not start a process"),
    ("import asyncio\nasyncio.run(asyncio.create_subprocess_shell('ls'))", "start a process"),
    ("from multiprocessing import Pool\nPool(2)", "the jail does not allow this"),
    ("import urllib.request as r\nr.urlopen('http://x.org')", "may not use the network"),
    ("import socket\nsocket.create_connection(('127.0.0.1', 1))", "may not use the network"),
    ("for n in range(65): open(f'{n}', 'w')", "Disk quota exceeded: '64'"),
    ("open('a', 'wb').write(bytes(1 << 21))", "File too large"),
    ("import os\nos.remove(os.__file__)", "the jail does not allow this"),
]


@pytest.mark.usefixtures("no_libraries")
def test_what_is_refused_is_said_in_words(backend: str) -> None:
    with Jails(backend, workers=1) as jails:
        found = jails.run([program for program, _ in REFUSED])
    wrong = [
        (words, ran) for (_, words), ran in zip(REFUSED, found, strict=True)
        if words not in str(ran.failure)
    ]  # fmt: skip
    assert wrong == []


@pytest.mark.usefixtures("no_libraries")
def test_nothing_of_a_programs_files_is_left(
    any_backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    write = "import os\nos.mkdir('a')\nopen('a/b', 'w').write('x')\nprint(os.getcwd())"
    with Jails(any_backend, workers=1, seconds=0.4) as jails:
        first, late, look = jails.run(
            [write, f"{write}\nwhile True: pass", "import os\nprint(os.listdir())"]
        )
        assert len(list(tmp_path.rglob("*"))) == (any_backend != "bubblewrap")
    assert first.printed == late.printed != ""
    assert look.printed == "[]\n"
    assert list(tmp_path.iterdir()) == []


PRINTLESS = [
    ("def solution():\n    return 7\nx = 8", "7"),
    ("answer = 7\nx = 8", "7"),
    ("total = 3 + 4", "7"),
    ("x = 7\nx", "7"),
    ("def f():\n    return 7\nf()", "7"),
    ("x = 7\nx == 7", "True"),
    ("print(7)\n8", "7"),
    ("print(7)\nquit()", "7"),
    ("import os\nx = 8\nos.write(1, b'7')", "7"),
    ("import sys\nx = 8\nsys.stdout.write('7')", "7"),
    ("def f():\n    return 7", ""),
    ("import nowhere.to_be_found as n\nfrom nowhere import found\nprint(7)", "7"),
    ("try:\n    import nowhere\nexcept ImportError:\n    print(7)", "7"),
]


@pytest.mark.usefixtures("no_libraries")
def test_what_a_program_gives_is_printed_where_it_prints_nothing() -> None:
    with Jails("unconfined", workers=1) as jails:
        found = jails.run([program for program, _ in PRINTLESS])
    assert [(ran.printed.strip(), ran.failure) for ran in found] == [
        (printed, None) for _, printed in PRINTLESS
    ]


FAILURES = [
    ("print('\udc80')", "is not valid Unicode"),
    ("print('\0')", "holds a NUL character"),
    ("#" * 65537, "longer than 64 KB"),
    ("answer = (", "SyntaxError: '(' was never closed (line 1)"),
    ("raise ValueError('a\\nb\\x1b[31m')", "ValueError: a\\nb\\x1b[31m"),
    ("import sys\nsys.exit('no answer')", "no answer"),
    ("assert 1 == 2", "AssertionError"),
    ("raise KeyError('x' * 1000)", f"KeyError: '{'x' * 188}…"),
    ("solution = lambda: 1 / 0", "ZeroDivisionError: division by zero"),
    ("print(1)\nimport os\nos._exit(0)", None),
    ("import nowhere\nnowhere.solve(1)", "ModuleNotFoundError: No module named 'nowhere'"),
]


@pytest.mark.usefixtures("no_libraries")
def test_a_program_that_fails_says_why() -> None:
    with Jails("unconfined", workers=1) as jails:
        found = jails.run([program for program, _ in FAILURES])
    assert [ran.failure for ran in found] == [failure for _, failure in FAILURES]


@pytest.mark.usefixtures("no_libraries")
def test_what_was_printed_before_a_failure_is_kept_and_bytes_that_are_not_text_replaced() -> None:
    with Jails("unconfined", workers=1) as jails:
        kept, bytes_ = jails.run(
            ["print(1, end=' ')\nprint(2, end='')\n1 / 0", "import os\nos.write(1, b'a\\xff')"]
        )
    assert kept.printed == "1 2"
    assert bytes_.printed == "a\ufffd"


@pytest.mark.usefixtures("no_libraries")
def test_memory_is_counted_beyond_what_python_and_its_libraries_take(any_backend: str) -> None:
    allocate = "kept = bytearray({} << 20)\nprint(len(kept) >> 20)"
    with Jails(any_backend, workers=1, megabytes=200) as jails:
        less, more = jails.run([allocate.format(180), allocate.format(220)])
    assert less.printed == "180\n"
    assert more.failure == "used more than 200 MB"


# Workers


def left_running() -> set[int]:
    """Name the processes below this one; orphans come to it."""
    confine.adopt_orphans()
    found: set[int] = set()
    new = {os.getpid()}
    while new:
        below: set[int] = set()
        for pid in new:
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    below |= set(map(int, (task / "children").read_text().split()))
        new = below - found
        found |= below
    return {pid for pid in found if not is_zombie(pid)}


def is_zombie(pid: int) -> bool:
    """Whether a process has ended and is only to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def wait_for_none_but(before: set[int]) -> set[int]:
    """Wait until only earlier processes are left; give the others."""
    limit = time.monotonic() + 3
    while (found := left_running() - before) and time.monotonic() < limit:
        time.sleep(0.02)
    return found


DAEMON = """
import os, time
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
print("started")
"""

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.mark.usefixtures("no_libraries")
@linux
def test_nothing_is_left_running(any_backend: str) -> None:
    before = left_running()
    with Jails(any_backend, workers=2, seconds=0.4) as jails:
        jails.run([DAEMON, "while True: pass", "import time\ntime.sleep(9)", DAEMON, "print(1)"])
    assert wait_for_none_but(before) == set()


@pytest.mark.usefixtures("no_libraries")
@linux
def test_a_worker_goes_on_at_once_after_a_program_that_ran_too_long(any_backend: str) -> None:
    with Jails(any_backend, workers=1, seconds=0.3) as jails:
        jails.run(["print(1)"])
        first = jails._workers[0]._process.pid
        late, well = jails.run(["while True: pass", "print(2)"])
        assert jails._workers[0]._process.pid == first
    assert late.failure == "ran longer than 0.3 s"
    assert well.printed == "2\n"


@pytest.mark.usefixtures("no_libraries")
@linux
def test_a_killed_worker_is_replaced_and_its_program_run_again(any_backend: str) -> None:
    killed: list[int] = []
    with Jails(any_backend, workers=1, seconds=5) as jails:
        jails.run(["print(1)"])

        def kill_once() -> None:
            if not killed:
                os.killpg(jails._workers[0]._process.pid, signal.SIGKILL)
                killed.append(1)

        slow = "import time\ntime.sleep(0.2)\nprint(3)"
        assert [ran.printed for ran in jails.run([slow], check=kill_once)] == ["3\n"]
        jails._workers[0]._process.kill()
        jails._workers[0]._process.wait()
        assert [ran.printed for ran in jails.run(["print(4)"])] == ["4\n"]


@pytest.mark.usefixtures("no_libraries")
def test_a_program_that_ends_its_worker_fails_alone() -> None:
    stop = "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nos.kill(os.getpid(), 9)"
    with Jails("unconfined", workers=1, seconds=5) as jails:
        found = jails.run([stop, "print(5)"])
    assert found[0].failure == "ended the process that ran it"
    assert found[1].printed == "5\n"


@pytest.mark.usefixtures("no_libraries")
def test_a_stopped_worker_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smalltolarge.jail.worker._GRACE", 0.3)
    stop = "import os, signal\nos.kill(os.getppid(), signal.SIGSTOP)\nwhile True: pass"
    with Jails("unconfined", workers=1, seconds=0.3) as jails:
        found = jails.run([stop, "print(6)"])
    assert found[0].failure == "ran longer than 0.3 s"
    assert found[1].printed == "6\n"


@pytest.mark.usefixtures("no_libraries")
@linux
def test_a_check_that_raises_ends_everything(any_backend: str) -> None:
    before, calls = left_running(), []

    def check() -> None:
        calls.append(1)
        if len(calls) > 8:
            raise KeyboardInterrupt

    began = time.monotonic()
    jails = Jails(any_backend, workers=2, seconds=60)
    with pytest.raises(KeyboardInterrupt):
        jails.run(["while True: pass"] * 4, check=check)
    assert time.monotonic() - began < 10
    assert wait_for_none_but(before) == set()


HOST = """
import sys
from smalltolarge.jail import Jails, backends
backends.library_folders = list
jails = Jails(sys.argv[1], workers=2, seconds=60)
def check():
    if all(worker.is_ready for worker in jails._workers):
        print("running", flush=True)
jails.run(["while True: pass", "import time\\ntime.sleep(50)"], check=check)
"""


@linux
def test_nothing_outlives_a_host_that_is_killed(any_backend: str) -> None:
    before = left_running()
    host = subprocess.Popen([sys.executable, "-c", HOST, any_backend], stdout=subprocess.PIPE)
    assert host.stdout is not None
    for _ in range(4):
        assert host.stdout.readline() == b"running\n"
    assert len(left_running() - before) >= 5
    host.kill()
    host.wait()
    host.stdout.close()
    assert wait_for_none_but(before) == set()


@pytest.mark.usefixtures("no_libraries")
def test_jails_may_outlive_the_thread_that_started_them(any_backend: str) -> None:
    with Jails(any_backend, workers=1) as jails:
        for number in range(3):
            with ThreadPoolExecutor(1) as thread:
                assert thread.submit(jails.run, [f"print({number})"]).result()[0].failure is None


MARK = "qzx" + "7" * 37
SEARCH = """
import ctypes, gc, re
libc = ctypes.CDLL(None)
libc.sbrk.restype = ctypes.c_void_p
top = libc.sbrk(0) >> 12
pages = {(id(one) >> 20 << 8) + page for one in gc.get_objects() for page in range(256)}
pages |= set(range(top - 8192, top))
count = 0
for page in sorted(pages):
    # The kernel says whether there is memory: it writes out a byte of it.
    if libc.write(2, ctypes.c_void_p(page << 12), 1) == 1:
        count += len(re.findall(rb"qzx7{37}", ctypes.string_at(page << 12, 4096)))
print(count)
"""
"""Counts a mark in the memory of Python's objects and in the C library's heap."""


def test_a_program_finds_nothing_of_an_earlier_one(backend: str) -> None:
    first = f"kept = '{MARK}' * 20\nprint(kept)\nraise ValueError(kept)"
    with Jails(backend, workers=1) as jails:
        earlier, control, later = jails.run([first, f"kept = '{MARK}' * 20\n{SEARCH}", SEARCH])
    assert MARK in earlier.printed
    assert int(control.printed) > 0
    assert later.printed == "0\n"


# Which backend


def refused(command: str, *, prepare: str = "", path: str = "") -> str:
    """Run ``find_backend`` in a process of its own; give what it prints."""
    script = (
        f"{prepare}\nfrom smalltolarge.errors import RefusedForSafety\n"
        "from smalltolarge.jail import find_backend\n"
        f"try:\n    print({command})\nexcept RefusedForSafety as error:\n"
        "    print(error.exit_code, error)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stderr == ""
    return ran.stdout


NO_LANDLOCK = f"""
import ctypes, struct
code = b"".join(struct.pack("=HBBI", *one) for one in [
    (0x20, 0, 0, 0), (0x15, 0, 1, 444), (6, 0, 0, {0x00050000 | 38}), (6, 0, 0, 0x7FFF0000)])
kept = ctypes.create_string_buffer(code, len(code))
libc = ctypes.CDLL(None)
libc.prctl(38, 1, 0, 0, 0)
assert libc.prctl(22, 2, struct.pack("@HP", 4, ctypes.addressof(kept))) == 0
"""
"""A kernel without Landlock, as far as this process and its children can see."""


@linux
def test_programs_are_refused_where_nothing_confines_them() -> None:
    said = refused("find_backend()", prepare=NO_LANDLOCK)
    assert said.startswith("7 ")
    for words in ("no program named bwrap", "Landlock", "apt install", "--confirm-run-unsafe-code"):
        assert words in said
    assert said.count("\n") == 1


@linux
def test_only_a_flag_runs_them_without_a_jail() -> None:
    assert refused("find_backend(unconfined=True)", prepare=NO_LANDLOCK) == "unconfined\n"


@linux
def test_a_bubblewrap_that_does_not_work_is_named_with_its_words(tmp_path: Path) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    fake.chmod(0o755)
    said = refused("find_backend()", prepare=NO_LANDLOCK, path=str(tmp_path))
    assert "setting up uid map: Permission denied" in said


def test_landlock_is_taken_where_there_is_no_bubblewrap() -> None:
    if reason := lacking("landlock"):
        pytest.skip(reason)
    assert refused("find_backend()") == "landlock\n"
    assert refused("find_backend(unconfined=True)") == "landlock\n"


def test_bubblewrap_comes_first() -> None:
    if reason := lacking("bubblewrap"):
        pytest.skip(reason)
    assert find_backend() == find_backend(unconfined=True) == "bubblewrap"


@linux
def test_a_jail_does_not_start_without_one_of_its_layers() -> None:
    prepare = f"{NO_LANDLOCK}\nfrom smalltolarge.jail import Jails"
    said = refused("Jails('landlock', workers=1).run(['print(1)'])", prepare=prepare)
    assert said == "7 the landlock jail did not start: OSError: the kernel has no Landlock\n"


COUNTED_ELSEWHERE = """
import ctypes, struct
from smalltolarge.jail import Jails, confine, syscalls
ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)
confine.listen(struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000), syscalls.machine())
def failures(*programs):
    with Jails("landlock", workers=1) as jails:
        return [ran.failure for ran in jails.run(programs)]
"""
"""A process about whose calls somebody outside is asked already, as in some containers."""


@linux
def test_where_nothing_can_be_counted_there_are_no_threads_and_files() -> None:
    if reason := lacking("landlock"):
        pytest.skip(reason)
    thread = "import threading; threading.Thread(target=print).start()"
    programs = ["print(1)", "open('a', 'w')", thread]
    said = refused(f"failures(*{programs!r})", prepare=COUNTED_ELSEWHERE)
    assert said.startswith("[None, ")
    assert "the jail does not allow this" in said
    assert "can't start new thread" in said


@pytest.mark.parametrize(
    "wrong", [{"backend": "docker"}, {"seconds": 0}, {"megabytes": -1}, {"workers": 0}]
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(RecipeError):
        Jails(**{"backend": "unconfined", **wrong})  # type: ignore[arg-type]


def test_backends_that_are_not_there_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RefusedForSafety, match="bwrap"):
        Jails("bubblewrap", workers=1).run(["print(1)"])


# The filter


def answer(program: bytes, number: int, architecture: int, *arguments: int) -> int:
    """Do what the kernel does with a filter: give its answer to one system call."""
    data = struct.pack("=IIQ6Q", number, architecture, 0, *(*arguments, *[0] * 6)[:6])
    steps = list(struct.iter_unpack("=HBBI", program))
    at, value = 0, 0
    while True:
        code, then, otherwise, constant = steps[at]
        at += 1
        match code:
            case 0x20:
                (value,) = struct.unpack_from("=I", data, constant)
            case 0x06:
                return int(constant)
            case 0x15:
                at += then if value == constant else otherwise
            case 0x35:
                at += then if value >= constant else otherwise
            case 0x45:
                at += then if value & constant else otherwise


ALLOW, REFUSE, UNKNOWN, KILL, ASK = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000, 0x7FC00000


@pytest.mark.parametrize(
    ("machine", "architecture", "calls", "other"),
    [
        (
            "x86_64",
            0xC000003E,
            {
                "clone": 56, "clone3": 435, "fork": 57, "open": 2, "openat": 257, "mkdir": 83,
                "mkdirat": 258, "fcntl": 72, "ioctl": 16, "prlimit": 302, "affinity": 204,
                "socketpair": 53, "sendto": 44,
            },
            0xC00000B7,
        ),
        (
            "aarch64",
            0xC00000B7,
            {
                "clone": 220, "clone3": 435, "openat": 56, "mkdirat": 34, "fcntl": 25, "ioctl": 29,
                "prlimit": 261, "affinity": 123, "socketpair": 199, "sendto": 206,
            },
            0xC000003E,
        ),
    ],
)  # fmt: skip
def test_the_filter_allows_what_is_listed_and_nothing_else(
    machine: str,
    architecture: int,
    calls: dict[str, int],
    other: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(syscalls, "machine", lambda: machine)
    program = syscalls.program_filter(counted=True)
    bare = syscalls.program_filter(counted=False)
    asking = syscalls.asking_filter()
    assert max(len(program), len(bare)) // 8 < 4096
    column = ("x86_64", "aarch64").index(machine)
    always = {numbers[column] for numbers in syscalls._ALWAYS.values()} - {None}
    for number in set(range(1024)) - set(calls.values()):
        expected = ALLOW if number in always else REFUSE if number < 463 else UNKNOWN
        assert answer(program, number, architecture) == expected
        assert answer(bare, number, architecture) == expected
        assert answer(asking, number, architecture) == ALLOW
    assert answer(program, 0, other) == KILL
    assert answer(program, 0x40000000 + 39, architecture) == KILL

    def says(name: str, *arguments: int) -> list[int]:
        return [answer(one, calls[name], architecture, *arguments) for one in (program, bare)]

    def is_counted(name: str, *arguments: int) -> bool:
        return answer(asking, calls[name], architecture, *arguments) == ASK

    for flags in (os.O_RDONLY, os.O_RDONLY | os.O_CLOEXEC, os.O_RDONLY | os.O_NONBLOCK):
        assert says("openat", 0, 0, flags) == [ALLOW, ALLOW]
        assert not is_counted("openat", 0, 0, flags)
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDWR | os.O_TRUNC, os.O_WRONLY | os.O_APPEND):
        assert says("openat", 0, 0, flags) == [ALLOW, REFUSE]
        assert not is_counted("openat", 0, 0, flags)
    for flags in (os.O_CREAT, os.O_CREAT | os.O_EXCL | os.O_RDWR, os.O_CREAT | os.O_WRONLY):
        assert says("openat", 0, 0, flags) == [ALLOW, REFUSE]
        assert is_counted("openat", 0, 0, flags)
    for flags in (os.O_TRUNC, 0o20000000 | os.O_RDWR, 0o20000000, os.O_PATH, os.O_SYNC, 1 << 30):
        assert says("openat", 0, 0, flags) == [REFUSE, REFUSE]
    for mode, said in ((0o777, ALLOW), (0o700, ALLOW), (0, REFUSE), (0o500, REFUSE)):
        assert says("mkdirat", 0, 0, mode) == [said, REFUSE]
        assert is_counted("mkdirat", 0, 0, mode)
    for flags, said in ((0x3D0F00, ALLOW), (0x7D0F00, ALLOW), (0x11, REFUSE), (0x103D0F00, REFUSE)):
        assert says("clone", flags) == [said, REFUSE]
        assert is_counted("clone", flags)
    assert says("clone3") == [UNKNOWN, UNKNOWN]
    assert says("socketpair", 1, 0o2000001) == [ALLOW, ALLOW]
    assert says("socketpair", 1, 2) == says("socketpair", 2, 1) == [REFUSE, REFUSE]
    assert says("sendto", 3, 1 << 40, 9, 0, 0) == [ALLOW, ALLOW]
    assert says("sendto", 3, 1 << 40, 9, 0, 1 << 40) == [REFUSE, REFUSE]
    assert says("prlimit", 0, 7, 0) == [ALLOW, ALLOW]
    assert says("prlimit", 0, 7, 1 << 40) == says("prlimit", 5, 7, 0) == [REFUSE, REFUSE]


def test_a_machine_without_a_table_has_no_jail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syscalls, "machine", lambda: None)
    with pytest.raises(OSError, match="no table of system calls"):
        syscalls.program_filter(counted=True)


@pytest.mark.usefixtures("no_libraries")
@linux
def test_a_program_has_no_privileges(backend: str) -> None:
    seen: list[dict[str, str]] = []

    def look() -> None:
        for pid in left_running():
            with contextlib.suppress(OSError, ValueError):
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                status = dict(line.split(":\t", 1) for line in lines)
                if status["Seccomp"] == "2":
                    seen.append(status)

    with Jails(backend, workers=1) as jails:
        jails.run(["import time\ntime.sleep(0.5)"], check=look)
    assert seen
    for status in seen:
        # Who is not root cannot lower what could be gained, and with NoNewPrivs gains nothing.
        kinds = ("Inh", "Prm", "Eff", "Amb", *(("Bnd",) if os.geteuid() == 0 else ()))
        assert {status[f"Cap{kind}"] for kind in kinds} == {"0" * 16}
        assert status["NoNewPrivs"] == "1"
