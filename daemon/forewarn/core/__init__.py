"""The detector: standard library and numpy only. No I/O, no clock, no logging, no settings objects."""
