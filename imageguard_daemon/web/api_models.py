"""What the API answers, for its description: the form of each answer, of what went wrong, and how a program is let in.

The routes build plain dictionaries; nothing is checked against these forms on the way out, but tests do.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Responses = dict[int | str, dict[str, Any]]
Share = Annotated[float, Field(ge=0, le=1)]
Score = Annotated[float, Field(ge=0, le=100)]
Count = Annotated[int, Field(ge=0)]


class Answer(BaseModel):
    """A form with no other fields than these, so that what is not described cannot be answered."""

    model_config = ConfigDict(extra="forbid")


class Problem(Answer):
    """What was wrong, in words."""

    detail: str


class Decision(Answer):
    """One image that was judged and filed, by the columns of the view `decisions`."""

    id: int
    decided_at: str
    host: str
    source: str
    class_name: str = Field(alias="class")
    relative_path: str
    destination: str | None
    sha256: str
    size_bytes: Count
    verdict: Literal["accepted", "quarantined"]
    reason: str
    issues: list[str]
    score: Share
    blur_score: Score | None
    resolution_score: Score | None
    noise_score: Score | None
    exposure_score: Score | None
    compression_score: Score | None
    pixelation_score: Score | None
    measures: dict[str, Any]
    preset: str
    profile: dict[str, Any]
    scorer_version: str
    camera: str
    duplicate_of: int | None
    duration_ms: float
    detail: str
    image_format: str
    borderline: int | None
    code: str | None


class Decisions(Answer):
    """A page of decisions; `next_before` is where the next one goes on, null at the end."""

    decisions: list[Decision]
    next_before: int | None


class Rejections(Answer):
    """How many images, how many of them rejected, and the 95 % interval of that rate."""

    total: Count
    rejected: Count
    rate: Share
    low: Share
    high: Share


class Whereabouts(Answer):
    """Where rejected images are by now; what happened to none of them may be left out."""

    released: Count = 0
    rejected_by_people: Count = 0
    purged: Count = 0
    archived: Count = 0
    returned: Count = 0
    in_quarantine: Count = 0


class Group(Rejections, Whereabouts):
    """One group of a report; `keys` where two things are crossed, `before` for the period before, if there is one."""

    key: str
    keys: dict[str, str] | None = None
    top_reason: str
    before: Rejections | None = None


class Trend(Answer):
    """How the rate changed against the period before."""

    change: float
    low: float
    high: float
    before: Rejections


class Example(Answer):
    """One image of a finding."""

    id: int
    relative_path: str


class Finding(Answer):
    """What stands out."""

    kind: str
    subject: str
    message: str
    sentence: str
    look_at: str
    sample_size: Count
    excess: float
    since: str | None
    until: str | None
    where: dict[str, str]
    example: Example | None
    command: str
    evidence: dict[str, float]


class Findings(Answer):
    """What stands out, and since when it was looked for, as it was asked."""

    since: str
    findings: list[Finding]


class Reviewed(Answer):
    """How many rejections and acceptances people called right or wrong; null without an estimate of the recall."""

    right: Count
    wrong: Count
    precision: Share
    low: Share
    high: Share
    rejudged: Count
    approved: Count
    missed: Count
    miss_rate: Share
    miss_low: Share
    miss_high: Share
    recall: Share | None
    recall_low: Share | None
    recall_high: Share | None


class Percentiles(Answer):
    """Scores of a signal, and the measures behind them, by percentile."""

    signal: str
    measure: str
    scores: dict[str, Score]
    measures: dict[str, float]


class Near(Answer):
    """An image near a threshold; one that was archived has no path."""

    id: int
    relative_path: str | None
    class_name: str | None = Field(alias="class")
    verdict: Literal["accepted", "quarantined"]
    signal: str
    score: Score
    threshold: Score


class Report(Whereabouts):
    """What `report --format json` gives."""

    by: str
    since: str | None
    until: str | None
    source: str | None
    class_name: str | None = Field(alias="class")
    camera: str | None
    host: str | None
    preset: str | None
    total: Count
    accepted: Count
    quarantined: Count
    rejected: Count
    rejection_rate: Share
    low: Share
    high: Share
    duplicates: Count
    borderline: Count
    reasons: dict[str, Count]
    trend: Trend | None
    groups: list[Group]
    findings: list[Finding]
    reviewed: Reviewed | None = None
    percentiles: list[Percentiles]
    nearest: list[Near]


class Verdict(Answer):
    """What one preset makes of an image."""

    ok: bool
    score: Share
    reason: str
    borderline: bool
    issues: list[str]
    detail: str
    thresholds: dict[str, Score]


class Judged(Answer):
    """One upload; what could not be measured has no scores and no measures."""

    name: str
    format: str
    scores: dict[str, Score]
    measures: dict[str, Any]
    scorer_version: str
    presets: dict[str, Verdict]


class Checked(Answer):
    """The uploads, in their order."""

    images: list[Judged]


def problem(description: str, *headers: str) -> dict[str, Any]:
    """Describe an answer that says what was wrong; `headers` come with it."""
    described = {name: {"schema": {"type": "string"}} for name in headers}
    return {"model": Problem, "description": description, **({"headers": described} if described else {})}


ALWAYS: Responses = {
    401: problem("No token, or none that is known. Without tokens, on loopback, never.", "WWW-Authenticate"),
    405: problem("The address does not take such requests; `Allow` names those it takes.", "Allow"),
    408: problem("The rest of the request did not come."),
    413: problem("More was sent than is taken."),
    421: problem("The server does not answer to that host name."),
    422: problem("The request is invalid, or has an unknown parameter; `detail` says why."),
    500: problem("A person is needed at the server; `detail` says what for."),
    503: problem("Not now: the log is locked or cannot be read, or too many reports are waited for.", "Retry-After"),
}
"""What every route may answer instead."""

NOT_THERE: Responses = {404: problem("The log has no such name, or there is no time from `since` to `until`.")}
UPLOADS: Responses = {
    400: problem("No form with images."),
    403: problem("Sent by a page of another site."),
    429: problem("Too often.", "Retry-After"),
    503: problem(
        "Not now: the readout is not to be had, or is no longer that of the daemon; `detail` says which.", "Retry-After"
    ),
}
_SCHEMES = {
    "token": {"type": "http", "scheme": "bearer", "description": "Made by `imageguard-daemon web --new-token NAME`."},
    "session": {"type": "apiKey", "in": "cookie", "name": "imageguard_session", "description": "That of a browser."},
}


def with_security(description: dict[str, Any], *, needs_token: bool) -> dict[str, Any]:
    """Add how a program is let in; where nobody needs a token, it may be left out."""
    ways: list[dict[str, list[str]]] = [{name: []} for name in _SCHEMES]
    components = {**description.get("components", {}), "securitySchemes": _SCHEMES}
    return {**description, "components": components, "security": ways if needs_token else [{}, *ways]}
