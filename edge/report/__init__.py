"""What people and laboratories are given of a result: one printable page, FHIR and HL7; decides nothing about it."""
