"""A real Prometheus with readings of our own in it, and a server that says whatever a test wants."""

import json
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from tests.ports import free_port

STARTED_AT = 1_767_225_600


def openmetrics(series: Mapping[str, Sequence[float]], interval_s: int) -> str:
    """Gauges as text of OpenMetrics, each by its name with labels, a value each interval from `STARTED_AT` on."""
    lines = []
    for name in sorted({one.partition("{")[0] for one in series}):
        lines.append(f"# TYPE {name} gauge")
        for one, values in series.items():
            if one.partition("{")[0] == name:
                lines += [f"{one} {value!r} {STARTED_AT + i * interval_s}" for i, value in enumerate(values)]
    return "\n".join([*lines, "# EOF", ""])


@contextmanager
def prometheus(folder: Path, text: str, users: str = "") -> Iterator[str]:
    """The address of a Prometheus that was given this text of OpenMetrics; `users` is its `basic_auth_users`."""
    (folder / "readings").write_text(text, "utf-8")
    (folder / "prometheus.yml").write_text("{}", "utf-8")
    (folder / "web.yml").write_text(users, "utf-8")
    fill = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet", "readings", "data"]
    subprocess.run(fill, cwd=folder, check=True, capture_output=True)
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.config.file=web.yml"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=100y"]
    with (folder / "log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait(url, process, folder / "log")
            yield url
        finally:
            process.terminate()
            process.wait(10)


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urlopen(f"{url}/-/ready", timeout=5):  # noqa: S310 - http
                return
        except HTTPError as error:
            if error.code == 401:
                return
        except (URLError, ConnectionError):
            pass
        time.sleep(0.1)
    raise AssertionError(log.read_text("utf-8"))


@contextmanager
def answering(status: int, body: object, headers: Mapping[str, str] | None = None) -> Iterator[tuple[str, list[str]]]:
    """The address of a server that always says this, and the credentials that it was shown."""
    shown: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown.append(self.headers.get("Authorization", "none"))
            content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", shown
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
