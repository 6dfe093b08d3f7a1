#!/usr/bin/env bash
# fhir.resources 8.3.0 (fhir-core 1.1.12), R4B: the digits of a decimal are lost.
#
# In FHIR the number of digits of a decimal is part of its meaning: 0.10 says more than 0.1.
# Expected: a Quantity made from Decimal("0.10"), or read from JSON with 0.10, is written as 0.10.
# Seen: both are written as 0.1, and the value read is Decimal("0.1"). An interval of "0.50 to 1.80 %" therefore reaches a
# laboratory system as 0.5 to 1.8.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip --quiet --disable-pip-version-check install fhir.resources==8.3.0 fhir-core==1.1.12
env/bin/python - <<'PY'
from decimal import Decimal

from fhir.resources.R4B.quantity import Quantity

made = {text: Quantity(value=Decimal(text), unit="%").model_dump_json() for text in ("0.10", "1.80")}
for text, json in made.items():
    print(f"made of Decimal({text!r}):", json)
read = Quantity.model_validate_json('{"value":0.10,"unit":"%"}')
print("read from 0.10:", repr(read.value), "and written again:", read.model_dump_json())
assert '"value":0.1,' in made["0.10"] and '"value":1.8,' in made["1.80"], "changed: trailing zeros are kept"
assert read.value.as_tuple().exponent == -1, "changed: reading keeps the digits"
PY
