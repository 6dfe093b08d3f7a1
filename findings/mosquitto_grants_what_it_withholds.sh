#!/usr/bin/env bash
# Mosquitto 2.0.11 (Debian 12): a subscription that the access list does not allow is granted, and its messages are withheld.
#
# The access list lets everybody write t/#, and read nothing. One client subscribes to t/in by MQTT 5, another publishes to it
# with QoS 1.
# Expected: SUBACK with reason 0x87, Not authorized (MQTT 5, 3.9.3), as Mosquitto answers a publish that is not allowed.
# Seen: SUBACK grants QoS 1; no message comes, and the publisher is answered 16, "no matching subscribers".
# Needs the packages mosquitto and mosquitto-clients; runs the broker on the loopback address.
set -euo pipefail
command -v mosquitto_pub >/dev/null && [ -x /usr/sbin/mosquitto ] ||
    { apt-get update -q && apt-get install -qy --no-install-recommends mosquitto mosquitto-clients; } >/dev/null
folder=$(mktemp -d)
port=18937 broker=
trap 'kill "$broker" 2>/dev/null || true; rm -rf "$folder"' EXIT
printf '%s\n' "listener $port 127.0.0.1" "allow_anonymous true" "user root" "acl_file $folder/acl" > "$folder/conf"
printf '%s\n' "topic write t/#" > "$folder/acl"
chmod 600 "$folder/acl"
/usr/sbin/mosquitto -c "$folder/conf" 2>> "$folder/log" & broker=$!
for _ in $(seq 100); do (: < /dev/tcp/127.0.0.1/$port) 2>/dev/null && break; sleep 0.1; done
{ /usr/sbin/mosquitto -h || true; } | head -1
timeout 5 mosquitto_sub -p $port -V 5 -q 1 -t t/in -d > "$folder/got" 2>&1 & reader=$!
for _ in $(seq 40); do grep -q "^Subscribed\|denied\|authorized" "$folder/got" && break; sleep 0.1; done
echo "the publisher is answered:"
mosquitto_pub -p $port -V 5 -q 1 -d -t t/in -m hello | grep PUBACK | tee "$folder/puback"
wait "$reader" || true
echo "the subscriber saw:"; cat "$folder/got"
grep -q "^Subscribed (mid: 1): 1" "$folder/got" || { echo "changed: the subscription is not granted"; exit 1; }
! grep -q hello "$folder/got" || { echo "changed: the message came"; exit 1; }
