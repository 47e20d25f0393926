"""Certificates of a test, made by the openssl program: authorities, servers and clients."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc")


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its key, PEM."""

    cert: Path
    key: Path


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def _identity(folder: Path, name: str) -> Identity:
    return Identity(folder / f"{name}.crt", folder / f"{name}.key")


def authority(folder: Path, name: str = "ca") -> Identity:
    """A CA that nobody knows yet. Skips where openssl is missing; in CI, fails."""
    if shutil.which("openssl") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("openssl is not installed")
    made = _identity(folder, name)
    extensions = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    files = ("-keyout", made.key, "-out", made.cert)
    _openssl("req", "-x509", *_KEY, "-days", 2, "-subj", f"/CN=forewarn test {name}", *extensions, *files)
    return made


def signed(ca: Identity, name: str, *, subject: str = "IP:127.0.0.1", days: int = 2) -> Identity:
    """A certificate for a server or a client; with `days` below 0 it has expired."""
    folder = ca.cert.parent
    made = _identity(folder, name)
    request, extensions = folder / f"{name}.csr", folder / f"{name}.ext"
    extensions.write_text(f"subjectAltName={subject}\nbasicConstraints=critical,CA:FALSE\n")
    _openssl("req", "-new", *_KEY, "-subj", f"/CN={name}", "-keyout", made.key, "-out", request)
    issuer = ("-CA", ca.cert, "-CAkey", ca.key, "-CAcreateserial")
    _openssl("x509", "-req", "-in", request, *issuer, "-days", days, "-extfile", extensions, "-out", made.cert)
    for each in (made.cert, made.key):
        each.chmod(0o644)  # Mosquitto started by root gives up root before it reads them
    return made
