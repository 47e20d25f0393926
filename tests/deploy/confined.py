"""Runs a command under the system-call filters that systemd makes of a unit.

`python -m tests.deploy.confined UNIT -- COMMAND …`: SystemCallFilter, RestrictAddressFamilies, RestrictNamespaces and
MemoryDenyWriteExecute, as systemd 252 does them (src/shared/seccomp-util.c), through the libseccomp that systemd itself
loads. No privilege is needed: NoNewPrivileges. What systemd does with mounts and users (ProtectSystem, DynamicUser) is
not in it.
"""

import ctypes
import ctypes.util
import errno
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_EQUAL, _MASKED_EQUAL = 4, 7
_FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}
_NAMESPACES = 0x7E020000  # CLONE_NEW…
_WRITE, _EXEC, _SHM_EXEC = 2, 4, 0o100000
_SET_NO_NEW_PRIVS, _SET_MDWE = 38, 65
Comparison = tuple[int, int, int, int]  # argument, how, and with what


class _Comparison(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def directives(unit: str) -> dict[str, list[str]]:
    """Values by name, in order; a name may be given several times."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", unit, re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def allowed_calls(filters: list[str]) -> set[str]:
    """The system calls that the lines of SystemCallFilter leave."""
    allowed: set[str] = set()
    for line in filters:
        calls = {call for name in line.removeprefix("~").split() for call in _expanded(name)}
        allowed = allowed - calls if line.startswith("~") else allowed | calls
    return allowed | set(_expanded("@default"))


def _expanded(name: str) -> Iterator[str]:
    if not name.startswith("@"):
        yield name
        return
    command = ["systemd-analyze", "syscall-filter", "--no-pager", name]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for line in printed.splitlines()[1:]:
        if line.strip() and not line.strip().startswith("#"):
            yield from _expanded(line.strip())


def _conditions(unit: dict[str, list[str]]) -> dict[str, list[Comparison]]:
    """The calls that are allowed where one of these holds of an argument."""
    families = [_FAMILIES[name] for name in unit["RestrictAddressFamilies"][0].split()]
    conditions = {"socket": [(0, _EQUAL, family, 0) for family in families]}
    if unit["RestrictNamespaces"] == ["yes"]:
        conditions["clone"] = conditions["unshare"] = [(0, _MASKED_EQUAL, _NAMESPACES, 0)]
    if unit["MemoryDenyWriteExecute"] == ["yes"]:
        conditions["mmap"] = [(2, _MASKED_EQUAL, _EXEC, 0), (2, _MASKED_EQUAL, _WRITE | _EXEC, _EXEC)]
        conditions["mprotect"] = conditions["pkey_mprotect"] = [(2, _MASKED_EQUAL, _EXEC, 0)]
        conditions["shmat"] = [(2, _MASKED_EQUAL, _SHM_EXEC, 0)]
    return conditions


def _add(library: Any, made: ctypes.c_void_p, action: int, name: str, *comparisons: Comparison) -> None:  # noqa: ANN401 - a C library has no types
    number = library.seccomp_syscall_resolve_name(name.encode())
    if number < 0:  # not on this processor
        return
    array = (_Comparison * len(comparisons))(*(_Comparison(*each) for each in comparisons))
    failed = library.seccomp_rule_add_array(made, ctypes.c_uint32(action), number, len(comparisons), array)
    if failed:
        raise OSError(-failed, f"seccomp_rule_add of {name}")


def confine(unit_text: str) -> None:
    """Put this process and all that it starts under the filters of a unit.

    Raises:
        OSError: where this machine has no libseccomp, or its kernel refuses.
    """
    unit = directives(unit_text)
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    made = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_ERRNO | errno.EPERM)))
    conditions = _conditions(unit)
    for name in allowed_calls(unit["SystemCallFilter"]) - {"clone3", "setns"}:
        for comparison in conditions.get(name, [()]):
            _add(library, made, _ALLOW, name, *([comparison] if comparison else []))
    _add(library, made, _ERRNO | errno.ENOSYS, "clone3")  # systemd too: its flags cannot be looked at
    libc = ctypes.CDLL(None, use_errno=True)
    if unit["MemoryDenyWriteExecute"] == ["yes"]:
        libc.prctl(_SET_MDWE, 1, 0, 0, 0)  # from Linux 6.3 on; systemd 254 and later does it besides
    if libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or library.seccomp_load(made):
        raise OSError(ctypes.get_errno(), "this kernel refuses the filter")


if __name__ == "__main__":
    try:
        confine(Path(sys.argv[1]).read_text("utf-8"))
    except OSError as error:
        sys.exit(f"confined: {error}")
    os.execvp(sys.argv[3], sys.argv[3:])  # noqa: S606 - no shell is wanted
