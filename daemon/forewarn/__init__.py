"""Forecasts the next reading of every MQTT sensor and tells when the reading is not what it should be."""

__version__ = "0.1.0"
