"""Messages to a real broker: mosquitto, started here on the loopback interface."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from tests.ports import free_port, wait_for_port

from omnireid.errors import BrokerError, SettingError
from omnireid.tracking.message_broker import BrokerAddress, publish_messages

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin")
needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed (apt install mosquitto)")


@contextmanager
def broker(folder: Path, port: int, *lines: str) -> Iterator[None]:
    """A mosquitto of its own, which keeps what it has for subscribers when it stops."""
    config = folder / "mosquitto.conf"
    kept = ["persistence true", f"persistence_location {folder}/", "allow_anonymous true"]
    config.write_text("\n".join([f"listener {port} 127.0.0.1", *(lines or kept), "user root", ""]))
    assert MOSQUITTO is not None
    process = subprocess.Popen([MOSQUITTO, "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port)
        yield
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def subscriber(port: int) -> Iterator[list[str]]:
    """What arrives under people/#, also what was sent while this one was cut off."""
    heard: list[str] = []
    ready = threading.Event()
    client = Client(CallbackAPIVersion.VERSION2, client_id="listener", clean_session=False)
    client.reconnect_delay_set(1, 1)
    client.on_connect = lambda *_: (client.subscribe("people/#", qos=1), None)[1]
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = lambda _client, _data, message: heard.append(message.payload.decode())
    client.connect("127.0.0.1", port)
    client.loop_start()
    assert ready.wait(20)
    try:
        yield heard
    finally:
        client.disconnect()
        client.loop_stop()


def wait_for(heard: list[str], count: int) -> None:
    until = time.monotonic() + 20
    while len(set(heard)) < count and time.monotonic() < until:
        time.sleep(0.01)


@needs_mosquitto
def test_every_message_arrives_in_order(tmp_path: Path) -> None:
    port = free_port()
    with broker(tmp_path, port), subscriber(port) as heard:
        messages = [f"message {number}" for number in range(300)]
        assert publish_messages(BrokerAddress("127.0.0.1", "people/seen", port), messages) == 300
        wait_for(heard, 300)
        assert heard == messages


@needs_mosquitto
def test_a_broker_that_restarts_in_the_middle_loses_nothing(tmp_path: Path) -> None:
    """The listener is there all the time, and connects again by itself, as the publisher does."""
    port = free_port()
    with ExitStack() as running:
        first = ExitStack()
        first.enter_context(broker(tmp_path, port))
        heard = running.enter_context(subscriber(port))

        def messages() -> Iterator[str]:
            for number in range(40):
                if number == 20:
                    first.close()
                    running.enter_context(broker(tmp_path, port))
                yield f"message {number}"

        assert publish_messages(BrokerAddress("127.0.0.1", "people/seen", port), messages()) == 40
        wait_for(heard, 40)
        assert set(heard) == {f"message {number}" for number in range(40)}


def test_a_broker_that_is_not_there_is_an_error_with_the_next_step() -> None:
    address = BrokerAddress("127.0.0.1", "people", free_port())
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:\d+ cannot be reached: .*refused.*Nothing was sent\. Start"):
        publish_messages(address, ["a"])


def test_a_broker_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = BrokerAddress("127.0.0.1", "people", int(silent.getsockname()[1]))
        with pytest.raises(BrokerError, match=r"did not answer for 0\.2 s\. Send the events again"):
            publish_messages(address, ["a"], patience_s=0.2)


@needs_mosquitto
def test_a_broker_that_wants_a_password_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    monkeypatch.delenv("MQTT_USERNAME", raising=False)
    with broker(tmp_path, port, "allow_anonymous false", f"password_file {passwords}"):
        with pytest.raises(BrokerError, match="refuses the connection: Not authorized. Set MQTT_USERNAME"):
            publish_messages(BrokerAddress("127.0.0.1", "people", port), ["a"])


def test_addresses_are_read() -> None:
    assert BrokerAddress.parse("mqtt://[::1]:1884/people/seen") == BrokerAddress("::1", "people/seen", 1884)
    assert BrokerAddress.parse("broker/people") == BrokerAddress("broker", "people", 1883)
    for wrong in ("broker", "broker:no/people", "broker:99999/people", "broker/people/#"):
        with pytest.raises(SettingError):
            BrokerAddress.parse(wrong)
