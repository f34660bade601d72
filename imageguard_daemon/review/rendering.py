"""Listings of images and results of reviews, as tables for people, dictionaries for JSON, and CSV."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from imageguard_daemon.audit.quarantine_queries import ListedImage, Review
from imageguard_daemon.core.model import SCORE_NAMES
from imageguard_daemon.core.names import printable
from imageguard_daemon.core.tables import csv_text, safe_cell
from imageguard_daemon.reporting.rendering import number_columns
from imageguard_daemon.reporting.text import shown
from imageguard_daemon.review.values import Reviewed

RESULTS_SHOWN = 20
PAST: Mapping[str, str] = {
    "release": "released",
    "rejudge": "released",
    "confirm": "confirmed",
    "reject": "rejected",
    "approve": "approved",
    "undo": "undone",
    "purge": "purged",
    "return": "put back into the inbox",
}
_COLUMNS = ("id", "decided_at", "source", "class", "relative_path", "destination", "sha256", "size_bytes")
_RESULT_COLUMNS = ("id", "action", "done", "relative_path", "destination", "detail", "review_id")


def rejected_as_dict(image: ListedImage) -> dict[str, Any]:
    """Give one image in the documented form of `--format json` and `csv`."""
    return {
        **dict(zip(_COLUMNS, image[: len(_COLUMNS)], strict=True)),
        "reason": image.reason,
        "detail": image.detail,
        "score": image.score,
        **dict(zip(SCORE_NAMES, image.scores, strict=True)),
        "state": image.state,
        "borderline": image.borderline,
    }


def listing_as_csv(images: Sequence[ListedImage]) -> str:
    """Give one line for each image; what a spreadsheet would run as a formula gets an apostrophe."""
    return as_csv(
        [rejected_as_dict(image) for image in images],
        (*_COLUMNS, "reason", "detail", "score", *SCORE_NAMES, "state", "borderline"),
    )


def as_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = _RESULT_COLUMNS) -> str:
    """Write rows under a header."""
    return csv_text(columns, ([safe_cell(row[column]) for column in columns] for row in rows))


def listing_as_table(images: Sequence[ListedImage], more_after: int | None) -> RenderableType:
    """Give a page of images for a terminal or a pipe; names are text and never markup."""
    if not images:
        return Text("No images match.")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    number_columns(table, "id")
    table.add_column("decided (UTC)", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("why", overflow="fold", ratio=3)
    table.add_column("file", overflow="fold", ratio=4)
    for image in images:
        moment = image.decided_at[:16].replace("T", " ")
        why = " ".join(filter(None, (_why(image), "(borderline)" if image.borderline else "")))
        words = Text(shown(why) if why else ""), Text(shown(image.destination))
        table.add_row(str(image.id), Text(moment), image.state, *words)
    parts: list[RenderableType] = [table]
    if more_after is not None:
        parts.append(Text(f"There are more: add --after {more_after} for the next page."))
    return Group(*parts)


def image_as_dict(image: ListedImage, history: Sequence[Review]) -> dict[str, Any]:
    """Give one image with its reviews."""
    reviews = [
        {
            "id": review.id,
            "reviewed_at": review.reviewed_at,
            "action": review.action,
            "who": review.who,
            "why": review.why,
            "destination": review.destination,
            "undoes": review.undoes,
        }
        for review in history
    ]
    return rejected_as_dict(image) | {"reviews": reviews}


def images_as_table(images: Sequence[ListedImage], histories: Mapping[int, Sequence[Review]]) -> RenderableType:
    """Give single images, each with its reviews, for people."""
    return Group(*(image_as_table(image, histories[image.id]) for image in images))


def image_as_table(image: ListedImage, reviews: Sequence[Review]) -> RenderableType:
    """Give one image with its reviews for people."""
    facts = Table.grid(padding=(0, 2, 0, 0))
    for name, value in _facts(image):
        facts.add_row(name, Text(value, overflow="fold"))
    history = [Text(f"  {line}", overflow="fold") for review in reviews for line in [_review_in_words(review)]]
    return Group(Text(f"{image.id}  {shown(image.relative_path)}", style="bold"), facts, *history)


def result_as_dict(result: Reviewed) -> dict[str, Any]:
    """Give one result in the documented form of `--format json` and `csv`."""
    return {
        "id": result.decision_id,
        "action": result.action,
        "done": result.done,
        "relative_path": result.relative_path,
        "destination": printable(result.destination),
        "detail": result.detail,
        "review_id": result.review_id,
    }


def result_line(result: Reviewed) -> str:
    """Say in one line what became of an image."""
    name = f"{result.decision_id} {shown(result.relative_path)}" if result.relative_path else str(result.decision_id)
    if not result.done:
        return f"not {PAST[result.action]}: {name}: {printable(result.detail)}"
    where = f" -> {printable(result.destination)}" if result.destination else ""
    return f"{PAST[result.action]}: {name}{where}" + (f" ({result.detail})" if result.detail else "")


def reasons_in_words(reasons: Mapping[str, int]) -> str:
    """Say how many images there are for which reason."""
    total = sum(reasons.values())
    ranked = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    words = ", ".join(f"{count:,} {shown(reason)}" for reason, count in ranked if reason)  # accepted ones have none
    return f"{total:,} {'image' if total == 1 else 'images'}" + (f" ({words})" if words else "")


def size_in_words(size_bytes: int) -> str:
    """Say how much disk space that is."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f} {unit}"
    return f"{size_bytes} bytes"


def _facts(image: ListedImage) -> Iterator[tuple[str, str]]:
    yield "state", image.state
    if why := _why(image):
        yield "reason", why
    yield "borderline", "yes: good and bad images mix here" if image.borderline else "no"
    yield "decided", image.decided_at
    yield "source", image.source
    yield "class", shown(image.class_name)
    yield "filed as", shown(image.destination)
    yield "content", f"{size_in_words(image.size_bytes)}, SHA-256 {image.sha256}"
    by_name = zip(SCORE_NAMES, image.scores, strict=True)
    scores = (f"{name.removesuffix('_score')} {score:.0f}" for name, score in by_name if score is not None)
    yield "scores", ", ".join(scores) or "nothing could be measured"


def _why(image: ListedImage) -> str:
    if not image.reason:
        return "rejected by a person" if image.state in {"rejected", "purged"} else ""
    return f"{image.reason}: {image.detail}" if image.detail else image.reason


def _review_in_words(review: Review) -> str:
    where = f" -> {shown(review.destination)}" if review.destination else ""
    why = f": {shown(review.why)}" if review.why else ""
    return f"{review.reviewed_at[:19]} {PAST[review.action]} by {shown(review.who)}{where}{why}"
