"""Times of sightings: always with a zone when they are read, always in UTC when they are kept."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from omnireid.errors import DataError, SettingError


def as_zone(name: str | None) -> ZoneInfo | None:
    """The time zone of a name such as ``Europe/Berlin``.

    Raises:
        SettingError: there is no such zone.
    """
    try:
        return None if name is None else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise SettingError(
            f"timezone: there is no zone {name!r}. Use a name such as Europe/Berlin, America/New_York or UTC."
        ) from error


def parse_time(value: object, where: str, zone: ZoneInfo | None = None) -> datetime | None:
    """Read a time: a datetime, or text in ISO 8601 such as ``2026-03-01T08:15:00+01:00``.

    Args:
        value: The time; None or empty text means that it is not known.
        where: What the time belongs to, for the message.
        zone: Zone of times that state none.

    Returns:
        The time in UTC, or None.

    Raises:
        DataError: it is no time, or states no zone and `zone` is None.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        time = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).strip())
        if time.tzinfo is None:
            if zone is None:
                raise DataError(
                    f"{where}: the time {value} states no zone, so it is not known when that was. Write it as "
                    "2026-03-01T08:15:00+01:00, or name the zone of all such times (timezone, --timezone)."
                )
            time = time.replace(tzinfo=zone)
        return time.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise DataError(
            f"{where}: {value!r} is no time ({error}). Write it as 2026-03-01T08:15:00+01:00, or leave it empty."
        ) from None
