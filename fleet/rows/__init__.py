"""From a message to its rows: examined, placed in time, written once; knows no broker."""
