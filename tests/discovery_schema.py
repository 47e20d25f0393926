"""What Home Assistant says that a device discovery message is, as a JSON Schema, for the parts that forewarn uses.

Written from these pages of its documentation, as of Home Assistant 2025.4:

- https://www.home-assistant.io/integrations/mqtt/ : discovery topic, device discovery payload, availability, origin,
  supported abbreviations
- https://www.home-assistant.io/integrations/binary_sensor.mqtt/ and https://www.home-assistant.io/integrations/sensor.mqtt/
- https://www.home-assistant.io/integrations/sensor/#device-class : the units of `temperature`

Home Assistant takes unknown keys and ignores them; here they are errors, so that a misspelt abbreviation is found.
"""

from typing import Any

import jsonschema

TOPIC = r"^(?P<prefix>[^/]+(?:/[^/]+)*)/device/(?:(?P<node>[a-zA-Z0-9_-]+)/)?(?P<object>[a-zA-Z0-9_-]+)/config$"
_ID = {"type": "string", "pattern": "^[a-zA-Z0-9_-]+$"}
_TOPIC = {"type": "string", "minLength": 1, "pattern": r"^[^+#\u0000]+$"}  # of one state, so without wildcards
_TEXT = {"type": "string", "minLength": 1}
_AVAILABILITY = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "required": ["t"],
        "properties": {"t": _TOPIC, "val_tpl": _TEXT, "pl_avail": _TEXT, "pl_not_avail": _TEXT},
        "additionalProperties": False,
    },
}
_OF_EACH = {
    "p": {"enum": ["binary_sensor", "sensor"]},
    "uniq_id": _ID,
    "name": {"type": ["string", "null"]},
    "stat_t": _TOPIC,
    "val_tpl": _TEXT,
    "json_attr_t": _TOPIC,
    "json_attr_tpl": _TEXT,
    "qos": {"enum": [0, 1, 2]},
    "avty": _AVAILABILITY,
    "avty_mode": {"enum": ["all", "any", "latest"]},
}
_BINARY_SENSOR = {
    "required": ["uniq_id", "stat_t"],
    "properties": {**_OF_EACH, "dev_cla": {"const": "problem"}},
    "additionalProperties": False,
}
_SENSOR = {
    "required": ["uniq_id", "stat_t"],
    "properties": {
        **_OF_EACH,
        "dev_cla": {"const": "temperature"},
        "stat_cla": {"enum": ["measurement", "total", "total_increasing"]},
        "unit_of_meas": _TEXT,
        "sug_dsp_prc": {"type": "integer", "minimum": 0},
    },
    "additionalProperties": False,
    "if": {"required": ["dev_cla"], "properties": {"dev_cla": {"const": "temperature"}}},
    "then": {"required": ["unit_of_meas"], "properties": {"unit_of_meas": {"enum": ["°C", "°F", "K"]}}},
}
_REMOVED = {"properties": {"p": True}, "additionalProperties": False}  # a platform alone takes the component away
DEVICE: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["dev", "o", "cmps"],
    "additionalProperties": False,
    "properties": {
        "dev": {
            "type": "object",
            "required": ["ids", "name"],
            "additionalProperties": False,
            "properties": {
                "ids": {"type": "array", "minItems": 1, "items": _ID},
                "name": _TEXT,
                "mf": _TEXT,
                "mdl": _TEXT,
                "sw": _TEXT,
            },
        },
        "o": {
            "type": "object",
            "required": ["name"],
            "additionalProperties": False,
            "properties": {"name": _TEXT, "sw": _TEXT, "url": {"type": "string", "format": "uri"}},
        },
        "avty": _AVAILABILITY,
        "avty_mode": {"enum": ["all", "any", "latest"]},
        "cmps": {
            "type": "object",
            "minProperties": 1,
            "propertyNames": _ID,
            "additionalProperties": {
                "type": "object",
                "required": ["p"],
                "if": {"minProperties": 2},
                "then": {
                    "if": {"properties": {"p": {"const": "binary_sensor"}}},
                    "then": _BINARY_SENSOR,
                    "else": _SENSOR,
                },
                "else": _REMOVED,
            },
        },
    },
}
jsonschema.Draft202012Validator.check_schema(DEVICE)
VALIDATOR = jsonschema.Draft202012Validator(DEVICE)
