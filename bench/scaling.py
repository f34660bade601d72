"""What judging many images takes, worked out from what one image takes; docs/performance.md has the figures measured.

    python -m bench.scaling --milliseconds 6.5 --kilobytes 70 --cores 64 --price 0.04

Prices are examples: put in your own. Cores are taken to be as quick as the one the milliseconds are from.
"""

import argparse
from dataclasses import dataclass

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_MILLISECONDS_OF_AN_HOUR = 3_600_000
_IMAGES = {"1 M": 10**6, "100 M": 10**8, "10 G": 10**10}
_MOST_IN_SHARDS_OF_A_THOUSAND = 10**8


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What one image takes, and what that costs: `price` of a core for an hour, `request_price` of 1,000 requests."""

    milliseconds: float
    kilobytes: float
    cores: int
    price: float
    request_price: float
    result_bytes: float
    busy: float = 0.9
    """The share of the time in which a core has an image to decode: it waits at the start, at the end and for bytes."""


@dataclass(frozen=True, slots=True)
class Effort:
    """What so many images take."""

    core_hours: float
    seconds: float
    cost: float
    request_cost: float
    megabytes_a_second: float
    terabytes: float
    result_gigabytes: float
    files: int


def effort(images: int, given: Assumptions) -> Effort:
    """Work it out."""
    core_hours = images * given.milliseconds / _MILLISECONDS_OF_AN_HOUR / given.busy
    seconds = core_hours * 3600 / given.cores
    shard = 1_000 if images <= _MOST_IN_SHARDS_OF_A_THOUSAND else 10_000
    return Effort(
        core_hours=core_hours,
        seconds=seconds,
        cost=core_hours * given.price,
        request_cost=images / 1000 * given.request_price,
        megabytes_a_second=images * given.kilobytes / 1000 / seconds,
        terabytes=images * given.kilobytes / 1e9,
        result_gigabytes=images * given.result_bytes / 1e9,
        files=images // shard,
    )


def table(given: Assumptions) -> str:
    """Give the table of docs/performance.md."""
    rows = ["| images | core-hours | time | cost | requests | read | results | files |", f"|{'---|' * 8}"]
    for name, images in _IMAGES.items():
        one = effort(images, given)
        cells = (
            name,
            f"{one.core_hours:,.1f}" if one.core_hours < 100 else f"{one.core_hours:,.0f}",
            _in_words(one.seconds),
            f"{one.cost:,.2f}" if one.cost < 100 else f"{one.cost:,.0f}",
            f"{one.request_cost:,.2f}" if one.request_cost < 100 else f"{one.request_cost:,.0f}",
            f"{one.terabytes:,.2f} TB" if one.terabytes < 100 else f"{one.terabytes:,.0f} TB",
            f"{one.result_gigabytes:,.1f} GB" if one.result_gigabytes < 100 else f"{one.result_gigabytes:,.0f} GB",
            f"{one.files:,}",
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _in_words(seconds: float) -> str:
    """Say how long that is, in the two units that matter."""
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    for unit, name, smaller, smaller_name in ((_DAY, "d", _HOUR, "h"), (_HOUR, "h", _MINUTE, "min")):
        if whole >= unit:
            return f"{whole // unit:,} {name} {whole % unit // smaller} {smaller_name}"
    return f"{whole // _MINUTE} min {whole % _MINUTE} s"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--milliseconds", type=float, required=True, help="of one core, for one image")
    parser.add_argument("--kilobytes", type=float, required=True, help="of one image")
    parser.add_argument("--cores", type=int, default=64)
    parser.add_argument("--price", type=float, default=0.04, help="of a core for an hour")
    parser.add_argument("--request-price", type=float, default=0.0004, help="of 1,000 requests to the store")
    parser.add_argument("--result-bytes", type=float, default=190, help="of one row of the results")
    wanted = parser.parse_args()
    given = Assumptions(**vars(wanted))
    print(table(given))
    print(f"\nread at {effort(10**6, given).megabytes_a_second:,.0f} MB/s, however many there are")


if __name__ == "__main__":
    main()
