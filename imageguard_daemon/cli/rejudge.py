"""`rejudge`: other thresholds applied to what is in quarantine."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from imageguard_daemon.cli.options import ConfigFile, Root, parse_thresholds, settings_for, with_groups
from imageguard_daemon.cli.review_options import ReviewCommand, ReviewOptions, agreed, carry_out, reading, require_paths
from imageguard_daemon.cli.selection_options import (
    SelectionOptions,
    StateName,
    named_images,
    require_known,
    selection_of,
)
from imageguard_daemon.cli.simulate import Preset, Thresholds, rules_for, rules_in_words
from imageguard_daemon.core.errors import UsageError

if TYPE_CHECKING:
    from imageguard_daemon.config import Settings
    from imageguard_daemon.reporting.simulation import Rules
    from imageguard_daemon.review.acting import Acting
    from imageguard_daemon.review.rules.rejudging import Rejudged
    from imageguard_daemon.review.values import Reviewed, Reviewer


@with_groups
def rejudge(  # noqa: PLR0913, PLR0917 - one parameter for each option
    options: SelectionOptions,
    review: ReviewOptions,
    root: Root = None,
    config_file: ConfigFile = None,
    thresholds: Thresholds = None,
    preset: Preset = None,
) -> None:
    """Release the images in quarantine that other thresholds accept.

    Uses recorded scores only, like `simulate`: thresholds given by --set replace those of the time; with
    --config alone, those that the file has now for each source; with --preset, those of the preset. Only images
    that nobody has reviewed are looked at, unless --id, --path or --state say otherwise.

    Counts first; --yes moves. Each release is recorded with its thresholds; `quarantine undo --action rejudge` takes
    them back. The thresholds of the daemon are not changed: put them into its configuration.
    """
    overrides = parse_thresholds(thresholds or [])
    if not overrides and preset is None and config_file is None:
        raise UsageError("name what should differ: --set blur_score=30, --preset NAME or --config FILE")
    settings = settings_for(root, config_file)
    is_configured = config_file is not None
    rules = rules_for(overrides, preset, settings if is_configured else None)
    words = rules_in_words(overrides, preset, is_configured=is_configured)
    made = _judge(settings, options, rules)
    for line in _told(made, words):
        typer.echo(line, err=True)

    def release(acting: "Acting", ids: Sequence[int], reviewer: "Reviewer") -> "Iterator[Reviewed]":
        from imageguard_daemon.review import acting as functions

        return functions.rejudge(acting, ids, reviewer, made.accepted)

    command = ReviewCommand("release", release, review)
    from imageguard_daemon.review.rendering import reasons_in_words

    if not agreed(command, reasons_in_words(made.reasons), len(made.accepted)):
        raise typer.Exit(os.EX_OK)
    carry_out(settings, list(made.accepted), command)


def _judge(settings: "Settings", options: SelectionOptions, rules: "Rules") -> "Rejudged":
    from imageguard_daemon.audit.quarantine_queries import STATE_AFTER, scores_of
    from imageguard_daemon.review.rules.rejudging import judge_again

    with reading(settings.audit.database) as log:
        named = named_images(options, log, str(settings.root))
        require_paths(named.unknown, log)
        selection = selection_of(options, named.ids, [StateName.waiting])
        rejected = tuple(state for state in selection.states if state in STATE_AFTER["quarantined"].values())
        made = judge_again(scores_of(log, replace(selection, states=rejected)), rules)
        if not made.total:
            require_known(selection, log)
    return made


def _told(made: "Rejudged", words: str) -> Iterator[str]:
    yield f"{made.total:,} rejected {'image' if made.total == 1 else 'images'} judged again by {words}"
    yield f"{len(made.accepted):,} would be accepted, {made.still_rejected:,} still rejected"
    if made.kept:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in made.kept.most_common())
        yield f"{made.kept.total():,} stay, since nothing could be measured: {reasons}"
    if made.unreadable:
        yield f"{made.unreadable:,} stay, since their scores or thresholds cannot be read"
    if made.other_versions:
        yield f"{made.other_versions:,} of these were scored by another version; measured again, they may differ"
