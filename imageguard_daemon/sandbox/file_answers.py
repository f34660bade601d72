"""What a worker answers about a file, as facts of a message: a measurement, an error, or the loss of its decoder."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from imageguard_daemon.core import errors
from imageguard_daemon.core.errors import ImageguardError
from imageguard_daemon.core.model import FileIdentity, Measurement, Measures
from imageguard_daemon.sandbox.losses import Cause, Loss

Answer = Measurement | OSError | ImageguardError | Loss


def pack_answer(number: int, answer: Answer) -> dict[str, Any]:
    """Give the facts that say this about the file of a number."""
    if isinstance(answer, Measurement):
        return {"number": number, "measurement": asdict(answer)}
    if isinstance(answer, Loss):
        return {"number": number, "loss": [answer.told, answer.cause.value]}
    if isinstance(answer, OSError):
        named = None if answer.filename is None else os.fsdecode(answer.filename)
        return {"number": number, "os_error": [answer.errno or 0, answer.strerror or str(answer), named]}
    return {"number": number, "error": [type(answer).__name__, list(answer.args)]}


def read_answer(facts: Mapping[str, Any]) -> Answer:
    """Read such facts; a worker is one of us, and needs no distrust."""
    if "measurement" in facts:
        said = dict(facts["measurement"])
        measures, identity = said.pop("measures"), said.pop("identity")
        return Measurement(
            **said,
            measures=Measures(**measures) if measures else None,
            identity=FileIdentity(**identity) if identity else None,
        )
    if "loss" in facts:
        return Loss(facts["loss"][0], Cause(facts["loss"][1]))
    if "os_error" in facts:
        return OSError(*facts["os_error"])
    name, arguments = facts["error"]
    error: ImageguardError = getattr(errors, name)(*arguments)
    return error
