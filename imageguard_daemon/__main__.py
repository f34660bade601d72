"""The entry point. Imports nothing at the top: every worker process imports this module again."""


def main() -> None:
    """Run the command line."""
    from imageguard_daemon.cli.app import run_command_line  # noqa: PLC0415

    run_command_line()


if __name__ == "__main__":
    main()
