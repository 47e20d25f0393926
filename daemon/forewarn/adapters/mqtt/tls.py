"""TLS to the broker, and what is said of a broker that it cannot be spoken with.

Rules that hold here:

- The broker's certificate and the name in it are always checked; nothing turns that off. TLS 1.2 is the least.
- The files are read anew at each connection, so a certificate that is renewed in its place is used from then on.
- What went wrong is said in words that stay the same from one try to the next, so that the log has it once.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path
from socket import socket

from forewarn.errors import SettingsError
from forewarn.pem import present, trust

_CLOCK = "is it renewed in time, and is the clock of this machine right?"
_OURS = "see mqtt.cert_file and mqtt.key_file"
# X509_V_ERR_… of OpenSSL's x509_vfy.h.
_CERTIFICATE = {
    9: f"has a certificate that is not valid yet: {_CLOCK}",
    10: f"has a certificate that has expired: {_CLOCK}",
    62: "has a certificate for another name: set mqtt.host to a name that is in the certificate",
    64: "has a certificate that is not for this address: set mqtt.host to a name that is in the certificate",
}
_UNTRUSTED = "has a certificate that no CA in {} has signed: set mqtt.ca_file to the one that did"
_NO_TLS = "does not speak TLS on this port: give mqtt.port the one that does (usually 8883), or set mqtt.tls = false"
_SAID = {
    "WRONG_VERSION_NUMBER": _NO_TLS,
    "CERTIFICATE_REQUIRED": f"asks for a client certificate: {_OURS}",
    "HANDSHAKE_FAILURE": f"agrees on no cipher, or asks for a client certificate: {_OURS}",
    "UNKNOWN_CA": f"does not trust the CA of our client certificate: {_OURS}",
    "CERTIFICATE_EXPIRED": f"says that our client certificate has expired: {_OURS}",
    "CERTIFICATE_REVOKED": f"says that our client certificate is revoked: {_OURS}",
    "UNSUPPORTED_PROTOCOL": "speaks no TLS 1.2 or later: it has to be updated",
    "PROTOCOL_VERSION": "speaks no TLS 1.2 or later: it has to be updated",
}


class HandshakeError(OSError):
    """No TLS with this broker; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Tls:
    """Whom to trust, and who we are: PEM files.

    Attributes:
        ca_file: the CAs that may have signed the broker's certificate; None for those of the system.
        cert_file: our client certificate with its chain.
        key_file: its key, without a passphrase; None where `cert_file` has it.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def context(self) -> ssl.SSLContext:
        """What Python's ssl needs to know.

        Raises:
            SettingsError: naming the file that cannot be used.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # which checks the certificate and its name
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.ca_file is None:
            context.load_default_certs()
        else:
            trust(context, "mqtt.ca_file", self.ca_file)
        if self.cert_file is not None:
            present(context, "mqtt", self.cert_file, self.key_file)
        return context

    def wrap(self, plain: socket, host: str, timeout_s: float) -> ssl.SSLSocket:
        """Shake hands over a connection, which takes `timeout_s` at most; it is closed where that fails.

        Raises:
            HandshakeError: saying why.
        """
        wrapped = None
        try:
            wrapped = self.context().wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
            wrapped.settimeout(timeout_s)
            wrapped.do_handshake()
        except (SettingsError, OSError, ValueError) as error:
            (wrapped or plain).close()
            raise HandshakeError(self.explain(error, timeout_s)) from None
        return wrapped

    def explain(self, error: Exception, timeout_s: float) -> str:
        """What went wrong, with what to do."""
        if isinstance(error, TimeoutError):
            return f"does not speak TLS on this port within {timeout_s:g} s: is mqtt.port the one that does?"
        if isinstance(error, ConnectionError | ssl.SSLEOFError):
            return _NO_TLS
        if isinstance(error, ssl.SSLCertVerificationError):
            store = self.ca_file or "the system's store"
            untrusted = f"{_UNTRUSTED.format(store)} ({error.verify_message})"
            return _CERTIFICATE.get(error.verify_code, untrusted)
        if isinstance(error, ssl.SSLError):
            reason = error.reason or str(error)
            return next((text for part, text in _SAID.items() if part in reason), f"and TLS: {reason}")
        return f"cannot be reached ({error})"
