"""A TCP proxy that a test makes slow, silent or short-lived, in each direction for itself.

Rules that hold here:

- A connection that was open when a direction became a hole stays dead in that direction for good: what is sent into it
  is swallowed and its end is not passed on (half-open). `mend` is for connections that come later.
- The faults are plain attributes that any thread may set; the pumps look at them for each piece of data.
"""

import asyncio
import contextlib
import math
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from forewarn.demo.broker import HOST
from tests.brokers import BrokerProcess, wait_until_listening
from tests.ports import free_port

_PIECE = 65_536
_TICK_S = 0.05


@dataclass
class Way:
    """What becomes of the bytes of one direction."""

    delay_s: float = 0.0
    bytes_per_s: float = math.inf
    hole: bool = False


class _Link:
    """One connection: its two ends, and the directions in which it is dead."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.near, self.far = near, far
        self.dead: set[int] = set()

    def abort(self) -> None:
        for end in (self.near, self.far):
            end.transport.abort()


class Proxy:
    """Between a client and a broker; connect to `host`, `port`. Has the face of a broker that `settings_file` wants.

    Attributes:
        out: from the client to the broker.
        back: from the broker to the client.
        shut: whether connections are ended as soon as they are made.
    """

    name = "mosquitto"
    host = HOST

    def __init__(self, broker: BrokerProcess) -> None:
        self.port = free_port()
        self.out, self.back = Way(), Way()
        self.shut = False
        self._broker = broker
        self._links: set[_Link] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def start(self) -> None:
        """Nothing: it serves inside `with`."""

    def stop(self) -> None:
        """End every connection and take no other."""
        self.shut = True
        self.cut()

    def restart(self) -> None:
        """End every connection once."""
        self.cut()

    # -- faults -----------------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """End every connection, with a reset on both sides."""
        self._call(self._abort())

    def hole(self, *ways: Way) -> None:
        """Swallow everything in these directions from now on, on the connections that there are for good."""
        for way in ways:
            way.hole = True
        self._call(self._kill())

    def mend(self) -> None:
        """No more faults; connections that are dead stay so."""
        for way in (self.out, self.back):
            way.delay_s, way.bytes_per_s, way.hole = 0.0, math.inf, False
        self.shut = False

    # -- inside -----------------------------------------------------------------------------------------------------

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _abort(self) -> None:
        for link in self._links:
            link.abort()

    async def _kill(self) -> None:
        for link in self._links:
            link.dead |= {id(way) for way in (self.out, self.back) if way.hole}

    async def _serve(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        try:
            if self.shut:
                return
            far_reader, far = await asyncio.open_connection(self._broker.host, self._broker.port)
        except OSError:
            return
        else:
            link = _Link(near, far)
            link.dead = {id(way) for way in (self.out, self.back) if way.hole}
            self._links.add(link)
            await asyncio.gather(self._pump(reader, far, self.out, link), self._pump(far_reader, near, self.back, link))
            self._links.discard(link)
            link.abort()
        finally:
            near.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way, link: _Link) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(int(min(_PIECE, max(1.0, way.bytes_per_s * _TICK_S)))):
                if way.delay_s or way.bytes_per_s < math.inf:
                    await asyncio.sleep(max(way.delay_s, _TICK_S))
                if id(way) not in link.dead:
                    writer.write(data)
                    await writer.drain()
        if id(way) not in link.dead:
            link.abort()

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._serve, self.host, self.port)

    async def _close(self) -> None:
        self._server.close()
        await self._abort()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)

    def __enter__(self) -> Self:
        """Serve."""
        self._thread.start()
        self._call(self._open())
        wait_until_listening(self.host, self.port)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End everything."""
        self.mend()
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
