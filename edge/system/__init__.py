"""The computer itself: files, locks, clocks, health, systemd and the console; knows nothing of blood or MQTT."""
