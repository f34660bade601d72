"""The entry point. Imports nothing at the top: every worker process imports this module again."""


def main() -> None:
    """Run the command line."""
    try:
        from imageguard_daemon.cli.app import run_command_line  # noqa: PLC0415
    except ModuleNotFoundError as error:
        _say_what_is_missing(error)
    else:
        run_command_line()


def _say_what_is_missing(error: ModuleNotFoundError) -> None:
    """End where the library alone was installed; anything else that is missing is a mistake in the package."""
    import os  # noqa: PLC0415
    import sys  # noqa: PLC0415

    missing = (error.name or "").partition(".")[0]
    if missing == "imageguard_daemon":
        raise error
    told = f"error: {missing} is not installed, which commands need: pip install imageguard-daemon\n"
    sys.stderr.write(told)
    raise SystemExit(os.EX_UNAVAILABLE)


if __name__ == "__main__":
    main()
