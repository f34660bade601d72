"""Who goes first when memory runs out: processes whose work is found again, not the one that knows of it."""

from contextlib import suppress

_OWN_SCORE = "/proc/self/oom_score_adj"
_MOST = 1000
WORKER_STEP = 400
DECODER_STEP = 200
"""More than its worker: it is what holds the pixels."""
PAGES_STEP = 300


def go_before_others(step: int) -> None:
    """Have the kernel prefer this process by so many thousandths of the memory (proc_pid_oom_score_adj(5)).

    To say so of oneself takes no privilege, and cannot be taken back without one.
    """
    with suppress(OSError, ValueError):
        with open(_OWN_SCORE, encoding="ascii") as file:
            score = int(file.read())
        with open(_OWN_SCORE, "w", encoding="ascii") as file:
            file.write(str(min(_MOST, score + step)))
