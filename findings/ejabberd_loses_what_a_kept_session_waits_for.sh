#!/usr/bin/env bash
# ejabberd 23.01 (Debian 12) as an MQTT 5 broker: acknowledged messages for an absent, kept session are lost.
#
# A subscriber keeps its session and goes away. A publisher sends with QoS 1 and gets PUBACK 0 (success): somebody is owed
# each message.
# Expected: a full queue drops single messages, the oldest or the newest, and a stop of the broker keeps the queue, as its
# retained messages are kept.
# Seen: message 5,001 (`max_queue` is 5,000) ends the whole session, and all 5,000 acknowledged messages are gone. A stop and
# start of the broker ends every session and loses its queue too. A session waits 300 s at most, whatever is asked for
# (CONNACK says so).
# Run as root: it makes a Debian root in a temporary folder and runs the broker there on the loopback address.
set -euo pipefail
folder=$(mktemp -d)
port=18933
stop() { pkill -TERM -f "beam.smp.*ej@localhost" || true; for _ in $(seq 50); do pgrep -f "beam.smp.*ej@localhost" >/dev/null || return 0; sleep 0.2; done; }
trap 'stop; rm -rf "$folder"' EXIT
command -v mmdebstrap >/dev/null || { apt-get update -q && apt-get install -qy --no-install-recommends mmdebstrap; } >/dev/null
sources=/etc/apt/sources.list.d/debian.sources
[ -f $sources ] || sources=/etc/apt/sources.list
mmdebstrap --quiet --variant=minbase --include=ejabberd=23.01-1 bookworm "$folder/root" "$sources"
cat > "$folder/root/etc/ejabberd/mqtt.yml" <<YML
hosts: [localhost]
listen: [{port: $port, ip: "127.0.0.1", module: mod_mqtt}]
auth_method: [anonymous]
anonymous_protocol: both
allow_multiple_connections: true
modules:
  mod_mqtt:
    access_publish: {"#": [{allow: all}]}
    access_subscribe: {"#": [{allow: all}]}
YML
echo 'EJABBERD_CONFIG_PATH=/etc/ejabberd/mqtt.yml' >> "$folder/root/etc/default/ejabberd"
mkdir -p "$folder/root/run/ejabberd"
chmod 777 "$folder/root/run/ejabberd"
start() {
    chroot "$folder/root" ejabberdctl --node ej@localhost foreground > "$folder/log" 2>&1 &
    for _ in $(seq 100); do (: < /dev/tcp/127.0.0.1/$port) 2>/dev/null && return 0; sleep 0.2; done
    cat "$folder/log"
    return 1
}
python3 -m venv "$folder/env"
"$folder/env/bin/pip" --quiet --disable-pip-version-check install paho-mqtt==2.2.0
cat > "$folder/clients.py" <<'PY'
import collections
import sys
import threading
import time

import paho.mqtt.client as mqtt

PORT = int(sys.argv[1])


def client(name: str, got: list[bytes]) -> tuple[mqtt.Client, bool]:
    """Connect with a session that is kept and gather its messages; also give whether the broker still had it."""
    made = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
    made.username_pw_set(f"{name}@localhost", "any")
    made.on_message = lambda _c, _u, message: got.append(message.payload)
    known: list[bool] = []
    connected = threading.Event()
    made.on_connect = lambda _c, _u, flags, _r, _p: (known.append(flags.session_present), connected.set())
    wish = mqtt.Properties(mqtt.PacketTypes.CONNECT)
    wish.SessionExpiryInterval = 280
    made.connect("127.0.0.1", PORT, clean_start=False, properties=wish)
    made.loop_start()
    assert connected.wait(10)
    return made, known[0]


def leave(gone: mqtt.Client) -> None:
    gone.disconnect()
    gone.loop_stop()


if sys.argv[2] == "send":
    subscriber, _ = client("dashboard", [])
    done = threading.Event()
    subscriber.on_subscribe = lambda *_: done.set()
    subscriber.subscribe("results/#", 1)
    assert done.wait(10)
    leave(subscriber)
    acknowledged: collections.Counter[str] = collections.Counter()
    publisher, _ = client("device", [])
    publisher.on_publish = lambda _c, _u, _m, reason, _p: acknowledged.update([str(reason)])
    for number in range(int(sys.argv[3])):
        publisher.publish("results/1", str(number), 1).wait_for_publish(10)
    leave(publisher)
    print(f"sent {sys.argv[3]} while the subscriber was away:", dict(acknowledged))
else:
    got: list[bytes] = []
    returned, known = client("dashboard", got)
    before = -1
    while len(got) != before:
        before = len(got)
        time.sleep(2)
    print(f"the subscriber is back: session kept {known}, messages received {len(got)}")
    leave(returned)
PY
clients() { "$folder/env/bin/python" "$folder/clients.py" $port "$@"; }
start
clients send 4000 && clients receive | tee "$folder/few"
clients send 6000 && clients receive | tee "$folder/full"
clients send 50 && stop && start && clients receive | tee "$folder/restarted"
grep -q "session kept True, messages received 4000" "$folder/few"
grep -q "session kept False, messages received 0" "$folder/full" || { echo "changed: a full queue keeps its session"; exit 1; }
grep -q "session kept False, messages received 0" "$folder/restarted" || { echo "changed: a restart keeps sessions"; exit 1; }
