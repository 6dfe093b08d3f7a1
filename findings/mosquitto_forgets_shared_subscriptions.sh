#!/usr/bin/env bash
# Mosquitto 2.0.11 (Debian 12) with `persistence true`: after a restart a kept session is present without its shared subscription.
#
# Two subscribers keep their sessions and go away, one subscribed to t/#, one to $share/g/t/#. The broker is stopped in order
# and started again. A publisher then sends with QoS 1.
# Expected: both sessions get what was sent before and after the restart: a session's subscriptions are part of its state
# (MQTT 5, 4.1), and the broker says "session present".
# Seen: the queue of both survives. The shared subscription does not: what is published before its subscriber subscribes again
# is acknowledged (reason 16, no matching subscribers; plain success in MQTT 3.1.1) and lost.
# Needs the packages mosquitto and mosquitto-clients; runs the broker on the loopback address.
set -euo pipefail
command -v mosquitto_pub >/dev/null && [ -x /usr/sbin/mosquitto ] ||
    { apt-get update -q && apt-get install -qy --no-install-recommends mosquitto mosquitto-clients; } >/dev/null
folder=$(mktemp -d)
port=18934 broker=
trap 'kill "$broker" 2>/dev/null || true; rm -rf "$folder"' EXIT
printf '%s\n' "listener $port 127.0.0.1" "allow_anonymous true" "user root" "persistence true" \
    "persistence_location $folder/" > "$folder/conf"
start() {
    /usr/sbin/mosquitto -c "$folder/conf" 2>> "$folder/log" & broker=$!
    for _ in $(seq 100); do (: < /dev/tcp/127.0.0.1/$port) 2>/dev/null && return 0; sleep 0.1; done
    return 1
}
stop() { kill "$broker"; wait "$broker" || true; }
subscribe() { mosquitto_sub -p $port -V 5 -q 1 -c -x 3600 -i "$1" -t "$2" "${@:3}"; }
publish() { mosquitto_pub -p $port -V 5 -q 1 -d -t t/1 -m "$1" | grep PUBACK; }
{ /usr/sbin/mosquitto -h || true; } | head -1
start
subscribe plain 't/#' -E
publish before-plain
subscribe shared '$share/g/t/#' -E
publish before
stop
start
mosquitto_sub -p $port -V 5 -q 1 -c -x 3600 -i plain -t other -W 2 > "$folder/plain" 2>/dev/null || true   # takes its queue
mosquitto_sub -p $port -V 5 -q 1 -c -x 3600 -i plain -U 't/#' -t other -E                      # leaves
echo "published after the restart, the shared session has not subscribed again:"
publish after | tee "$folder/puback"
mosquitto_sub -p $port -V 5 -q 1 -c -x 3600 -i shared -t other -W 2 > "$folder/shared" 2>/dev/null || true
echo "the plain session got:" $(cat "$folder/plain"); echo "the shared session got:" $(cat "$folder/shared")
grep -q before "$folder/shared" || { echo "changed: the queue of the shared session is gone"; exit 1; }
grep -q "RC:16" "$folder/puback" || { echo "changed: the shared subscription survives a restart"; exit 1; }
! grep -q after "$folder/shared" || { echo "changed: the shared session got what was sent meanwhile"; exit 1; }
