"""Listens on a broker for `forewarn discover`: everything that it lets us hear, for a while."""

import secrets
import time
from functools import partial

from tqdm import tqdm

from forewarn.adapters.mqtt.client import MqttClient
from forewarn.discover import Listener, propose, settings
from forewarn.errors import DataError
from forewarn.settings.daemon import MqttSettings
from forewarn.wiring import broker_of

_TURN_S = 0.25


def listen(mqtt: MqttSettings, seconds: float) -> str:
    """Settings for what came.

    Args:
        mqtt: where to listen.
        seconds: for how long; a bar shows it where the terminal can.

    Raises:
        BrokerError: the broker does not let us in.
        DataError: nothing came that could be read.
    """
    listener = Listener()
    broker = broker_of(mqtt)

    def hear(topic: str, payload: bytes) -> None:
        listener.hear(topic, payload, time.time())

    show = partial(tqdm, unit=" s", desc="listening", disable=None, bar_format="{desc} {bar} {n:.0f}/{total:.0f} s")
    with MqttClient(
        broker, client_id=f"forewarn-discover-{secrets.token_hex(3)}", on_message=hear, subscriptions=("#",)
    ):
        ends_at = time.monotonic() + seconds
        with show(total=seconds) as bar:
            while (left := ends_at - time.monotonic()) > 0:
                time.sleep(min(_TURN_S, left))
                bar.update(min(_TURN_S, left))
    n = sum(one.n for one in listener.topics.values())
    about = f"{seconds:g} s on {broker}: {n:,} messages on {len(listener.topics):,} topics"
    proposals = propose(listener.topics)
    if not proposals:
        raise DataError(
            f"{about}, and none of them could be read as readings: listen longer (--seconds), look whether this user "
            "may read the sensors' topics, or describe them in [[inputs]] by hand (docs/inputs.md)"
        )
    return settings(proposals, about, mqtt.host, mqtt.port)
