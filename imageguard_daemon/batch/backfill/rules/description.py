"""What describes a back-fill beside its results: on which terms, of which manifest, and how far. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from imageguard_daemon.batch.backfill.shards import FORMAT, ManifestRequest, Terms, fingerprint_of
from imageguard_daemon.core.errors import DataError

_OF_RESULTS = ("format", "shard_size", "rules", "limits", "scorer_version")
"""What must be the same for results to belong together; the rows of the manifest are compared shard by shard."""
FAILED_SHOWN = 1_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What a back-fill is asked to do, as far as its results depend on it."""

    manifest: ManifestRequest
    shard_size: int
    terms: Terms

    def as_plain(self) -> dict[str, Any]:
        """Give it in a form for files."""
        terms, scoring = self.terms, self.terms.scoring
        return {
            "format": FORMAT,
            "manifest": asdict(self.manifest),
            "shard_size": self.shard_size,
            "rules": {**asdict(terms.rules), "thresholds": dict(terms.rules.thresholds)},
            "limits": {
                "max_pixels": scoring.max_pixels,
                "max_megabytes": scoring.max_megabytes,
                "timeout_seconds": scoring.timeout_seconds,
                "worker_memory_megabytes": scoring.worker_memory_megabytes,
            },
            "scorer_version": terms.scorer_version,
            "package_version": terms.package_version,
        }

    @property
    def mark(self) -> str:
        """What every result bears: equal for equal terms."""
        plain = self.as_plain()
        return fingerprint_of({name: plain[name] for name in _OF_RESULTS})


@dataclass(slots=True)
class Standing:
    """How it stands: rows of the manifest that are done, of them those of earlier runs, and what went wrong."""

    done: int = 0
    known: int = 0
    rejected: int = 0
    unread: int = 0
    failed_shards: int = 0


def require_same(before: Mapping[str, Any], plan: Plan) -> None:
    """Compare with what earlier results were made by.

    Raises:
        DataError: they would not belong together; it says in what they differ.
    """
    if before.get("format", FORMAT) > FORMAT:
        raise DataError(
            "the results were begun by a newer version of imageguard-daemon; use that one, or another --out"
        )
    now = plan.as_plain()
    differing = [
        f"{name} was {_shown(before.get(name))}, and is {_shown(now[name])}"
        for name in _OF_RESULTS
        if before.get(name) != now[name]
    ]
    if differing:
        raise DataError(
            f"the results there were made on other terms: {'; '.join(differing)}. Nothing was changed; give the same "
            "terms or another --out, or --refresh to make all of them again"
        )


def described(plan: Plan, standing: Standing, progress: Mapping[str, Any]) -> dict[str, Any]:
    """Give the content of `_backfill.json`."""
    return {**plan.as_plain(), "rows": asdict(standing), **progress}


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(one)}" for name, one in value.items())
    return str(value)
