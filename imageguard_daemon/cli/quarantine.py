"""`imageguard-daemon quarantine`: look through what was rejected or accepted, and act on it."""

from dataclasses import dataclass, replace
from typing import Annotated

import typer

from imageguard_daemon.cli.help_format import CommandLine
from imageguard_daemon.cli.options import (
    ConfigFile,
    DatabaseOrUrl,
    Format,
    OutputFormat,
    Root,
    settings_for,
    with_groups,
)
from imageguard_daemon.cli.output import write
from imageguard_daemon.cli.review_options import (
    ReviewCommand,
    ReviewOptions,
    act_on,
    reading,
    require_any,
    require_paths,
    require_some_accepted,
)
from imageguard_daemon.cli.selection_options import (
    ACCEPTED_STATES,
    Place,
    SelectionOptions,
    StateName,
    named_images,
    require_known,
    selection_of,
    with_images,
)
from imageguard_daemon.core.errors import UsageError

PAGE_SIZE = 50
_UNDONE = (StateName.released, StateName.confirmed, StateName.rejected, StateName.approved)


@dataclass(frozen=True, slots=True)
class Shape:
    """The options of every command that only looks."""

    database: DatabaseOrUrl = None
    output: Format = OutputFormat.table


app = CommandLine(
    no_args_is_help=True,
    help="Review images: release, confirm or purge rejected ones, reject or approve accepted ones.",
)

After = Annotated[
    int | None,
    typer.Option("--after", metavar="N", show_default=False, help="Continue after this number, the last of a page."),
]
All = Annotated[bool, typer.Option("--all", help="All images whose state allows it.")]
OlderThan = Annotated[
    str,
    typer.Option(
        metavar="AGE", help="Only images decided before then: 90d ago, or up to 2025-01-31.", show_default=False
    ),
]


@app.command("list")
@with_groups
def list_(
    options: SelectionOptions, shape: Shape, root: Root = None, config_file: ConfigFile = None, after: After = None
) -> None:
    """List images, newest first: by default the rejected ones that wait for review.

    --state accepted lists what the daemon accepted and nobody has reviewed.

    A page has 50 images unless --limit says otherwise; --after continues where a page ended.
    """
    from imageguard_daemon.audit.quarantine_queries import page
    from imageguard_daemon.review import rendering

    size = options.limit or PAGE_SIZE
    settings = settings_for(root, config_file)
    with reading(shape.database or settings.audit.database) as log:
        named = named_images(options, log, str(settings.root), accepted=options.state in ACCEPTED_STATES)
        require_paths(named.unknown, log)
        selection = replace(selection_of(options, named.ids, [StateName.waiting]), limit=size + 1)
        images = page(log, selection, after)
        if not images:
            require_known(selection, log)
    images, more = images[:size], images[size - 1].id if len(images) > size else None
    write(
        shape.output,
        table=lambda: rendering.listing_as_table(images, more),
        json=lambda: {"images": [rendering.rejected_as_dict(image) for image in images], "next_after": more},
        csv=lambda: rendering.listing_as_csv(images),
    )


@app.command()
@with_groups
def show(place: Place, options: SelectionOptions, shape: Shape) -> None:
    """Show single images: why they were rejected, and how they were reviewed.

    Accepted images too; by path only those that people have reviewed.
    """
    from imageguard_daemon.audit.quarantine_queries import page, reviews_of
    from imageguard_daemon.review import rendering

    root, options = with_images(place, options)
    if not options.ids and not options.paths:
        raise UsageError("name the images, by number or path")
    settings = settings_for(root, place.config_file)
    with reading(shape.database or settings.audit.database) as log:
        named = named_images(options, log, str(settings.root))
        images = page(log, selection_of(options, named.ids, [StateName.all]))
        told = {image.id: reviews_of(log, image.id) for image in images}
        require_paths([*named.unknown, *(str(one) for one in options.ids or () if one not in told)], log)
    write(
        shape.output,
        table=lambda: rendering.images_as_table(images, told),
        json=lambda: [rendering.image_as_dict(image, told[image.id]) for image in images],
        csv=lambda: rendering.listing_as_csv(images),
    )


@app.command()
@with_groups
def release(place: Place, options: SelectionOptions, review: ReviewOptions, everything: All = False) -> None:
    """Move images, with their sidecars, to accepted. `undo` reverts it.

    An image that a person rejected goes back to where it was, as by `undo`.
    """
    from imageguard_daemon.review import acting

    root, options = with_images(place, options)
    command = ReviewCommand("release", acting.release, review)
    require_any(options, everything=everything)
    act_on(settings_for(root, place.config_file), options, command, [StateName.waiting])


@app.command()
@with_groups
def confirm(place: Place, options: SelectionOptions, review: ReviewOptions, everything: All = False) -> None:
    """Record that rejecting these images was right. Nothing moves; only confirmed images can be purged."""
    from imageguard_daemon.review import acting

    root, options = with_images(place, options)
    command = ReviewCommand("confirm", acting.confirm, review)
    require_any(options, everything=everything)
    act_on(settings_for(root, place.config_file), options, command, [StateName.waiting])


@app.command()
@with_groups
def reject(place: Place, options: SelectionOptions, review: ReviewOptions) -> None:
    """Move accepted images, with their sidecars, to quarantine. `undo` reverts it.

    They count as bad images that the daemon missed, in reports and for `calibrate --reviews`.
    """
    from imageguard_daemon.review import acting

    root, options = with_images(place, options)
    require_some_accepted(options)
    command = ReviewCommand("reject", acting.reject, review, about_accepted=True)
    act_on(settings_for(root, place.config_file), options, command, [StateName.accepted])


@app.command()
@with_groups
def approve(place: Place, options: SelectionOptions, review: ReviewOptions) -> None:
    """Record that accepting these images was right. Nothing moves; they are no longer listed as accepted."""
    from imageguard_daemon.review import acting

    root, options = with_images(place, options)
    require_some_accepted(options)
    command = ReviewCommand("approve", acting.approve, review, about_accepted=True)
    act_on(settings_for(root, place.config_file), options, command, [StateName.accepted])


@app.command()
@with_groups
def undo(place: Place, options: SelectionOptions, review: ReviewOptions, everything: All = False) -> None:
    """Revert releases (files return to quarantine), rejections by people (to accepted), confirmations and approvals.

    `--action rejudge` reverts what `rejudge` released; `--reviewed-since 2h` what was done in the last two hours.
    """
    from imageguard_daemon.review import acting

    root, options = with_images(place, options)
    command = ReviewCommand("undo", acting.undo, review)
    require_any(options, everything=everything)
    act_on(settings_for(root, place.config_file), options, command, _UNDONE)


@app.command()
@with_groups
def purge(
    options: SelectionOptions,
    review: ReviewOptions,
    older_than: OlderThan,
    root: Root = None,
    config_file: ConfigFile = None,
) -> None:
    """Delete confirmed images older than an age, with their sidecars, for good. Without --yes it only lists them.

    Images that a person rejected need no confirmation, but the rejection must be that old too. The records of the
    images, and of who confirmed or rejected them, stay.
    """
    from datetime import UTC, datetime

    from imageguard_daemon.reporting.period import parse_age
    from imageguard_daemon.review import acting

    before = parse_age("--older-than", older_than, datetime.now(UTC))
    until = f"{before:%Y-%m-%dT%H:%M:%S.%fZ}"
    if options.until is not None:
        raise UsageError("purge takes --older-than instead of --until")
    command = ReviewCommand("purge", acting.purge, review, irrevocable=True, rejected_until=before)
    states = [StateName.confirmed, StateName.rejected]
    act_on(settings_for(root, config_file), replace(options, until=until), command, states)
