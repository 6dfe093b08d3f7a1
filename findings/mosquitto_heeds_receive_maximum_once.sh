#!/usr/bin/env bash
# Mosquitto 2.0.11: after the first acknowledgements a client's Receive Maximum is not heeded any more.
#
# A client of MQTT 5 says that it takes 100 messages of QoS 1 unacknowledged (Receive Maximum). It acknowledges 100 of 500.
# Expected: never more than 100 messages are unacknowledged (MQTT 5, 3.3.4: "The Server MUST NOT send more than
# Receive Maximum QoS 1 and QoS 2 PUBLISH packets for which it has not received PUBACK ...").
# Seen: at first 100 are sent. After the acknowledgements the broker sends all that waits, and from then on all that comes.
set -euo pipefail
folder=$(mktemp -d)
trap 'kill "${broker:-}" 2>/dev/null || true; rm -rf "$folder"' EXIT
command -v mosquitto > /dev/null || { apt-get update -qq; apt-get install -qq -y mosquitto; }
echo "$(mosquitto -h | head -1)"
python3 -m venv "$folder/env"
"$folder/env/bin/pip" --quiet --disable-pip-version-check install paho-mqtt==2.2.0
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
printf 'listener %s 127.0.0.1\nallow_anonymous true\n' "$port" > "$folder/mosquitto.conf"
mosquitto -c "$folder/mosquitto.conf" > "$folder/log" 2>&1 &
broker=$!
cat > "$folder/try.py" <<'PY'
import sys
import threading
import time

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PORT, MAXIMUM, EACH = int(sys.argv[1]), 100, 500
came: list[int] = []
subscribed = threading.Event()


def client(name: str, **more: bool) -> mqtt.Client:
    return mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, name, protocol=mqtt.MQTTv5, **more)


def connect(one: mqtt.Client, **more: object) -> None:
    for _ in range(100):
        try:
            one.connect("127.0.0.1", PORT, **more)
            break
        except ConnectionRefusedError:
            time.sleep(0.1)
    one.loop_start()


def publish_and_wait() -> int:
    """Publish some messages; return how many the reader has not acknowledged once no more come."""
    for _ in range(EACH):
        last = writer.publish("t", "x" * 300, 1)
    last.wait_for_publish(60)
    before = -1
    while before != len(came):
        before = len(came)
        time.sleep(1)
    return len(came) - acknowledged


properties = Properties(PacketTypes.CONNECT)
properties.ReceiveMaximum = MAXIMUM
reader, writer = client("reader", manual_ack=True), client("writer")
reader.on_message = lambda _client, _data, message: came.append(message.mid)
reader.on_connect = lambda one, *_: one.subscribe("t", 1)
reader.on_subscribe = lambda *_: subscribed.set()
connect(reader, properties=properties)
subscribed.wait(20)
connect(writer)
acknowledged = 0
first = publish_and_wait()
for mid in came[:MAXIMUM]:
    reader.ack(mid, 1)
acknowledged = MAXIMUM
time.sleep(1)
then = publish_and_wait()
print(f"Receive Maximum {MAXIMUM}; unacknowledged: {first} before the first acknowledgement, {then} after {acknowledged} of them")
sys.exit(0 if first <= MAXIMUM < then else 1)
PY
"$folder/env/bin/python" "$folder/try.py" "$port"
