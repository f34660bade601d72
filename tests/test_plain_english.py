"""Texts are written as operators write: phrases that readers stumbled over, and what stands in their place."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
_SUFFIXES = {".py", ".md", ".html", ".yaml", ".service", ".conf"}
_FOLDERS = ("docs", "imageguard_daemon", "contrib", "systemd")
TEXTS = {
    path.relative_to(ROOT): path.read_text(encoding="utf-8")
    for path in (
        *(ROOT / name for name in ("README.md", "CHANGELOG.md", "config.example.yaml", "compose.yaml")),
        *(path for folder in _FOLDERS for path in sorted((ROOT / folder).rglob("*")) if path.suffix in _SUFFIXES),
    )
}
_FINE_AFTER_NO = (
    "longer|more|other|such|one|room|need|way|doubt|less|matter|different|larger|smaller|fewer|better|worse"
)
INSTEAD = {
    rf"(?<!there )\b(is|are|was|were) no (?!({_FINE_AFTER_NO})\b)[a-z]": "is not a, are not",
    r"\banew\b": "again, recreated, restarted, start over",
    r"for want of": "for lack of",
    r"by (its|their) endings?\b|\bendings? (that )?(is|are) not\b|\bendings of images": "without an image extension",
    r"\b(is|lies|was) there already\b": "already exists",
    r"\bwhen left out\b": "default:",
    r"\bat most so many\b": "maximum",
    r"\bwhat people were told\b|\bpeople were told of\b": "alerts sent",
    r"\bis right: ": "is valid:",
    r",? as [a-z]+_score=\d": "e.g.",
    r"\bcomes? round\b": "runs",
    r"(?<!nothing )(?<!not )(?<!was )held against(?! it\b)": "checked against, compared with",
    r"\bholds? (the|an?|every|them|all|both) ([a-z]+ )?against\b": "checks against, compares with",
    r"\b(told|shown|listed) [a-z ]*no more\b": "no longer",
    r"\bexcludes? one another\b": "cannot be combined",
    r"\b(what is told of (this|these)|tells? of these)\b": "the findings on these",
    r"\b(file|folder|a destination that|one that) is not there\b(?= \(|,| ends)": "does not exist",
    r"\bdistributions of scores on\b": "the charts of scores have",
    r"\bwhere it told\b": "it showed",
    r"\bgoes on where it was\b": "resumes, continues where it stopped",
}
"""Phrase -> what to write."""


@pytest.mark.parametrize("phrase", INSTEAD)
def test_nothing_is_said_in_a_manner_of_its_own(phrase: str) -> None:
    """Help, messages, documents, the changelog and docstrings use none of these phrases."""
    banned = re.compile(phrase, re.IGNORECASE)
    found = [
        f"{path}:{number}: {line.strip()[:100]}"
        for path, text in TEXTS.items()
        for number, line in enumerate(text.splitlines(), 1)
        if banned.search(line)
    ]
    assert not found, f"write {INSTEAD[phrase]!r}:\n" + "\n".join(found)
