"""The MQTT wire contract and its delivery; makes messages from domain records, holds no state of a sample."""
