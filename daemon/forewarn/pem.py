"""Certificates and keys of settings: what is said of a file that cannot be used.

Every complaint is a SettingsError that names the setting and the file. No key may have a passphrase, which nobody could
type into a daemon.
"""

import ssl
from pathlib import Path
from typing import NoReturn

from forewarn.errors import SettingsError


def check_readable(setting: str, path: Path) -> None:
    """Raise SettingsError where a file cannot be read; ssl would not say which of several it was."""
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise SettingsError(f"{setting}: {path} cannot be read ({error.strerror})") from None


def trust(context: ssl.SSLContext, setting: str, path: Path) -> None:
    """Trust the CAs in a file.

    Raises:
        SettingsError: where it has none.
    """
    check_readable(setting, path)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        raise SettingsError(f"{setting}: {path} has no certificate in PEM") from None


def present(context: ssl.SSLContext, section: str, cert_file: Path, key_file: Path | None) -> None:
    """Have a certificate with its chain to show, and its key from `key_file` or the same file.

    Args:
        context: that shows it.
        section: of the settings `cert_file` and `key_file`.
        cert_file: PEM.
        key_file: PEM; None where `cert_file` has the key.

    Raises:
        SettingsError: naming what cannot be used.
    """
    check_readable(f"{section}.cert_file", cert_file)
    key = key_file or cert_file
    check_readable(f"{section}.key_file", key)
    try:
        context.load_cert_chain(cert_file, key, password=lambda: _no_passphrase(section, key))
    except ssl.SSLError as error:
        mismatch = error.reason == "KEY_VALUES_MISMATCH"
        why = "do not belong together" if mismatch else "are no certificate and key in PEM"
        raise SettingsError(f"{section}.cert_file, {section}.key_file: {cert_file} and {key} {why}") from None


def _no_passphrase(section: str, key_file: Path) -> NoReturn:
    """Instead of OpenSSL's question on the terminal."""
    raise SettingsError(f"{section}.key_file: {key_file} has a passphrase: give a key without one, as a credential")
