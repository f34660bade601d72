"""What a finding is, and the words and numbers that all kinds share."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum
from urllib.parse import urlencode

from imageguard_daemon.audit.counts import RecordedImage, Scope
from imageguard_daemon.core.names import harmless
from imageguard_daemon.reporting.tallies import Tally
from imageguard_daemon.reporting.text import asked_for, percent, share, shown

ALPHA = 0.002
"""A difference that is more probable than this by chance alone is none; each kind corrects for how many it looks at."""
DOUBT = 0.2
"""A rate counts as above a limit when, were it at the limit, so many would come less often than this. A limit is a line
drawn by people, and being told of it a little early costs a look."""
CLEARLY_HIGHER = 1.5
"""A group stands out at so many times the others' rate: among a million images a hair is not chance."""

ADVICE: dict[str, str] = {
    "blurry": "Look at focus, shutter speed and lens of the cameras, and at frames taken from video.",
    "low_resolution": "Look at whether thumbnails or previews are collected in place of the originals.",
    "noisy": "Look at the light and the ISO setting where these images are taken.",
    "overexposed": "Look at the exposure setting of the cameras and at flash or sun in the scene.",
    "underexposed": "Look at the exposure setting of the cameras and at images taken at night.",
    "compressed": "Look at which step saves these images at a low JPEG quality.",
    "pixelated": "Look at which step enlarges these images; collect them before it.",
    "blank": "Look at what delivers these files: they show nothing, or only the beginning of a picture.",
    "corrupt": "Look at how these files are transferred: they arrive damaged or cut off.",
    "unsupported": "Look at what is delivered: these files are not images in a known format.",
    "too_large": "Look at the limits scoring.max_pixels and scoring.max_megabytes.",
    "duplicate": "Have the sender remove what it has sent, or see intake.duplicates.",
}


_NAMED = 2
"""So many of the groups that are reported are named in a sentence about others."""
_LISTED = frozenset({"class", "source", "camera", "reason", "since", "until"})
"""What rejected images can be listed by."""


class Shows(Enum):
    """What of a log shows a finding."""

    rejected = "rejected"
    accepted = "accepted"
    page = "page"
    days = "days"
    hours = "hours"
    nothing = "nothing"


@dataclass(frozen=True, slots=True)
class Finding:
    """One pattern: `kind` for programs, `subject` its topic, a sentence and what to look at for people, `evidence`.

    The evidence has numbers only: `total`, the images it rests on; `p_value`, by chance alone, and the `limit` that
    it is checked against; `excess`, the rejections beyond that; `since` and `until`, seconds since 1970, where it has a
    time. `where` selects its images among those in `scope`, by the names of FIELDS, `reason`, and nothing for all.
    """

    kind: str
    subject: str
    sentence: str
    look_at: str
    evidence: Mapping[str, float]
    where: Mapping[str, str] = field(default_factory=dict)
    example: RecordedImage | None = None
    """One of its rejected images, where the record is there."""
    example_id: int = 0
    shows: Shows = Shows.rejected
    """What shows it to a person: its images, a page, its days or hours, or nothing where there is no log."""
    scope: Scope = field(default_factory=Scope)
    """Which decisions the report is on."""
    score: tuple[str, float, float] | None = None
    """A score of its images, and from where to where it lies."""
    is_silence: bool = False
    """Whether nothing came in its time: what shows it came before."""

    @property
    def message(self) -> str:
        """All that a person needs."""
        return f"{self.sentence} {self.look_at}"

    @property
    def sentence_with_command(self) -> str:
        """The same with the command that shows its images, for those who read of it elsewhere."""
        return f"{self.message} `{self.command}` shows them." if self.command else self.message

    @property
    def sample_size(self) -> int:
        """How many images it rests on."""
        return int(self.evidence["total"])

    @property
    def excess(self) -> float:
        """Its effect: how many more images were rejected than its limit or the others would have it."""
        return self.evidence.get("excess", 0.0)

    @property
    def command(self) -> str:
        """The command that shows its images, ROOT standing for the folder; empty where there is no log."""
        if self.shows is Shows.nothing:
            return ""
        where = self._selected()
        if self._is_listed(where):
            ranges = "" if self.score is None else " --score {}={:g}..{:g}".format(*self.score)
            state = "all" if self.shows is Shows.rejected else self.shows.value
            return f"imageguard-daemon quarantine list ROOT --state {state}{options_of(where)}{ranges}"
        where.pop("reason", None)
        form = f"--by {self.shows.value.removesuffix('s')}" if self.shows in _IN_TIME else _PAGE
        return f"imageguard-daemon report ROOT{options_of(where)} {form}"

    @property
    def query(self) -> str:
        """The query of the page that shows its images; empty where none does."""
        where = self._selected()
        if self.shows is not Shows.rejected or not self._is_listed(where) or where.get("source") == "":
            return ""
        for option, name in (("class", "class_name"), ("camera", "camera")):
            if option in where:
                where[name] = asked_for(where.pop(option))
        ranges = {} if self.score is None else dict(zip(("score", "low", "high"), self.score, strict=True))
        return urlencode({"state": "all", **where, **ranges})

    def _is_listed(self, where: Mapping[str, str]) -> bool:
        return self.shows in {Shows.rejected, Shows.accepted} and _LISTED.issuperset(where)

    def _selected(self) -> dict[str, str]:
        """Give what the options select by: what the report does, and within that the finding."""
        times = [self.evidence.get("since"), self.evidence.get("until")]
        since, until = (datetime.fromtimestamp(second, UTC) if second is not None else None for second in times)
        if self.is_silence:
            since, until = None, since
        since = max(filter(None, (self.scope.since, since)), default=None)
        until = min(filter(None, (self.scope.until, until)), default=None)
        return selected(replace(self.scope, since=since, until=until), self.where)


_IN_TIME = (Shows.days, Shows.hours)
_PAGE = "--format html --output found.html"


def selected(scope: Scope, where: Mapping[str, str]) -> dict[str, str]:
    """Give what selects a part of a scope, by the names of options."""
    names = {
        "class": scope.class_name,
        "source": scope.source,
        "camera": scope.camera,
        "host": scope.host,
        "preset": scope.preset,
    }
    times = {"since": scope.since, "until": scope.until}
    return (
        {name: value for name, value in names.items() if value is not None}
        | dict(where)
        | {name: moment_of(moment) for name, moment in times.items() if moment is not None}
    )


def moment_of(moment: datetime) -> str:
    """Write a time as commands and pages take it."""
    is_whole = not (moment.second or moment.microsecond)
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="minutes" if is_whole else "milliseconds")


def options_of(selection: Mapping[str, str]) -> str:
    """Write what selects as options of a command, each with a space before it."""
    return "".join(f" --{name} {shlex.quote(harmless(value))}" for name, value in selection.items())


def subject_of(where: Mapping[str, str]) -> str:
    """Name a group of images for programs and lists: `class lynx, source web`."""
    return ", ".join(f"{name} {value}" for name, value in where.items()) or "all images"


def group_in_words(where: Mapping[str, str]) -> str:
    """Name a group of images as a sentence begins: Class 'lynx' of source 'web'."""
    if not where:
        return "All images"
    parts = [f"{name} '{shown(value)}'" if value else f"images without a {name}" for name, value in where.items()]
    joined = {"source": " of ", "camera": " by "}
    words = parts[0]
    for name, part in zip(list(where)[1:], parts[1:], strict=True):
        words += joined.get(name, " of ") + part
    return words[0].upper() + words[1:]


def named_in_words(groups: Sequence[Mapping[str, str]]) -> str:
    """Name groups that are told within a sentence: class 'lynx', source 'web' and 4 more that are told."""
    names = [name[0].lower() + name[1:] for name in map(group_in_words, groups)]
    more = [f"{len(names) - _NAMED:,} more that are told"] if len(names) > _NAMED else []
    *first, last = [*names[:_NAMED], *more]
    return f"{', '.join(first)} and {last}" if first else last


def rejected_in_words(tally: Tally) -> str:
    """Say how many were rejected and which reason leads."""
    images = f"{share(tally.rejected, tally.total)} images"
    return f"{images} were rejected ({percent(tally.rate)}), {reason_in_words(tally)}"


def reason_in_words(tally: Tally) -> str:
    """Say which reason leads, of a tally with rejections."""
    images = tally.reasons[tally.top_reason]
    if images == tally.rejected:
        return f"all for {shown(tally.top_reason)}"
    word = "mostly" if images * 2 > tally.rejected else "most often"
    return f"{word} {shown(tally.top_reason)} ({images:,})"


def evidence_of(tally: Tally, limit: float, chance: float) -> dict[str, float]:
    """Give the numbers that every finding has; `chance` is that of such a rate were the true one `limit`."""
    low, high = tally.interval
    return {
        "total": tally.total,
        "rejected": tally.rejected,
        "rate": tally.rate,
        "low": low,
        "high": high,
        "limit": limit,
        "excess": tally.rejected - tally.total * limit,
        "p_value": chance,
    }


def evidence_against(tally: Tally, others: Tally, chance: float) -> dict[str, float]:
    """Give the numbers of a finding that compares images with others; `chance` is that of such a rate at theirs."""
    compared = {"others_total": others.total, "others_rejected": others.rejected, "others_rate": others.rate}
    return evidence_of(tally, others.rate, chance) | compared


def got_worse(where: Mapping[str, str]) -> tuple[str, str]:
    """Give kind and subject of a finding on images of which more are rejected than before."""
    kind = f"{'_and_'.join(where) or 'all'}_got_worse"
    return kind, next(iter(where.values())) if len(where) == 1 else subject_of(where)
