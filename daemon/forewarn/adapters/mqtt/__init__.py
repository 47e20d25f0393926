"""MQTT by paho; nothing else imports it."""
