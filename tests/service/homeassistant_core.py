"""The core of Home Assistant with its MQTT integration, without a user interface; run by test_homeassistant_core.py.

    python tests/service/homeassistant_core.py PORT AUTOMATION.yaml …

runs under a Python that has `homeassistant` and the `paho-mqtt` that its integration asks for. It connects to the
broker on loopback and has these automations; each line that it reads is answered by one of JSON: every state, every
device, and what `notify.notify` was asked for.
"""

import asyncio
import json
import logging
import sys
import tempfile
from pathlib import Path
from types import MappingProxyType
from typing import Any

from homeassistant import bootstrap, loader
from homeassistant.config_entries import ConfigEntries, ConfigEntry
from homeassistant.core import HomeAssistant, ServiceCall
from homeassistant.helpers import device_registry
from homeassistant.setup import async_setup_component
from homeassistant.util.yaml import load_yaml_dict

notified: list[dict[str, Any]] = []


def notify(call: ServiceCall) -> None:
    """What `notify.notify` does here."""
    notified.append(dict(call.data))


def answer(hass: HomeAssistant) -> str:
    """What there is, in one line."""
    states = {state.entity_id: {"state": state.state, **state.attributes} for state in hass.states.async_all()}
    devices = [device.name for device in device_registry.async_get(hass).devices.values()]
    return json.dumps({"states": states, "devices": devices, "notified": notified}, default=str)


async def serve(port: int, automations: list[dict[str, Any]], folder: str) -> None:
    """Answer until the standard input ends."""
    hass = HomeAssistant(folder)
    hass.config.skip_pip = True
    loader.async_setup(hass)
    hass.config_entries = ConfigEntries(hass, {})
    await bootstrap.async_load_base_functionality(hass)
    for dependency in ("http", "file_upload"):  # of the integration's settings page
        hass.config.components.add(dependency)
    entry = ConfigEntry(
        domain="mqtt",
        title="mqtt",
        data={"broker": "127.0.0.1", "port": port, "protocol": "5"},
        options={},
        source="user",
        version=1,
        minor_version=2,
        unique_id=None,
        discovery_keys=MappingProxyType({}),
        subentries_data=None,
    )
    await hass.config_entries.async_add(entry)
    hass.services.async_register("notify", "notify", notify)
    if automations and not await async_setup_component(hass, "automation", {"automation": automations}):
        raise SystemExit("the automations cannot be used")
    await hass.async_start()
    while await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
        sys.stdout.write(answer(hass) + "\n")
        sys.stdout.flush()
    await hass.async_stop(force=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    with tempfile.TemporaryDirectory() as its_folder:
        Path(its_folder, "configuration.yaml").touch()
        its_automations = [load_yaml_dict(name) for name in sys.argv[2:]]
        asyncio.run(serve(int(sys.argv[1]), its_automations, its_folder))
