#!/usr/bin/env bash
# paho-mqtt 2.2.0: publish() returns MQTT_ERR_NO_CONN for a message that the broker has.
#
# A client with its network loop in a thread publishes one message of QoS 1. The broker reads it and ends the connection, as
# brokers do for a message that they deny or that is too large.
# Expected: MQTT_ERR_NO_CONN ("the client is not currently connected") means that the message did not leave; a program may
# give it to somebody else, or look for the reason elsewhere.
# Seen: in some of the connections the loop's thread sends the message and ends before publish() returns, and publish()
# then answers MQTT_ERR_NO_CONN of a message that arrived.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" --quiet --disable-pip-version-check install paho-mqtt==2.2.0
cat > "$folder/try.py" <<'PY'
import socket
import sys
import threading

import paho.mqtt.client as mqtt

arrived: set[bytes] = set()


def packet(stream) -> tuple[int, bytes]:
    """Read one MQTT packet: its first byte and what follows the length."""
    first = stream.read(1)[0]
    length = shift = 0
    while True:
        byte = stream.read(1)[0]
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return first, stream.read(length)


def broker(server: socket.socket) -> None:
    """Let each client in, read its first message, and end the connection."""
    while True:
        peer, _ = server.accept()
        with peer, peer.makefile("rb") as stream:
            packet(stream)
            peer.sendall(b"\x20\x02\x00\x00")
            first, body = packet(stream)
            if first >> 4 == 3:
                arrived.add(body[-6:])


server = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=broker, args=(server,), daemon=True).start()
sys.setswitchinterval(1e-6)
wrong = tries = 0
while tries < 2000 and wrong < 5:
    tries += 1
    name = b"%06d" % tries
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
    connected, ended = threading.Event(), threading.Event()
    client.on_connect = lambda *_: connected.set()
    client.on_disconnect = lambda *_: ended.set()
    client.connect("127.0.0.1", server.getsockname()[1])
    client.loop_start()
    connected.wait(5)
    answer = client.publish("t", name, qos=1).rc
    ended.wait(5)
    client.loop_stop()
    wrong += answer == mqtt.MQTT_ERR_NO_CONN and name in arrived
print(f"paho-mqtt 2.2.0: {wrong} of {tries} messages that arrived were said to have no connection")
sys.exit(0 if wrong else 1)
PY
"$folder/env/bin/python" "$folder/try.py"
