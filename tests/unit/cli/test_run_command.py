"""`run`, `config check` and `web --new-token` with what people type by mistake."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from imageguard_daemon.cli.app import app
from imageguard_daemon.cli.run import _require_meant
from imageguard_daemon.config_file import load
from imageguard_daemon.core.errors import NoInputError, UsageError


@pytest.mark.parametrize("name", ["1.jpg", "cat/1.PNG"])
def test_a_folder_of_images_is_not_taken_for_a_root(tmp_path: Path, name: str) -> None:
    """`run` would do nothing with them, and leave its folders among them: it names the commands that were meant."""
    image = tmp_path / name
    image.parent.mkdir(exist_ok=True)
    image.touch()
    with pytest.raises(UsageError, match=f"has images, e.g. {name}, but no inbox.*`scan {tmp_path}`"):
        _require_meant(load(None, tmp_path))
    (tmp_path / "inbox").mkdir()
    _require_meant(load(None, tmp_path))


def test_a_mistyped_root_is_not_made_beside_the_one_that_was_meant(tmp_path: Path) -> None:
    """A root that is new is made, one whose name is nearly that of another is asked about."""
    (tmp_path / "ingest/.imageguard").mkdir(parents=True)
    with pytest.raises(NoInputError, match=r"did you mean .*/ingest\?"):
        _require_meant(load(None, tmp_path / "ingset"))
    for name in ("ingest", "photos"):
        _require_meant(load(None, tmp_path / name))


def test_no_token_is_made_for_a_root_that_does_not_exist(tmp_path: Path) -> None:
    """A mistyped root gets no folder, and nobody a token that opens nothing."""
    result = CliRunner().invoke(app, ["web", str(tmp_path / "typo"), "--new-token", "anna"])
    assert isinstance(result.exception, NoInputError), result.output
    assert not (tmp_path / "typo").exists()


def test_the_configuration_to_check_is_named_as_everywhere(tmp_path: Path) -> None:
    """By argument, by --config and by the environment."""
    file = tmp_path / "config.yaml"
    file.write_text("root: here")
    check, valid = ["config", "check"], f"{file} is valid: 1 source, root {tmp_path}/here\n"
    assert CliRunner().invoke(app, [*check, str(file)]).stdout == valid
    assert CliRunner().invoke(app, [*check, "--config", str(file)]).stdout == valid
    assert CliRunner().invoke(app, check, env={"IMAGEGUARD_CONFIG": str(file)}).stdout == valid
    told = CliRunner().invoke(app, check, env={"IMAGEGUARD_CONFIG": None}).exception
    assert isinstance(told, UsageError)
