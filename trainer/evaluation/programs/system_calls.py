"""Which system calls a program is not given: a seccomp filter (x86-64).

Refused is what makes processes or sends signals, opens sockets, looks into other processes, changes
limits, mounts, owners and permissions, or leaves something behind in the kernel. Threads are
allowed. A refused call fails with EPERM, as if the user had no right to it; calls that are newer
than this list do not exist. Runs within a program's process: nothing but the standard library is
there.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct

KNOWN = 453
"""Calls from this number on came after the list was made (fchmodat2 is the last known)."""

PROCESSES = (57, 58, 59, 322, 109, 112)  # fork vfork execve execveat setpgid setsid
SIGNALS = (62, 129, 200, 234, 297, 424)  # kill and its kin, by pid or by file descriptor
SOCKETS = (41, 42, 43, 44, 46, 49, 50, 53, 288)  # socket connect accept send bind listen pair
OTHERS = (101, 310, 311, 434, 438)  # ptrace process_vm_* pidfd_open pidfd_getfd
LIMITS = (126, 135, 141, 144, 160, 203, 251, 302, 314)  # capset rlimits priorities affinity
MOUNTS = (155, 161, 165, 166, 272, 308, *range(428, 434), 442)  # also chroot unshare setns
OWNERS = (90, 91, 92, 93, 94, 260, 268, 452, 76, 133, 259)  # chmod chown; truncate, mknod
TIMES = (132, 235, 261, 280, 188, 189, 190, 197, 198, 199)  # utime; extended attributes
KERNEL = (
    *(29, 30, 31, 64, 65, 66, 68, 69, 70, 71, 220, 240, 241),  # System V and POSIX queues
    *(248, 249, 250, 298, 300, 319, 321, 323, 425, 426, 427),  # keys perf memfd bpf io_uring
    *(103, 153, 159, 163, 164, 167, 168, 169, 170, 171, 172, 173, 175, 176, 179, 227, 246),
    *(303, 304, 305, 313, 320),  # file handles, clock, modules, another kernel
)
REFUSED = (
    *PROCESSES,
    *SIGNALS,
    *SOCKETS,
    *OTHERS,
    *LIMITS,
    *MOUNTS,
    *OWNERS,
    *TIMES,
    *KERNEL,
)

_CLONE, _CLONE3, _PRCTL = 56, 435, 157
_CLONE_THREAD = 0x10000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_ARCHITECTURE = 0xC000003E
_LOAD, _IS, _AT_LEAST, _HAS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data
_ALLOW, _KILL, _FAIL = 0x7FFF0000, 0x80000000, 0x00050000


def refuse_calls() -> None:
    """Refuse them from now on to this process and what it starts. Raises: OSError."""
    if platform.machine() != "x86_64" or ctypes.sizeof(ctypes.c_void_p) != 8:
        raise OSError(errno.ENOSYS, "the list of system calls is of x86-64")
    code = b"".join(struct.pack("<HBBI", *step) for step in _filter())
    buffer = ctypes.create_string_buffer(code)
    program = ctypes.create_string_buffer(
        struct.pack("<HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer))
    )
    no_new_privileges()
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_PR_SET_SECCOMP, 2, program, 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


def no_new_privileges() -> None:
    """No file that is run gives more rights than there are. Raises: OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs")


def die_with_parent(signal: int) -> None:
    """This process gets the signal when the thread that started it ends. Raises: OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "pdeathsig")


def conceal() -> None:
    """Let no process of this user look into this one or its children. Raises: OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "dumpable")


def _filter() -> list[tuple[int, int, int, int]]:
    """Steps of the filter: what is done, steps to leap where it holds and where not, a value."""
    refuse = (_RETURN, 0, 0, _FAIL | errno.EPERM)
    unknown = (_RETURN, 0, 0, _FAIL | errno.ENOSYS)
    steps = [
        (_LOAD, 0, 0, _ARCH),
        (_IS, 1, 0, _ARCHITECTURE),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, KNOWN),
        unknown,
        (_IS, 0, 1, _CLONE3),  # its flags lie in memory; glibc goes on with clone
        unknown,
    ]
    for number in REFUSED:
        steps += [(_IS, 0, 1, number), refuse]
    return [
        *steps,
        (_IS, 0, 3, _CLONE),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_HAS, 5, 0, _CLONE_THREAD),
        refuse,
        (_IS, 0, 3, _PRCTL),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_IS, 0, 1, _PR_SET_PDEATHSIG),
        refuse,
        (_RETURN, 0, 0, _ALLOW),
    ]
