#!/usr/bin/env bash
# paho-mqtt 2.2.0: a client whose socket has the number 1,024 or a higher one connects, and then tells nobody anything.
#
# A program with more than a thousand open files (a limit of 2,048 is set) opens a connection to a server that answers.
# Expected: on_connect is called; or, where the operating system's limit is in the way, connect() or a callback says so.
# Seen: connect() returns success. The network thread waits by select(), which refuses such numbers with ValueError; paho
# takes that for a lost connection and ends the thread. Neither on_connect nor on_disconnect nor the log is called.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" --quiet --disable-pip-version-check install paho-mqtt==2.2.0
cat > "$folder/try.py" <<'PY'
import resource
import socket
import sys
import threading

import paho.mqtt.client as mqtt


def broker(server: socket.socket) -> None:
    """Let each client in: read what it says first, and answer that it is connected."""
    peers = []
    while True:
        peer, _ = server.accept()
        peers.append(peer)
        peer.recv(1024)
        peer.sendall(b"\x20\x02\x00\x00")


def told(server: socket.socket) -> tuple[int, list[str]]:
    """Connect a client; return what connect() returned, and which callbacks said something within 5 s."""
    said: list[str] = []
    anything = threading.Event()

    def note(name: str) -> None:
        said.append(name)
        anything.set()

    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
    client.on_connect = lambda *_: note("on_connect")
    client.on_disconnect = lambda *_: note("on_disconnect")
    client.on_connect_fail = lambda *_: note("on_connect_fail")
    returned = client.connect("127.0.0.1", server.getsockname()[1])
    client.loop_start()
    anything.wait(5)
    return int(returned), said


hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (2048, hard))
server = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=broker, args=(server,), daemon=True).start()
before = told(server)
files = [open("/dev/null") for _ in range(1024)]
after = told(server)
print(f"few files open: connect() returned {before[0]}, called: {before[1]}")
print(f"more than 1,024: connect() returned {after[0]}, called: {after[1]}")
sys.exit(0 if (before, after) == ((0, ["on_connect"]), (0, [])) else 1)
PY
"$folder/env/bin/python" "$folder/try.py"
