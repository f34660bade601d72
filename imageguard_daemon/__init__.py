"""Scores images that arrive for a machine-learning dataset, accepts the good, quarantines the rest.

Importing this is cheap; image libraries are loaded by the first use of `validate`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imageguard_daemon.core.model import Decision, PresetName, Thresholds
    from imageguard_daemon.quality.policy import PRESETS
    from imageguard_daemon.quality.validation import validate

    __version__: str

__all__ = ["PRESETS", "Decision", "PresetName", "Thresholds", "__version__", "validate"]


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = _load(name)
    globals()[name] = value
    return value


def _load(name: str) -> object:
    if name == "__version__":
        from importlib import metadata  # noqa: PLC0415 - 30 ms that most imports need not pay

        try:
            return metadata.version("imageguard-daemon")
        except metadata.PackageNotFoundError:
            return "0+source"  # run from a checkout that was never installed
    from importlib import import_module  # noqa: PLC0415 - as above

    home = {"PRESETS": "quality.policy", "validate": "quality.validation"}.get(name, "core.model")
    try:
        return getattr(import_module(f"{__name__}.{home}"), name)
    except (ImportError, AttributeError) as error:  # an AttributeError would say that there is no such name here
        from imageguard_daemon.quality.version import why_opencv_fails  # noqa: PLC0415 - only then

        raise ImportError(why_opencv_fails() or str(error)) from error


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
