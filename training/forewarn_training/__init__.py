"""Trains the models that `forewarn` runs. torch and onnx live here; the daemon never imports this package."""
