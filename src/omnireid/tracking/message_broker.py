"""Sending messages to an MQTT broker, so that each one arrives or is missed out loud.

Every message asks for the broker's confirmation (quality of service 1: at least
once, so a message can arrive twice after a broken connection).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from omnireid.errors import BrokerError, SettingError, require

if TYPE_CHECKING:
    from paho.mqtt.client import Client

USUAL_PORT = 1883
PATIENCE_S = 30.0
"""Seconds for which a broken connection is tried again before the messages count as lost."""

_ADDRESS = re.compile(r"(?:mqtt://)?(?P<host>\[[^\]]+\]|[^/:\s]+)(?::(?P<port>\d{1,5}))?/(?P<topic>\S+)")
_LONGEST_PAUSE_S = 2  # between two attempts to connect again


@dataclass(frozen=True)
class BrokerAddress:
    """Where messages go.

    Attributes:
        host: Name or address of the broker's machine.
        topic: Topic of the messages.
        port: Port of the broker.

    Raises:
        SettingError: The port is out of range, or the topic is none to publish to.
    """

    host: str
    topic: str
    port: int = USUAL_PORT

    def __post_init__(self) -> None:
        if not 0 < self.port < 65536:
            raise SettingError(f"The port of an MQTT broker is a number from 1 to 65535; got {self.port}.")
        if set("+#") & set(self.topic) or not self.topic:
            raise SettingError(f"Messages go to one topic, without + and #; got {self.topic!r}.")

    @staticmethod
    def parse(text: str) -> BrokerAddress:
        """Read ``host[:port]/topic``.

        Raises:
            SettingError: It is something else.
        """
        found = _ADDRESS.fullmatch(text)
        if found is None:
            raise SettingError(f"An MQTT address is host[:port]/topic, such as localhost:1883/people; got {text!r}.")
        return BrokerAddress(found["host"].strip("[]"), found["topic"], int(found["port"] or USUAL_PORT))

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def publish_messages(address: BrokerAddress, messages: Iterable[str], *, patience_s: float = PATIENCE_S) -> int:
    """Publish messages in their order and wait until the broker has confirmed every one.

    A connection that breaks is opened again, and what was not confirmed is sent again. A user name and password are
    taken from the environment variables MQTT_USERNAME and MQTT_PASSWORD.

    Args:
        address: The broker and the topic.
        messages: The messages.
        patience_s: Seconds without any confirmation after which this gives up.

    Returns:
        The number of messages, all confirmed.

    Raises:
        BrokerError: The broker cannot be reached, refuses the connection, or confirms nothing for `patience_s`. The
            error says how many messages it has confirmed.
        MissingDependencyError: ``paho-mqtt`` is not installed.
    """
    require("paho.mqtt.client", extra="mqtt", purpose="Sending messages by MQTT")
    heard = _Answers()
    client = _connect(address, heard)
    sent = 0
    try:
        _wait_until(client.is_connected, heard, address, patience_s)
        for message in messages:
            client.publish(address.topic, message, qos=1)  # kept, and sent later, while there is no connection
            sent += 1
        while (count := heard.confirmed) < sent:
            rest = f"; it confirmed {count:,} of {sent:,} messages, and the others may be lost"
            _wait_until(partial(heard.has_more_than, count), heard, address, patience_s, rest)
    finally:
        client.disconnect()
        client.loop_stop()
    return sent


@dataclass
class _Answers:
    """What the broker has answered so far; written by the client's thread."""

    confirmed: int = 0
    refusal: str | None = None

    def has_more_than(self, count: int) -> bool:
        return self.confirmed > count

    def note_connection(self, _client: object, _data: object, _flags: object, reason: object, _more: object) -> None:
        if getattr(reason, "is_failure", False):
            self.refusal = str(reason)

    def note_confirmation(self, _client: object, _data: object, _number: int, _reason: object, _more: object) -> None:
        self.confirmed += 1


def _connect(address: BrokerAddress, heard: _Answers) -> Client:
    """A client whose thread connects, and connects again whenever the connection breaks."""
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion

    client = Client(CallbackAPIVersion.VERSION2)
    name = os.environ.get("MQTT_USERNAME")
    if name:
        client.username_pw_set(name, os.environ.get("MQTT_PASSWORD"))
    client.reconnect_delay_set(1, _LONGEST_PAUSE_S)
    client.max_queued_messages_set(0)  # no limit: a message is never dropped here
    client.on_connect = heard.note_connection
    client.on_publish = heard.note_confirmation
    try:
        client.connect(address.host, address.port)
    except (OSError, ValueError) as error:
        raise BrokerError(
            f"The MQTT broker {address} cannot be reached: {error}. Nothing was sent. Start the broker, or check host "
            "and port; the events can be kept in a file meanwhile (--events FILE)."
        ) from error
    client.loop_start()
    return client


def _wait_until(
    is_done: Callable[[], bool], heard: _Answers, address: BrokerAddress, patience_s: float, confirmed: str = ""
) -> None:
    """Wait for the client's thread."""
    until = time.monotonic() + patience_s
    while not is_done():
        if heard.refusal is not None:
            raise BrokerError(
                f"The MQTT broker {address} refuses the connection: {heard.refusal}. Set MQTT_USERNAME and "
                "MQTT_PASSWORD to what it expects."
            )
        if time.monotonic() > until:
            raise BrokerError(
                f"The MQTT broker {address} did not answer for {patience_s:g} s{confirmed}. Send the events again when "
                "it is back; the events can be kept in a file meanwhile (--events FILE)."
            )
        time.sleep(0.01)
