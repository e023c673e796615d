"""Kills this process at its first internet socket, whoever opens it: Python, a library's native code or a child."""

import ctypes
import os
import platform
import struct
import sys

# Numbers of the system call socket.
SOCKET = {"x86_64": 41, "aarch64": 198}
NO_NEW_PRIVILEGES, SET_SECCOMP, FILTER = 38, 22, 2
KILL_PROCESS, ALLOW = 0x80000000, 0x7FFF0000
INTERNET = (2, 10)  # AF_INET and AF_INET6.
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
NUMBER, FIRST_ARGUMENT = 0, 16  # Offsets in struct seccomp_data.


def available() -> bool:
    return sys.platform == "linux" and platform.machine() in SOCKET


def guard() -> None:
    """Install a seccomp filter; it holds for all threads started later and for child processes, for good.

    Raises:
        OSError: the kernel does not allow it.
    """
    instructions = [
        (LOAD, 0, 0, NUMBER),
        (EQUAL, 0, 4, SOCKET[platform.machine()]),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (EQUAL, 1, 0, INTERNET[0]),
        (EQUAL, 0, 1, INTERNET[1]),
        (RETURN, 0, 0, KILL_PROCESS),
        (RETURN, 0, 0, ALLOW),
    ]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in instructions))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(instructions), ctypes.addressof(program)))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) or prctl(SET_SECCOMP, FILTER, ctypes.c_void_p(ctypes.addressof(header))):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    guard()
    exec(sys.argv.pop(1))
