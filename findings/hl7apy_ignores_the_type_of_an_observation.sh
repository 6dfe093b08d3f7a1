#!/usr/bin/env bash
# hl7apy 1.3.5: the type of an observation (OBX-2) does not decide what its value (OBX-5) may be.
#
# Expected: with strict validation an OBX of type NM refuses `many`, and one of type TX or FT takes a text of 250 signs
# (HL7 v2.5.1, chapter 2A: TX and FT hold 65,536).
# Seen: OBX-5 is checked as ST whatever OBX-2 says: `many` passes as a number, and 250 signs of TX or FT raise
# MaxLengthReached, for 199 is the most of ST. A valid message with such a text cannot be parsed strictly.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip --quiet --disable-pip-version-check install hl7apy==1.3.5
env/bin/python - <<'PY'
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.core import Segment
from hl7apy.exceptions import MaxLengthReached
from hl7apy.parser import parse_message


def observation(kind: str, value: str) -> Segment:
    segment = Segment("OBX", version="2.5.1", validation_level=VALIDATION_LEVEL.STRICT)
    segment.obx_1, segment.obx_2, segment.obx_3, segment.obx_11 = "1", kind, "code^name^L", "F"
    segment.obx_5 = value
    return segment


number = observation("NM", "many")
print("NM:", number.to_er7(), "valid:", number.validate())
assert number.validate(), "changed: a number is checked"
for kind in ("TX", "FT"):
    try:
        observation(kind, "x" * 250)
    except MaxLengthReached as error:
        print(f"{kind}: 250 signs refused, …{str(error)[-32:]}")
    else:
        raise SystemExit(f"changed: {kind} takes 250 signs")
message = "MSH|^~\\&|a|b|||20261130||ORU^R01^ORU_R01|1|P|2.5.1\rOBR|1|||a^b^L\rOBX|1|TX|a^b^L||" + "x" * 250 + "||||||F\r"
try:
    parse_message(message, validation_level=VALIDATION_LEVEL.STRICT)
except MaxLengthReached:
    print("a message with a text of 250 signs is not parsed strictly")
else:
    raise SystemExit("changed: the message is parsed")
PY
