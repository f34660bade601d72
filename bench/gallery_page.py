"""The gallery as a page of Markdown; pure."""

from collections.abc import Sequence

from imageguard_daemon.core.model import SIGNALS, Decision, Measures
from imageguard_daemon.quality.scoring import SCALES, Scale

Cell = tuple[str, str, Decision]
"""File name of the picture, strength of the damage in words, what was said."""
Section = tuple[str, str, str, Sequence[Cell]]
"""Title, sentence, measure, and five cells."""

_HEAD = """\
# Gallery

<!-- written by: python -m bench.gallery -->

What the measures and scores mean, on one photo spoiled in nine ways at five strengths. What each measure is, and what
it cannot do, is in [The six signals](measures.md).

The whole photo was judged each time, from a PNG, at the thresholds of the preset `general`; shown is a part of it,
pixel for pixel. The measures are what was found in the pixels, nothing was told about the damage; where they are wrong,
this page shows it. A JPEG quality of 100 and an enlargement of 1.0 mean that no trace was found.

## The photo as it is

![A cup of coffee on a wooden table](gallery/original.jpg)
"""

_TAIL = """\
## The photo

Taken by Rachel Michetti, who has put it into the public domain
([CC0](https://creativecommons.org/publicdomain/zero/1.0/)), courtesy of Pikolo Espresso Bar; here from the data of
[scikit-image](https://scikit-image.org/docs/stable/api/skimage.data.html#skimage.data.coffee), saved as JPEG of
quality 95. The spoiled copies in `gallery/` are as free as the photo.
"""


def render(whole: Decision, sections: Sequence[Section]) -> str:
    """Give the page."""
    parts = [_HEAD, _six_scores(whole), *map(_section, sections), _TAIL]
    return "\n".join(parts)


def excerpt(section: Section) -> str:
    """Give the first, the third and the last example of a section as a table, for a page that explains the signal."""
    title, _, measure, cells = section
    scale = next(scale for scale in SCALES if scale.measure == measure)
    return "".join(f"| {' | '.join(row)} |\n" for row in _rows(scale, title, cells[::2]))


def _rows(scale: Scale, title: str, cells: Sequence[Cell]) -> tuple[list[str], ...]:
    return (
        [strength for _, strength, _ in cells],
        ["---"] * len(cells),
        [f"![{title}, {strength}](gallery/{name})" for name, strength, _ in cells],
        [_found(scale, decision) for _, _, decision in cells],
        [f"{scale.signal} score {decision.scores[f'{scale.signal}_score']:.0f}" for _, _, decision in cells],
        [_verdict(decision) for _, _, decision in cells],
    )


def _six_scores(decision: Decision) -> str:
    head = f"| {' | '.join(SIGNALS)} | verdict |\n|{'---|' * (len(SIGNALS) + 1)}\n"
    scores = " | ".join(f"{decision.scores[f'{signal}_score']:.0f}" for signal in SIGNALS)
    return f"{head}| {scores} | {_verdict(decision)} |\n"


def _section(section: Section) -> str:
    title, text, measure, cells = section
    scale = next(scale for scale in SCALES if scale.measure == measure)
    rows = _rows(scale, title, cells)
    limit = f"The threshold is a score of {cells[0][2].thresholds[f'{scale.signal}_score']:.0f}."
    return f"## {title}\n\n{text} {limit}\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _found(scale: Scale, decision: Decision) -> str:
    """Give the measure in words; of exposure also the share of pixels that a person can count."""
    measures = decision.measures
    value = getattr(Measures(**measures), scale.measure)  # type: ignore[arg-type]
    clipped = f", {100 * measures[scale.clipped]:.0f} % clipped" if scale.clipped else ""
    return f"{scale.wording} {scale.phrase(value)}{clipped}"


def _verdict(decision: Decision) -> str:
    return ", ".join(f"`{issue}`" for issue in decision.issues) or "accepted"
