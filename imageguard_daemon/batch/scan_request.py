"""What a scan of a folder is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imageguard_daemon.batch.judging import Rules
from imageguard_daemon.batch.outputs import TO_STANDARD_OUTPUT
from imageguard_daemon.config import Settings, Source
from imageguard_daemon.quality.policy import thresholds_for
from imageguard_daemon.quality.readout import Readout


@dataclass(frozen=True, slots=True)
class ScanRequest:
    """A folder, the rules to judge it by, and what is to be written or filed.

    `readout` is what stands in the file that the settings name, read before anything is made. `outputs` are paths by
    form (`csv`, `jsonl`, `parquet`); `page` is where an HTML page goes, if anywhere; `only` is a verdict, `borderline`,
    or empty.
    """

    folder: Path
    settings: Settings
    source: Source
    outputs: Mapping[str, str]
    readout: Readout | None = None
    page: str = ""
    only: str = ""
    move: Path | None = None
    link: Path | None = None
    hard_links: bool = False
    state: Path | None = None
    fresh: bool = False
    overwrite: bool = False

    @property
    def rules(self) -> Rules:
        """The rules as the judge wants them."""
        source = self.source
        return Rules(source.preset, thresholds_for(source.preset, source.thresholds), source.class_from)

    @property
    def uses_standard_output(self) -> bool:
        """Whether results go to standard output, which then has nothing else."""
        return TO_STANDARD_OUTPUT in self.outputs.values()
