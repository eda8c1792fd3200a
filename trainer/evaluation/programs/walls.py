"""Walls round a program: what the system itself holds it back from.

    namespaces ─ no network, no processes outside in sight, read-only files, a folder in memory
    landlock ─ no file outside the interpreter's and the folder's is opened
    system_calls ─ no process, signal or socket is made (trainer.evaluation.programs.system_calls)

Each is built by the process that stays within it. None needs root; each may be forbidden by the
kernel's settings or by a container. Runs within a program's process: nothing but the standard
library is there.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
import sysconfig

NAMESPACES, LANDLOCK, SYSTEM_CALLS = "namespaces", "landlock", "system_calls"
EVERY = (NAMESPACES, LANDLOCK, SYSTEM_CALLS)

FOLDER_BYTES = 16 << 20
FOLDER_FILES = 256

_NEW_MOUNTS, _NEW_HOST, _NEW_IPC = 0x00020000, 0x04000000, 0x08000000
_NEW_USER, _NEW_PIDS, _NEW_NETWORK = 0x10000000, 0x20000000, 0x40000000
_PRIVATE = 0x44000  # MS_REC | MS_PRIVATE
_PLAIN_FOLDER = 0x2 | 0x4 | 0x8  # MS_NOSUID | MS_NODEV | MS_NOEXEC
_MOUNT_SETATTR, _RECURSIVE, _HERE = 442, 0x8000, -100
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446

_EXECUTE, _WRITE, _READ, _LIST = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
"""How many rights to files a version of Landlock knows; from 5 on 16."""


def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(outcome: int, what: str) -> int:
    if outcome < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return outcome


def enter_namespaces() -> None:
    """Move this process, of one thread, into namespaces of its own; its next child is the first of
    the processes there, and with it all end. Raises: OSError.
    """
    user, group = os.getuid(), os.getgid()
    spaces = _NEW_USER | _NEW_MOUNTS | _NEW_PIDS | _NEW_NETWORK | _NEW_IPC | _NEW_HOST
    _checked(_library().unshare(spaces), "unshare")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def close_files(folder: str) -> None:
    """Make every file of this mount namespace read-only, and ``folder`` an empty one in memory.

    Raises: OSError.
    """
    library = _library()
    _checked(library.mount(None, b"/", None, _PRIVATE, None), "private mounts")
    read_only = struct.pack("<QQQQ", 1, 0, 0, 0)
    _checked(
        library.syscall(_MOUNT_SETATTR, _HERE, b"/", _RECURSIVE, read_only, len(read_only)),
        "read-only mounts",
    )
    options = f"size={FOLDER_BYTES},nr_inodes={FOLDER_FILES},mode=0700".encode()
    _checked(
        library.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", _PLAIN_FOLDER, options), "tmpfs"
    )


def drop_capabilities() -> None:
    """Of root, here or in a namespace, nothing stays but the number. Raises: OSError."""
    header = struct.pack("<II", 0x20080522, 0)
    _checked(_library().capset(header, bytes(24)), "capset")


def lock_files(folder: str | None) -> None:
    """Let this process read only files of the interpreter and of the system's libraries, and write
    only beneath ``folder``, if any; reach no process outside by signal, nor a socket by name, where
    the kernel knows how. Raises: OSError.
    """
    library = _library()
    version = _checked(library.syscall(_CREATE_RULESET, None, 0, 1), "landlock")
    rights = (1 << _FILE_RIGHTS.get(version, 16)) - 1
    size = 8 if version < 4 else 16 if version < 6 else 24
    attributes = struct.pack("<QQQ", rights, 3, 3)[:size]
    rules = _checked(library.syscall(_CREATE_RULESET, attributes, size, 0), "landlock rules")
    places = dict.fromkeys(_readable(), _READ | _LIST | _EXECUTE)
    places |= {"/dev/null": _READ | _WRITE, "/dev/urandom": _READ}
    if folder is not None:
        places[folder] = rights & ~_EXECUTE
    for place, allowed in places.items():
        try:
            opened = os.open(place, os.O_PATH | os.O_CLOEXEC)
        except OSError:  # not on every system
            continue
        rule = struct.pack("<Qi", allowed & rights, opened)
        _checked(library.syscall(_ADD_RULE, rules, 1, rule, 0), f"landlock, {place}")
        os.close(opened)
    _checked(library.syscall(_RESTRICT_SELF, rules, 0), "landlock itself")
    os.close(rules)


def _readable() -> set[str]:
    paths = sysconfig.get_paths()
    own = {sys.base_prefix + "/lib", paths["stdlib"], paths["platstdlib"]}
    return own | {"/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/share/zoneinfo"}
