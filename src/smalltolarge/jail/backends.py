"""What a jail is made of on this machine, and how its process is started.

=============  =====================================================================================
bubblewrap     own namespaces (no network, no processes, no files but Python), and all of landlock's
landlock       Landlock (files are read in Python's folders and changed in an empty one only),
               seccomp (no processes, no network), no privileges, limits
unconfined     limits of time, memory and output only: no jail
=============  =====================================================================================
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Literal

from smalltolarge.errors import RefusedForSafety, printable
from smalltolarge.jail import confine, syscalls

Backend = Literal["bubblewrap", "landlock", "unconfined"]
BACKENDS: tuple[Backend, ...] = ("bubblewrap", "landlock", "unconfined")

ZYGOTE = Path(__file__).with_name("zygote.py")
_LIBRARIES = ("numpy", "sympy", "mpmath")
_SHARED = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/nix/store")
_NOBODY = "65534"
SCRATCH = "/scratch"
"""The folder of programs in bubblewrap; it is in memory. Elsewhere each worker makes one."""

ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "MALLOC_ARENA_MAX": "1",
    "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "TZ": "UTC",
    "VECLIB_MAXIMUM_THREADS": "1",
}
"""All that a program finds in its environment; nothing is inherited."""


def library_folders() -> list[str]:
    """Give the folders that hold numpy, sympy and mpmath, without importing them.

    All that is in them can be read in the jail. So a library that lies elsewhere, as among a
    person's own files, is left out: programs do without it.
    """
    found: dict[str, None] = {}
    for name in _LIBRARIES:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            folder = Path(spec.origin).resolve().parent.parent
            if folder.name in {"site-packages", "dist-packages"}:
                found[str(folder)] = None
    return list(found)


def interpreter() -> str:
    """Give the file of this Python itself, not the link to it in a virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def readable_folders(folders: list[str]) -> list[str]:
    """Give the folders that a program may read: Python, shared libraries and ``folders``."""
    paths = sysconfig.get_paths(vars={"base": sys.base_prefix, "platbase": sys.base_exec_prefix})
    python = [paths["stdlib"], paths["platstdlib"], str(Path(paths["stdlib"]).parent)]
    return [path for path in dict.fromkeys([*python, *_SHARED, *folders]) if os.path.isdir(path)]


def command(backend: Backend, folders: list[str], *, disable_userns: bool = True) -> list[str]:
    """Give the command that starts the process in the jail."""
    # -I would ignore the fixed hash seed; with an environment built here, -P -s is as isolated.
    python = [interpreter(), "-P", "-s", "-S", "-B", "-X", "utf8", str(ZYGOTE)]
    if backend != "bubblewrap":
        return python
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise RefusedForSafety("bubblewrap: no program named bwrap is on PATH")
    bound = [*readable_folders(folders), interpreter(), str(ZYGOTE.parent)]
    shown = [part for path in bound for part in ("--ro-bind", path, path)]
    return [
        *(bwrap, "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session"),
        *(("--disable-userns",) if disable_userns else ()),
        *("--cap-drop", "ALL", "--uid", _NOBODY, "--gid", _NOBODY, "--hostname", "jail"),
        *shown,
        *("--tmpfs", SCRATCH),
        *("--remount-ro", "/", "--chdir", "/", "--"),
        *python,
    ]


def find_backend(*, unconfined: bool = False) -> Backend:
    """Choose the strongest jail that works on this machine, tried once by starting it.

    ``unconfined`` allows to go on without one where there is none; it weakens nothing where there
    is one.

    Raises
    ------
    RefusedForSafety
        Nothing confines a program here.
    """
    missing = []
    for backend in BACKENDS[:2]:
        reason = _lacking(backend, shutil.which("bwrap"))
        if reason is None:
            return backend
        missing.append(f"{backend}: {reason}")
    if unconfined:
        return "unconfined"
    raise RefusedForSafety(
        "programs that a model wrote are not run here, since nothing would confine them ("
        + "; ".join(missing)
        + "). Install bubblewrap (apt install bubblewrap, dnf install bubblewrap) or use Linux "
        "with Landlock (5.13 or later). --confirm-run-unsafe-code runs them with limits of time "
        "and memory, but without a jail: with all that you can read, write and reach."
    )


@functools.cache
def can_disable_userns(bwrap: str) -> bool:
    """Whether this bubblewrap can forbid further user namespaces inside; 0.8 can, mostly."""
    options = ["--unshare-all", "--unshare-user", "--disable-userns", "--ro-bind", "/", "/"]
    python = [interpreter(), "-I", "-S", "-c", ""]
    try:
        ran = subprocess.run(
            [bwrap, *options, *python],
            env=ENVIRONMENT,
            capture_output=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return ran.returncode == 0


@functools.cache
def _lacking(backend: Backend, bwrap: str | None) -> str | None:
    """Say what a backend lacks here; None: nothing, it ran a program."""
    from smalltolarge.jail.jails import Jails

    if sys.platform != "linux":
        return f"needs Linux, this is {sys.platform}"
    if syscalls.machine() is None:
        return f"has no list of system calls for {os.uname().machine}"
    if backend == "bubblewrap" and bwrap is None:
        return "no program named bwrap is on PATH"
    if backend == "landlock" and confine.landlock_version() == 0:
        return "the kernel has no Landlock, or it is turned off"
    try:
        with Jails(backend, workers=1, megabytes=256, libraries=False) as jails:
            (ran,) = jails.run(["print(6 * 7)"])
    except RefusedForSafety as error:
        return f"{error}{_forbidden() if backend == 'bubblewrap' else ''}"
    return None if ran.printed == "42\n" else f"a program that prints 42 did not ({ran.failure})"


def _forbidden() -> str:
    """Say which setting of the system forbids what bubblewrap needs, if one does."""
    for path, value in (
        ("kernel/apparmor_restrict_unprivileged_userns", "1"),
        ("kernel/unprivileged_userns_clone", "0"),
        ("user/max_user_namespaces", "0"),
    ):
        try:
            found = Path("/proc/sys", path).read_text().strip()
        except OSError:
            continue
        if found == value:
            return f" (user namespaces are forbidden: {printable(path.replace('/', '.'))}={value})"
    return ""
