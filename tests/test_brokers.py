"""The brokers that the integration tests stand on."""

from tests.brokers import BrokerProcess, Subscriber


def test_a_message_reaches_a_subscriber_on_each_broker(broker: BrokerProcess) -> None:
    with Subscriber(broker, "brokers/#") as subscriber:
        subscriber.publish("brokers/here", b"1", retain=True)
        message = subscriber.wait_for(lambda m: m.topic == "brokers/here")
        assert (message.payload, message.qos) == (b"1", 1)
        subscriber.publish("brokers/here", b"", retain=True)


def test_a_broker_restarts_on_its_port(broker: BrokerProcess) -> None:
    port = broker.port
    broker.restart()
    assert broker.port == port
    with Subscriber(broker, "brokers/#") as subscriber:
        subscriber.publish("brokers/again", b"2", qos=0)
        assert subscriber.wait_for_count(1)[0].payload == b"2"
