"""The dialects by name, and what each lets one choose in `[[inputs]]`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from forewarn.inputs.chirpstack import ChirpStack
from forewarn.inputs.cloudevents import CloudEvents
from forewarn.inputs.dialect import Dialect, Input
from forewarn.inputs.esphome import Esphome
from forewarn.inputs.homie import Homie
from forewarn.inputs.influx import Influx
from forewarn.inputs.json_paths import Json
from forewarn.inputs.number import Number
from forewarn.inputs.senml import Senml, SenmlCbor
from forewarn.inputs.shelly import Shelly
from forewarn.inputs.sparkplug import Sparkplug
from forewarn.inputs.tasmota import Tasmota
from forewarn.inputs.ttn import TheThingsStack
from forewarn.inputs.zigbee2mqtt import Zigbee2mqtt
from forewarn.inputs.zwavejs import ZwaveJs

TEMPERATURES = ("*temperature*",)
"""The metrics that are taken where nothing else is asked for: a device of an ecosystem also tells its battery, its link
and its buttons, and nobody wants alerts of those without having asked for them."""


@dataclass(frozen=True, slots=True)
class Known:
    """One dialect.

    Attributes:
        make: for one input.
        topic: what is subscribed to where the input does not say.
        keys: of `[[inputs]]` that it knows, besides those that every dialect has.
        metrics: the patterns of the metrics that are taken where the input does not say; None for all.
        also: what is subscribed to besides `topic`, where the input has that.
        remembers: whether what a message means depends on what came before it.
    """

    make: Callable[[Input], Dialect]
    topic: str | None = None
    keys: frozenset[str] = frozenset()
    metrics: tuple[str, ...] | None = TEMPERATURES
    also: tuple[str, ...] = ()
    remembers: bool = False


DIALECTS: Mapping[str, Known] = {
    "number": Known(Number, keys=frozenset({"metric"}), metrics=None),
    "json": Known(Json, keys=frozenset({"device", "metric", "value", "values", "time"}), metrics=None),
    "zigbee2mqtt": Known(Zigbee2mqtt, "zigbee2mqtt/#", remembers=True),
    "tasmota": Known(Tasmota, "tele/{device}/+"),
    "shelly": Known(Shelly, "shellies/#", also=("+/events/rpc", "+/online"), remembers=True),
    "esphome": Known(Esphome, "+/sensor/+/state", also=("+/status",)),
    "homie": Known(Homie, "homie/#", remembers=True),
    "zwavejs": Known(ZwaveJs, "zwave/#"),
    "senml": Known(Senml, keys=frozenset({"metric"})),
    "senml-cbor": Known(SenmlCbor, keys=frozenset({"metric"})),
    "chirpstack": Known(ChirpStack, "application/+/device/+/event/up", frozenset({"device"})),
    "ttn": Known(TheThingsStack, "v3/+/devices/+/up", frozenset({"device", "absent_is_zero"})),
    "influx": Known(Influx, keys=frozenset({"device"})),
    "cloudevents": Known(CloudEvents, keys=frozenset({"device", "metric", "value", "values", "time"})),
    "sparkplug": Known(Sparkplug, "spBv1.0/#", remembers=True),
}


def may_give(one: Input, metric: str) -> bool:
    """Whether a message of this input can have a value of that metric."""
    named = {one.metric} if one.metric else set(one.values) - {""}
    chosen = one.dialect not in _NAMED or not named or metric in named
    return chosen and (one.metrics is None or any(fnmatchcase(metric.lower(), p.lower()) for p in one.metrics))


_NAMED = frozenset({"number", "json", "cloudevents"})
"""Dialects that have the metrics that are set for them and no others, where any are."""
