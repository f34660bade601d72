"""Which time a report is about, as people write it: `7d`, `2025-01-31`, `2025-01-31T08:30`."""

import re
from datetime import UTC, date, datetime, time, timedelta

from imageguard_daemon.core.errors import UsageError

OPTIONS, PARAMETERS = ("--since", "--until"), ("since", "until")
"""What a period is asked for by on the command line, and in the address of a page."""
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGO = re.compile(r"([0-9]+) ?([mhdw])", re.IGNORECASE)


def parse_period(
    since: str | None, until: str | None, now: datetime, names: tuple[str, str] = OPTIONS
) -> tuple[datetime | None, datetime | None]:
    """Give the first moment of a period and the first after it, both in UTC; None is an open end.

    Times are relative to `now` (30m, 12h, 7d, 2w ago) or ISO 8601; without a zone they are UTC, as
    the log is. A plain date is a whole day: `since` begins with it and `until` still includes it. A period that began
    and has no end ends now: see `end_of`. `names` are what errors call the two.

    Raises:
        UsageError: one of them is not a time, or the period ends before it begins.
    """
    first = _moment(names[0], since, now, whole_day=timedelta(0)) if since is not None else None
    end = _moment(names[1], until, now, whole_day=timedelta(days=1)) if until is not None else None
    if first is not None and end is not None and first >= end:
        raise UsageError(f"{names[0]} {since} is not before {names[1]} {until}")
    return first, end_of(first, end, now)


def end_of(first: datetime | None, end: datetime | None, now: datetime) -> datetime | None:
    """Give the end of a period: one that began before now and has no end of its own ends now.

    Else what a wrong clock has stamped for 2031 would be among the decisions of the last week, every week.
    """
    return now if end is None and first is not None and first < now else end


def parse_since(option: str, text: str, now: datetime) -> datetime:
    """Give the first moment of a period for an option of another name; UsageError when it is not a time."""
    return _moment(option, text, now, whole_day=timedelta(0))


def parse_age(option: str, text: str, now: datetime) -> datetime:
    """Give the moment before which something is old enough: `90d`, or a date, which is then included.

    Raises:
        UsageError: it is not a time.
    """
    return _moment(option, text, now, whole_day=timedelta(days=1))


def _moment(option: str, text: str, now: datetime, whole_day: timedelta) -> datetime:
    try:
        return _read(text.strip(), now, whole_day).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"{option} {text!r} is not a time; give e.g. 7d, 12h, 30m, 2025-01-31 or 2025-01-31T08:30"
        ) from error


def _read(text: str, now: datetime, whole_day: timedelta) -> datetime:
    if ago := _AGO.fullmatch(text):
        return now - timedelta(**{_UNITS[ago[2].lower()]: int(ago[1])})
    try:
        day = date.fromisoformat(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return datetime.combine(day, time(), UTC) + whole_day
