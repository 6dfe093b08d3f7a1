"""From a result to the broker: the messages, the outbox that outlives a power cut, and MQTT."""
