"""The demonstration: the daemon at work on a simulated fleet, on a machine that has no broker. Needs the demo extra."""
