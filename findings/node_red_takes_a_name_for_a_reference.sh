#!/usr/bin/env bash
# Node-RED 5.0.7: any value of a configuration node that equals another's id counts as a reference to it.
#
# Two broker nodes refer to nothing. Node `one` is named "two", and node `two` is named "one".
# Expected: a name is a text for people; the flow starts, and its input node finds its broker.
# Seen: "Circular config node dependency detected: one", no configuration node is made, and the input says "missing broker
# configuration".
# Needs npm and the network; node@22 comes as a package, for Node-RED 5 wants 22.9 or newer.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true}' > package.json
npm install --no-audit --no-fund --silent node@22 node-red@5.0.7 > install.log 2>&1 || { cat install.log; exit 2; }
echo 'module.exports = {uiHost: "127.0.0.1", uiPort: 18935, flowFile: "flows.json", telemetry: {enabled: false}}' > settings.js
flow() {
    cat > flows.json <<JSON
[{"id": "one", "type": "mqtt-broker", "name": "$1", "broker": "127.0.0.1", "port": "1", "autoConnect": false},
 {"id": "two", "type": "mqtt-broker", "name": "$2", "broker": "127.0.0.1", "port": "1", "autoConnect": false},
 {"id": "tab", "type": "tab", "label": "t"},
 {"id": "in", "type": "mqtt in", "z": "tab", "topic": "x", "qos": "0", "datatype": "auto", "broker": "one", "wires": [[]]}]
JSON
    timeout 20 node_modules/node/bin/node node_modules/node-red/red.js --userDir . 2>&1 |
        grep -m 3 -E "Circular|missing broker|Started flows|Node-RED version" || true
}
echo "names that are no id:"; flow first second | tee plain
echo "names that are the other's id:"; flow two one | tee named
grep -q "Started flows" plain && ! grep -q Circular plain || { echo "changed: the plain flow does not start"; exit 1; }
grep -q "Circular config node dependency" named || { echo "changed: a name is no reference"; exit 1; }
