"""The HTTP port of the daemon: which path is answered with what, and to whom."""

import logging
from collections.abc import Callable
from typing import Protocol

from forewarn.adapters.http import HttpServer
from forewarn.adapters.http_request import Answer, Route, Stream
from forewarn.adapters.telemetry import Telemetry
from forewarn.page.site import Site
from forewarn.settings.daemon import MetricsSettings
from forewarn.wiring import auth_of, server_tls

log = logging.getLogger(__name__)

Trouble = Callable[[], str]
"""Says in one line what is wrong; "" where all is well."""


def open_port(
    metrics: MetricsSettings, telemetry: Telemetry, site: Site, *, unhealthy: Trouble, unready: Trouble
) -> HttpServer | None:
    """Answer from now on; None where the settings want no port.

    Args:
        metrics: the settings of the port.
        telemetry: of /metrics.
        site: the page.
        unhealthy: of /healthz.
        unready: of /readyz.

    Raises:
        SettingsError: where the port cannot be opened.
    """
    if not metrics.enabled:
        return None
    routes: dict[str, Route] = {
        "/metrics": lambda _: exposed(telemetry),
        "/healthz": lambda _: _line(unhealthy()),
        "/readyz": lambda _: _line(unready()),
    }
    streams: dict[str, Stream] = {}
    if metrics.page:
        routes, streams = {**site.routes(), **routes}, site.streams()
    tls, auth = server_tls(metrics), auth_of(metrics)
    server = HttpServer(
        metrics.host, metrics.port, routes, streams=streams, tls=tls, auth=auth, told_to_all=["/healthz"]
    )
    log.info("metrics on %s/metrics%s", server.url, f", page on {server.url}/" if metrics.page else "")
    if not server.is_loopback and not (tls and (auth or metrics.client_ca_file)):
        log.warning(
            "whoever reaches metrics.host %s reads names and values of all sensors: TLS and a password, or a "
            "network that only Prometheus is in, would stop him; see SECURITY.md",
            metrics.host,
        )
    return server


class Exposing(Protocol):
    """What Prometheus may read."""

    def exposition(self) -> tuple[bytes, str]:
        """The text, and its content type."""


def exposed(telemetry: Exposing) -> Answer:
    """What /metrics answers."""
    body, content_type = telemetry.exposition()
    return Answer(200, content_type, body)


def _line(trouble: str) -> Answer:
    return Answer(503 if trouble else 200, "text/plain; charset=utf-8", f"{trouble or 'ok'}\n".encode())
