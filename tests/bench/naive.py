"""The daemon that a user would write by hand, for comparison: one message, one window, one inference.

paho's `on_message`, `json`, a `deque` for each device, onnxruntime with a batch of one, an alert where the reading is
too far from the forecast. No acknowledgement, no journal, no metrics but a count of what was handled.
"""

import argparse
import json
import signal
import sys
from collections import deque
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import numpy as np
import onnxruntime
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion


class NaiveDaemon:
    """Handles messages on `sensors/<device>/temperature`; `threshold` in °C."""

    def __init__(self, model: str, threshold: float) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.n_step: int = self.session.get_inputs()[0].shape[1]
        self.spread = np.ones(1, np.float32)
        self.threshold = threshold
        self.windows: dict[str, deque[float]] = {}
        self.forecasts: dict[str, float] = {}
        self.handled = 0

    def on_message(self, client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        """Judge one reading, then forecast the next."""
        device = message.topic.split("/")[1]
        value = float(json.loads(message.payload)["value"])
        expected = self.forecasts.get(device)
        if expected is not None and abs(value - expected) > self.threshold:
            alert = {"device": device, "value": value, "expected": expected}
            client.publish(f"naive/alerts/{device}/temperature", json.dumps(alert), qos=1)
        window = self.windows.setdefault(device, deque(maxlen=self.n_step))
        window.append(value)
        if len(window) == self.n_step:
            array = np.array(window, np.float32).reshape(1, self.n_step, 1)
            self.forecasts[device] = float(
                self.session.run(["forecast"], {"window": array, "spread": self.spread})[0][0, 0]
            )
        self.handled += 1


def _serve_count(daemon: NaiveDaemon, port: int) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f"naive_readings_total {daemon.handled}\n".encode())

        def log_message(self, *_: object) -> None:
            pass

    Thread(target=HTTPServer(("127.0.0.1", port), Handler).serve_forever, daemon=True).start()


def main() -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="of the broker on loopback")
    parser.add_argument("--count-port", type=int, required=True, help="where the count of readings is served")
    parser.add_argument("--model", required=True)
    parser.add_argument("--threshold", type=float, default=30.0)
    arguments = parser.parse_args()
    daemon = NaiveDaemon(arguments.model, arguments.threshold)
    _serve_count(daemon, arguments.count_port)
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
    client.on_connect = lambda client, *_: client.subscribe("sensors/+/temperature")
    client.on_message = daemon.on_message
    client.connect("127.0.0.1", arguments.port)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    client.loop_forever()


if __name__ == "__main__":
    main()
