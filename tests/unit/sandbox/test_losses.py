"""What losing a decoder over an image means, wherever it happens."""

import itertools
import time

import pytest

from imageguard_daemon.config import Scoring
from imageguard_daemon.core.errors import RetryableError, StalledError, UnavailableError
from imageguard_daemon.core.model import Measurement
from imageguard_daemon.sandbox import client, decoder
from imageguard_daemon.sandbox.answers import pack_measurement
from imageguard_daemon.sandbox.client import BytesMeasurer
from imageguard_daemon.sandbox.decoder import Decoder, DecoderLostError
from imageguard_daemon.sandbox.losses import Cause, Loss, issue_of
from imageguard_daemon.sandbox.tasks import measure

CRASH, LIMIT, KILL = Loss("crashed"), Loss("took too long", Cause.limited), Loss("was killed", Cause.killed)
STARVED = Loss("took longer than 60 s, nearly all of it waiting for a processor", Cause.starved)


@pytest.mark.parametrize(
    "losses", [(), (CRASH,), (LIMIT,), (KILL,), (CRASH, LIMIT), (KILL, CRASH), (LIMIT, KILL, CRASH)]
)
def test_one_loss_of_a_kind_is_chance(losses: tuple[Loss, ...]) -> None:
    """An image is tried again as long as nothing has happened twice."""
    assert issue_of(losses) is None


@pytest.mark.parametrize(("loss", "issue"), [(CRASH, "corrupt"), (LIMIT, "too_large")])
def test_what_happens_twice_is_the_images_doing(loss: Loss, issue: str) -> None:
    """Own crashes are damage, limits of ours are size; what else happened in between changes nothing."""
    assert issue_of([loss, KILL, loss]) == (issue, f"tried twice: {loss.what}; {loss.what}")


def test_being_killed_says_nothing_about_an_image() -> None:
    """It gets no verdict at all: it is tried again another time."""
    with pytest.raises(RetryableError, match="was killed"):
        issue_of([KILL, CRASH, KILL])


def test_being_kept_from_a_processor_says_nothing_about_any_image() -> None:
    """No image of its source is tried for a while, and none is given up for it."""
    with pytest.raises(StalledError, match="waiting for a processor"):
        issue_of([STARVED, KILL, STARVED])


def test_whatever_happens_an_image_is_tried_a_few_times_only() -> None:
    """Five losses of any kinds come to an end."""
    for losses in itertools.product((CRASH, LIMIT, KILL, STARVED), repeat=5):
        try:
            assert issue_of(losses) is not None
        except RetryableError:
            continue


def test_bytes_are_measured_by_the_same_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-fill and pages give what the daemon gives."""
    measurer, good = BytesMeasurer(Scoring()), Measurement("", issue="unsupported")
    answers: list[Measurement | Loss] = []

    def once(_data: bytes) -> bytes:
        answer = answers.pop(0)
        if isinstance(answer, Loss):
            raise DecoderLostError(answer.what, answer.cause)
        return pack_measurement(answer)

    monkeypatch.setattr(measurer._client, "_ask_once", once)
    for given, issue in (
        ([CRASH, KILL, good], "unsupported"),
        ([CRASH, CRASH], "corrupt"),
        ([LIMIT, LIMIT], "too_large"),
    ):
        answers[:] = given
        assert measurer.measure(b"").issue == issue
    answers[:] = [KILL, KILL]
    with pytest.raises(RetryableError):
        measurer.measure(b"")


def test_a_decoder_that_cannot_be_confined_is_told_of_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that refuses seccomp or Landlock makes no image corrupt: nothing is decoded at all."""

    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError(1, "landlock_restrict_self: Operation not permitted")

    monkeypatch.setattr(decoder.confinement, "confine", refuse)
    with pytest.raises(UnavailableError, match=r"does not work here: .*landlock_restrict_self"):
        Decoder(4 << 30, measure.task())


def test_a_decoder_that_is_slow_to_begin_is_not_called_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with too much to do has not said that it cannot decode: it is tried again, the daemon does not end."""
    monkeypatch.setattr(decoder, "_SECONDS_TO_BEGIN", 0.2)
    monkeypatch.setattr(decoder.confinement, "confine", lambda *_, **__: time.sleep(60))
    with pytest.raises(StalledError, match=r"has not begun within 0\.2 s"):
        Decoder(4 << 30, measure.task())


def test_a_measuring_process_that_is_slow_to_begin_is_not_called_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for back-fill and pages."""
    monkeypatch.setattr(client, "_SECONDS_TO_START", 0.01)
    with pytest.raises(StalledError, match=r"has not begun within 0\.01 s"):
        BytesMeasurer(Scoring()).measure(b"")


def test_a_decoder_that_reads_nothing_is_not_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose libraries are broken would call every image corrupt."""
    monkeypatch.setattr(
        measure.measurement, "measure_bytes", lambda *_: Measurement("", issue="corrupt", detail="no zlib")
    )
    with pytest.raises(UnavailableError, match="known to be good: no zlib"):
        Decoder(4 << 30, measure.task())
