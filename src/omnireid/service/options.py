"""How a gallery is served. No heavy imports."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from omnireid.errors import SettingError

_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+")


@dataclass(frozen=True, kw_only=True)
class ServiceOptions:
    """How a gallery is served.

    Attributes:
        host: Address to listen on. Any but a loopback address needs a token first.
        port: Port to listen on; 0 takes a free one.
        tokens: File of the tokens. By default .tokens.json in the gallery's folder; a gallery on object storage needs
            this file named.
        serve_crops: Folders whose pictures may be shown, if a sighting of the gallery names them. Links below them are
            not followed.
        keep_crops: Folder for the pictures of sightings that are added through the service, which may be shown too.
            Without it nothing can be added. Erasing a sighting deletes its picture there.
        cors_origins: Origins of web pages of others that may use the service, such as https://desk.example.org.
        trusted_proxies: Addresses or networks of proxies, such as 127.0.0.1, whose header X-Forwarded-For says who the
            client is. Without any the header is ignored.
        requests_per_second: Requests that one token may make in a second, on average; twice as many at once.
        largest_upload_mb: Size of the largest request, in megabytes. Larger ones are refused before they are read.

    Raises:
        SettingError: a value is out of range; the message names it.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    tokens: Path | None = None
    serve_crops: tuple[Path, ...] = ()
    keep_crops: Path | None = None
    cors_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    requests_per_second: float = 50.0
    largest_upload_mb: int = 16

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise SettingError(f"port must be a number from 0 to 65535; got {self.port!r}.")
        if not self.host.strip():
            raise SettingError("host is empty. Use 127.0.0.1 for this machine only, or 0.0.0.0 for all addresses.")
        for origin in self.cors_origins:
            if not _ORIGIN.fullmatch(origin):
                raise SettingError(
                    f"cors_origins: {origin!r} is no origin. Write scheme and host, such as https://desk.example.org; "
                    "there is no entry for every site."
                )
        for proxy in self.trusted_proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError:
                raise SettingError(
                    f"trusted_proxies: {proxy!r} is neither an address nor a network, such as 127.0.0.1 or 10.0.0.0/24."
                ) from None
        if not self.requests_per_second > 0:
            raise SettingError(f"requests_per_second must be above 0; got {self.requests_per_second!r}.")
        if not 1 <= self.largest_upload_mb <= 1024:
            raise SettingError(f"largest_upload_mb must be from 1 to 1024; got {self.largest_upload_mb!r}.")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
