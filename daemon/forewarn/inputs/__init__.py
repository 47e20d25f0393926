"""From topic and payload to readings: pure functions, one payload dialect a module."""
