"""The task of measuring: what the verdict on an image depends on."""

from imageguard_daemon.core.model import Limits, Measurement
from imageguard_daemon.quality import measurement
from imageguard_daemon.quality.decode import heif
from imageguard_daemon.quality.readout import readout_from
from imageguard_daemon.sandbox.answers import pack_measurement, read_measurement
from imageguard_daemon.sandbox.tasks import KNOWN_PICTURE, Task, size_complaint


def task(readout: bytes | None = None) -> Task[Measurement]:
    """Give the task; `readout` is the content of one that is to measure in place of the package's."""
    own = None if readout is None else readout_from(readout)
    return measuring(lambda data, limits: measurement.measure_bytes(data, limits, own))


def measuring(measure: measurement.Measure) -> Task[Measurement]:
    """Give the task of measuring in this way."""
    return Task(
        run=lambda data, limits: pack_measurement(measure(data, limits)),
        read=read_measurement,
        prepare=measurement.prepare_worker,
        prove=prove,
        threads_needed=heif.is_available(),
    )


def prove() -> str:
    """Measure a known picture; say what is wrong, if anything is."""
    measured = measurement.measure_bytes(KNOWN_PICTURE, Limits())
    return size_complaint(measured.measures and (measured.measures.width, measured.measures.height), measured.detail)
