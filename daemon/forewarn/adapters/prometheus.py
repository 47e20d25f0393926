"""Past readings out of a Prometheus: range queries of its HTTP API, the only user of urllib.

Source: https://prometheus.io/docs/prometheus/latest/querying/api/#range-queries

Rules that hold here:

- Prometheus answers at most 11,000 points of a series at once, hence a longer range is asked for in pieces that follow
  one another at the same step.
- What Prometheus refuses is told in its words. Its warnings go to the log.
- Credentials go to the server that was named and to no other one that it redirects to.
"""

import base64
import hashlib
import http.client
import json
import logging
import math
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from forewarn.errors import DataError, UsageError

log = logging.getLogger(__name__)

MOST_POINTS = 11_000
_TIMEOUT_S = 120.0
_WORDS = 200  # characters of an answer that is no JSON, which an error shows

Series = tuple[dict[str, str], list[tuple[float, str]]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came.

    Attributes:
        series: labels, and times (UTC epoch seconds) with values as text; each series once.
        sha256: of all of that, hexadecimal.
    """

    series: list[Series]
    sha256: str


@dataclass(frozen=True, slots=True)
class RangeQuery:
    """A question to a Prometheus.

    Attributes:
        url: of the server, with the path before `/api/v1` where there is one.
        expression: PromQL.
        start_at: of the first point, UTC epoch seconds.
        end_at: no point lies after it.
        step_s: seconds between two points.
        credentials: a file with `user:password`, or with a bearer token; None for none.
    """

    url: str
    expression: str
    start_at: float
    end_at: float
    step_s: float
    credentials: Path | None = None

    @property
    def place(self) -> str:
        """Host and port, for messages."""
        return urlsplit(self.url).netloc or self.url

    def ask(self) -> Answer:
        """Ask for everything.

        Raises:
            UsageError: the address, the range or the credentials cannot be used.
            DataError: no answer, or one that is an error or holds no series.
        """
        address = urlsplit(self.url)
        if address.scheme not in {"http", "https"} or not address.netloc:
            raise UsageError(f"--prometheus {self.url}: give its address, such as http://127.0.0.1:9090")
        if "@" in address.netloc:
            raise UsageError("--prometheus: give user and password with --credentials FILE, not in the address")
        if not self.step_s > 0 or not self.start_at <= self.end_at:
            raise UsageError("--from, --to and --step: an end after the start and a step above 0 are needed")
        found: dict[tuple[tuple[str, str], ...], Series] = {}
        authorization = _authorization(self.credentials)
        for start_at, end_at in self._pieces():
            for one in self._ask_piece(start_at, end_at, authorization):
                labels = dict(one["metric"])
                points = [(float(at), str(value)) for at, value in one.get("values", [])]
                found.setdefault(tuple(sorted(labels.items())), (labels, []))[1].extend(points)
        series = [found[key] for key in sorted(found) if found[key][1]]
        if not series:
            raise DataError(
                f"{self.place}: has no values of {self.expression!r} in that range: try the query in its own page"
            )
        return Answer(series, hashlib.sha256(json.dumps(series, sort_keys=True).encode()).hexdigest())

    def _pieces(self) -> Iterator[tuple[float, float]]:
        """First and last point of each piece, at multiples of the step from the start."""
        last = math.floor((self.end_at - self.start_at) / self.step_s + 1e-9)
        for first in range(0, last + 1, MOST_POINTS):
            end = min(first + MOST_POINTS - 1, last)
            yield self.start_at + first * self.step_s, self.start_at + end * self.step_s

    def _ask_piece(self, start_at: float, end_at: float, authorization: str | None) -> list[dict[str, Any]]:
        asked = {"query": self.expression, "start": repr(start_at), "end": repr(end_at), "step": repr(self.step_s)}
        url = f"{self.url.rstrip('/')}/api/v1/query_range?{urlencode(asked)}"
        request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310 - checked above
        if authorization:
            request.add_unredirected_header("Authorization", authorization)
        answer = self._answer(request)
        if answer.get("status") != "success":
            said = f"{answer.get('errorType')}: {answer.get('error')}"
            raise DataError(f"{self.place}: Prometheus refuses {self.expression!r}: {said}")
        for warning in answer.get("warnings", []):
            log.warning("%s: Prometheus says: %s", self.place, warning)
        series: list[dict[str, Any]] = answer["data"]["result"]
        return series

    def _answer(self, request: urllib.request.Request) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:  # noqa: S310 - http or https
                body, status = response.read(), response.status
        except urllib.error.HTTPError as error:  # what Prometheus refuses has a body as well
            body, status = error.read(), error.code
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise DataError(f"{self.place}: does not answer ({reason}): is --prometheus right?") from error
        try:
            answer = json.loads(body)
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or "status" not in answer:
            said = " ".join(body[:_WORDS].decode("utf-8", "replace").split())
            hint = "give --credentials FILE" if status in {401, 403} else "is --prometheus right?"
            raise DataError(f"{self.place}: answers with HTTP status {status} and no result ({said}): {hint}")
        return answer


def _authorization(file: Path | None) -> str | None:
    """The header for `user:password` (RFC 7617) or a token (RFC 6750), which never has a colon."""
    if file is None:
        return None
    try:
        secret = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--credentials {file}: cannot be read ({error})") from error
    if not secret or "\n" in secret:
        raise UsageError(f"--credentials {file}: one line with user:password or a bearer token is needed")
    if ":" in secret:
        return f"Basic {base64.b64encode(secret.encode()).decode()}"
    return f"Bearer {secret}"
