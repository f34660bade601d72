"""Moments as text, in UTC and in ISO 8601: one form for records, one for what a program says of itself."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Give the moment by the wall clock."""
    return datetime.now(UTC)


def timestamp(moment: datetime) -> str:
    """Write a moment as records have it, to the millisecond: always equally long, so that text order is time order."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def seconds_timestamp(moment: datetime | None = None) -> str:
    """Write a moment, or now, to the second, as status files and messages have it."""
    return (moment or utc_now()).astimezone(UTC).isoformat(timespec="seconds")


def parse_timestamp(text: str) -> datetime:
    """Read a moment in either form; ValueError for what is none."""
    return datetime.fromisoformat(text).astimezone(UTC)
