"""Home Assistant's own schemas and templates, in its own environment (`make test-ha`): what it makes of a discovery.

Reads JSON from standard input: `payload`, and `messages` by topic. Writes its version, the keys that it would drop, and
what each entity's template makes of each message. An invalid payload ends it with an error.
"""

import asyncio
import importlib
import json
import sys
import tempfile

from homeassistant.components.mqtt.models import MqttValueTemplate
from homeassistant.components.mqtt.schemas import DEVICE_DISCOVERY_SCHEMA
from homeassistant.const import __version__
from homeassistant.core import HomeAssistant
from homeassistant.helpers.template import Template


async def main() -> None:
    asked = json.load(sys.stdin)
    DEVICE_DISCOVERY_SCHEMA(json.loads(asked["payload"]))
    found = json.loads(asked["payload"])
    with tempfile.TemporaryDirectory() as folder:
        home = HomeAssistant(folder)
        dropped, values = {}, {}
        for key, entity in found["components"].items():
            platform = importlib.import_module(f"homeassistant.components.mqtt.{entity.pop('platform')}")
            whole = {**entity, "device": found["device"], "origin": found["origin"]}
            taken = platform.DISCOVERY_SCHEMA(whole)
            dropped[key] = sorted(
                whole.keys() - {str(one) for one in taken} - {"origin", "availability_topic", "availability_template"}
            )
            template = MqttValueTemplate(Template(entity["value_template"], home))
            values[key] = [
                template.async_render_with_possible_json_value(message)
                for message in asked["messages"].get(entity["state_topic"], ())
            ]
        json.dump({"version": __version__, "dropped": dropped, "values": values}, sys.stdout)
        await home.async_stop(force=True)


asyncio.run(main())
