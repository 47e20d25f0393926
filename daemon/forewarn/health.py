"""`forewarn health`: whether the daemon on this machine is well, as its own port says; for container health checks.

It asks `/healthz`, which needs no password. Nothing that is sent or told is secret, so the port's certificate is not
checked: one that has expired is told elsewhere, and is no reason to restart a daemon that works.
"""

import contextlib
import http.client
import ssl

from forewarn.errors import ForewarnError, SettingsError
from forewarn.pem import present
from forewarn.settings.daemon import MetricsSettings

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what a daemon may listen on


def check_health(settings: MetricsSettings, timeout_s: float = 4.0) -> str:
    """What the daemon says where it is well.

    Raises:
        ForewarnError: where it is not, or gives no answer in time.
        SettingsError: where these settings do not say which port it has.
    """
    if not settings.enabled or not settings.port:
        raise SettingsError("metrics.enabled and a metrics.port other than 0 are needed to ask the daemon how it is")
    host = _ANYWHERE.get(settings.host, settings.host)
    connection = http.client.HTTPConnection(host, settings.port, timeout=timeout_s)
    if settings.cert_file is not None:
        connection = http.client.HTTPSConnection(host, settings.port, timeout=timeout_s, context=_context(settings))
    try:
        with contextlib.closing(connection):
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            said = answer.read(1000).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException) as error:
        raise ForewarnError(f"the daemon does not answer on {host}, port {settings.port}: {error}") from None
    if answer.status != http.HTTPStatus.OK:
        raise ForewarnError(f"the daemon is not well: {said}")
    return said


def _context(settings: MetricsSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if settings.client_ca_file is not None and settings.cert_file is not None:
        present(context, "metrics", settings.cert_file, settings.key_file)
    return context
