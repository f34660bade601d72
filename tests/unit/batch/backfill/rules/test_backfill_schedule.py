"""What is sent next, and what becomes of shards that fail, linger, or take their process down."""

from hypothesis import given
from hypothesis import strategies as st

from imageguard_daemon.batch.backfill.rules.pace import Pace, duration_in_words
from imageguard_daemon.batch.backfill.rules.schedule import Flight, Schedule
from imageguard_daemon.batch.backfill.shards import Shard, Task


def _tasks(count: int):
    return (Task(Shard(number, (), None), "", "") for number in range(count))


def _schedule(count: int, **options) -> Schedule:
    return Schedule(_tasks(count), **({"attempts": 3, "linger_seconds": 60.0} | options))


def _number(flight: Flight) -> int:
    return flight.task.shard.number


def test_no_more_is_out_than_there_is_room_for():
    """With four slots four shards are out, and a fifth goes out when one is done."""
    schedule = _schedule(9)
    flights = [schedule.next(0, 4) for _ in range(6)]
    assert [flight and _number(flight) for flight in flights] == [0, 1, 2, 3, None, None]
    assert schedule.done(flights[2], 1)
    assert _number(schedule.next(1, 4)) == 4


def test_the_manifest_is_read_no_further_than_there_is_room():
    """A hundred million rows are not read ahead: a task is taken from the stream only when it is sent."""
    taken = []
    schedule = Schedule((taken.append(task) or task for task in _tasks(100)), attempts=3, linger_seconds=60)
    for _ in range(10):
        schedule.next(0, 4)
    assert len(taken) == 4


def test_a_shard_that_fails_goes_out_again_and_is_given_up_after_so_many_attempts():
    """It goes out three times, and its reasons are kept."""
    schedule = _schedule(1)
    for attempt in range(3):
        flight = schedule.next(0, 2)
        assert schedule.failed(flight, f"reason {attempt}") is (attempt == 2)
    assert flight.reasons == ["reason 0", "reason 1", "reason 2"]
    assert schedule.next(0, 2) is None
    assert schedule.in_work == 0


def test_a_straggler_goes_out_a_second_time_and_counts_once():
    """One that takes far longer than the others is sent again, once; whichever copy comes first is taken."""
    schedule = _schedule(3)
    slow, quick, quick_too = (schedule.next(0, 4) for _ in range(3))
    assert schedule.next(1000, 4) is None  # nothing is known of how long others take
    schedule.done(quick, 10)
    schedule.done(quick_too, 10)
    assert schedule.next(50, 4) is None
    assert schedule.next(61, 4) is slow
    assert schedule.next(1000, 4) is None
    assert schedule.done(slow, 62)
    assert not schedule.done(slow, 63)
    assert not schedule.failed(slow, "it was late, too")


def test_a_lost_worker_is_no_fault_of_the_shards_beside_the_one_that_did_it():
    """Of four that were out at each loss, the one that does it ends up alone and is given up; the others are done."""
    schedule = _schedule(4)
    done, given_up = set(), set()
    for _ in range(50):
        out = list(iter(lambda: schedule.next(0, 4), None))
        if not out:
            break
        if any(_number(flight) == 2 for flight in out):
            given_up |= {_number(flight) for flight in schedule.lost("killed")}
        else:
            done |= {_number(flight) for flight in out if schedule.done(flight, 1)}
    assert (done, given_up) == ({0, 1, 3}, {2})


@given(
    st.integers(1, 12), st.integers(1, 5), st.lists(st.sampled_from(["done", "failed", "lost", "late"]), max_size=60)
)
def test_every_shard_is_done_or_given_up_exactly_once(count, slots, events):
    """Whatever happens in whatever order, no shard is forgotten, and none counts twice."""
    schedule = _schedule(count)
    ends: list[int] = []
    out: list[Flight] = []
    now = 0.0
    for event in [*events, *["done"] * 100]:
        now += 500.0 if event == "late" else 1.0
        out += iter(lambda: schedule.next(now, slots), None)  # noqa: B023 - used at once
        assert schedule.in_work <= slots
        if event == "lost":
            ends += [_number(flight) for flight in schedule.lost("killed")]
            out = []
        elif out:
            flight = out.pop(0)
            if event == "failed":
                ends += [_number(flight)] if schedule.failed(flight, "bad") else []
            else:
                ends += [_number(flight)] if schedule.done(flight, now) else []
    assert sorted(ends) == list(range(count))


def test_the_rate_is_that_of_the_last_minutes():
    """A slow beginning an hour ago does not make the time left wrong."""
    pace = Pace(0)
    assert (pace.rate, pace.left(100)) == (0, None)
    for second in range(0, 3600, 10):
        pace.note(second, second)
    for second in range(3600, 4200, 10):
        pace.note(second, 3600 + (second - 3600) * 50)
    assert 45 < pace.rate <= 50
    assert 20 <= pace.left(1000) < 23


def test_durations_are_told_in_the_units_that_matter():
    """Seconds, minutes, hours and days."""
    told = [duration_in_words(seconds) for seconds in (7, 75, 3_720, 200_000)]
    assert told == ["7 s", "1 min 15 s", "1 h 2 min", "2 d 7 h"]
