"""`quarantine` on real files, from argv to output."""

import csv
import io
import json
import os
import pwd
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from typer.testing import CliRunner, Result

from imageguard_daemon.cli import quarantine as commands
from imageguard_daemon.cli.app import app as every_command
from imageguard_daemon.core.errors import ImageguardError
from imageguard_daemon.reporting.finding import Finding
from imageguard_daemon.web.filters import Filters
from tests.helpers.rejections import Rejections


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Rejections]:
    """A root with three rejected images of class `lynx`, each with a label, and an accepted one."""
    one = Rejections(tmp_path / "root")
    for number in range(3):
        one.file(f"lynx/{number}.jpg", labels=[".txt"])
    one.file("dog/good.jpg", ok=True, class_name="dog")
    yield one
    one.close()


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the logging of the test run as it is."""
    monkeypatch.setattr("imageguard_daemon.core.logs.configure", lambda *_args: None)


def code_and_words(result: Result) -> tuple[int, str]:
    """Give the exit code and the message a person gets, as `cli.app` makes them."""
    if isinstance(result.exception, ImageguardError):
        return result.exception.exit_code, str(result.exception)
    return {2: os.EX_USAGE}.get(result.exit_code, result.exit_code), result.stderr


def labelled_images(folder: Path) -> list[str]:
    """Give the names of images that have their label beside them."""
    return sorted(path.name for path in folder.rglob("*.jpg") if path.with_suffix(".txt").exists())


def quarantine(made: Rejections, verb: str, *arguments: object) -> Result:
    """Run a command of the group in a pipe."""
    return CliRunner().invoke(commands.app, [verb, str(made.root), *map(str, arguments)], env={"COLUMNS": "200"})


def listed(made: Rejections, *options: object) -> list[dict]:
    """Give the images that `list` shows."""
    return json.loads(quarantine(made, "list", "--format", "json", *options).stdout)["images"]


def test_a_listing_is_the_same_in_every_format(made: Rejections) -> None:
    """Table, JSON and CSV show the same images, and pages follow one another."""
    images = listed(made)
    rows = list(csv.DictReader(io.StringIO(quarantine(made, "list", "--format", "csv").stdout)))
    assert [int(row["id"]) for row in rows] == [image["id"] for image in images]
    assert {image["relative_path"] for image in images} == {f"lynx/{n}.jpg" for n in range(3)}
    text = quarantine(made, "list").stdout
    assert all(image["destination"] in text.replace("\n", "") for image in images)
    page = json.loads(quarantine(made, "list", "--format", "json", "--limit", 2).stdout)
    rest = listed(made, "--after", page["next_after"])
    assert [*page["images"], *rest] == images
    assert "--after" in quarantine(made, "list", "--limit", 2).stdout


def test_a_bulk_action_says_how_many_and_does_nothing_unasked(made: Rejections) -> None:
    """Without a terminal and without --yes a selection is only counted; single images need no --yes."""
    result = quarantine(made, "release", "--reason", "blurry")
    assert result.exit_code == 0
    assert "3 images (3 blurry)" in result.stderr
    assert "--yes" in result.stderr
    assert len(listed(made)) == 3
    assert code_and_words(quarantine(made, "release"))[0] == 64
    number = listed(made)[0]["id"]
    result = quarantine(made, "release", "--id", number, "--format", "json")
    [one] = json.loads(result.stdout)
    assert (one["id"], one["done"]) == (number, True)
    assert os.path.exists(one["destination"])


def test_who_and_why_are_recorded(made: Rejections) -> None:
    """The login name unless another is given; `show` tells the story."""
    first, second, _ = listed(made)
    quarantine(made, "release", "--id", first["id"], "--why", "sharp enough")
    quarantine(made, "confirm", "--id", second["id"], "--who", "dr. b")
    told = json.loads(quarantine(made, "show", "--id", first["id"], "--format", "json").stdout)
    [review] = told[0]["reviews"]
    assert (review["action"], review["who"], review["why"]) == (
        "release",
        pwd.getpwuid(os.getuid()).pw_name,
        "sharp enough",
    )
    text = quarantine(made, "show", "--path", second["destination"]).stdout
    assert "confirmed by dr. b" in text
    assert "blurry" in text


def test_a_purge_takes_age_confirmation_and_yes(made: Rejections) -> None:
    """Nothing is deleted too early, unconfirmed or unasked; then it is, and the log still knows what it was."""
    number = listed(made)[0]["id"]
    quarantine(made, "confirm", "--id", number)
    assert code_and_words(quarantine(made, "purge"))[0] == 64
    assert "0 images" in quarantine(made, "purge", "--older-than", "1d", "--yes").stderr
    result = quarantine(made, "purge", "--older-than", "0m")
    assert "1 image (1 blurry)" in result.stderr
    assert "Nothing was done" in result.stderr
    assert len(labelled_images(made.quarantine)) == 3
    assert "1 purged" in quarantine(made, "purge", "--older-than", "0m", "--yes").stdout
    assert len(list(made.quarantine.rglob("*.*"))) == 4
    assert made.wrong() == []
    assert [image["id"] for image in listed(made, "--state", "purged")] == [number]


def test_an_accepted_image_is_rejected_by_a_person_and_taken_back(made: Rejections) -> None:
    """Counted first, recorded with who and why, listed as rejected, and `undo` or `release` brings it back."""
    [good] = listed(made, "--state", "accepted")
    assert (good["relative_path"], good["reason"], good["state"]) == ("dog/good.jpg", "", "accepted")
    result = quarantine(made, "reject", "--class", "dog")
    assert (result.exit_code, "reject: 1 image, " in result.stderr, "--yes" in result.stderr) == (0, True, True)
    assert listed(made, "--state", "rejected") == []
    result = quarantine(made, "reject", "--class", "dog", "--yes", "--why", "wrong animal")
    assert result.stdout.splitlines()[-1] == "1 rejected"
    assert [one["state"] for one in listed(made, "--state", "all", "--class", "dog")] == ["rejected"]
    assert len(listed(made)) == 3, "nobody is asked again about what a person rejected"
    assert "rejected by a person" in quarantine(made, "list", "--state", "rejected").stdout
    told = quarantine(made, "show", "--path", "quarantine/dog/good.jpg").stdout
    assert "wrong animal" in told
    assert quarantine(made, "release", "--id", good["id"]).stdout.splitlines()[-1] == "1 undone"
    assert quarantine(made, "reject", "--path", "accepted/dog/good.jpg").exit_code == 0
    assert quarantine(made, "undo", "--action", "reject", "--yes").stdout.splitlines()[-1] == "1 undone"
    assert [one["id"] for one in listed(made, "--state", "accepted")] == [good["id"]]
    assert made.wrong() == []


def test_accepted_images_that_people_looked_at_are_listed_no_more(made: Rejections) -> None:
    """An approval is recorded, moves nothing, and can be taken back."""
    assert quarantine(made, "approve", "--since", "1d", "--yes").stdout.splitlines()[-1] == "1 approved"
    assert listed(made, "--state", "accepted") == []
    [one] = listed(made, "--state", "approved")
    assert (made.root / one["destination"]).exists()
    assert quarantine(made, "undo", "--all", "--yes").stdout.splitlines()[-1] == "1 undone"


@pytest.mark.parametrize("verb", ["reject", "approve"])
def test_accepted_images_are_never_acted_on_in_bulk_by_nothing(made: Rejections, verb: str) -> None:
    """No selection, a reason that none has, rejected images and names that nobody bears: told, and nothing moves."""
    before = made.files()
    assert code_and_words(quarantine(made, verb, "--yes")) == (
        64,
        "say which images: by number or path, or with --class, --since, --score, ...",
    )
    assert code_and_words(quarantine(made, verb, "--reason", "blurry", "--yes"))[0] == 64
    assert quarantine(made, verb, "--all").exit_code == 2
    assert "0 images" in quarantine(made, verb, "--class", "cat", "--yes").stderr
    assert quarantine(made, verb, "--id", listed(made)[0]["id"]).exit_code == 65
    result = quarantine(made, verb, "--path", "lynx/0.jpg")
    assert (result.exit_code, "no accepted image is called lynx/0.jpg" in result.stderr) == (66, True)
    assert made.files() == before


def test_a_purge_waits_for_the_age_of_a_rejection_by_a_person(made: Rejections) -> None:
    """However old the image is: what was rejected by mistake just now can still be taken back."""
    [good] = listed(made, "--state", "accepted")
    first, *_ = listed(made)
    quarantine(made, "reject", "--id", good["id"])
    quarantine(made, "confirm", "--id", first["id"])
    connection = sqlite3.connect(made.root / "audit.db")
    connection.execute("DROP TRIGGER decision_records_no_update")
    connection.execute("UPDATE decision_records SET decided_at = '2020' || substr(decided_at, 5)")
    connection.commit()
    connection.close()
    assert "purge: 1 image (1 blurry)" in quarantine(made, "purge", "--older-than", "30d").stderr
    assert "purge: 2 images (1 blurry)" in quarantine(made, "purge", "--older-than", "0m").stderr
    assert quarantine(made, "purge", "--older-than", "0m", "--yes").stdout.splitlines()[-1] == "2 purged"


def test_an_image_that_is_named_and_not_selected_is_told(made: Rejections) -> None:
    """Too young for a purge, of another class, without a record: nothing of it is done in silence."""
    first, second, third = (one["id"] for one in listed(made))
    [good] = listed(made, "--state", "accepted")
    quarantine(made, "confirm", "--id", first)
    quarantine(made, "reject", "--id", good["id"])
    for name in (("--id", first), ("--path", "lynx/2.jpg"), ("--id", good["id"]), ("--id", 999)):
        result = quarantine(made, "purge", *name, "--older-than", "1d", "--yes")
        assert (result.exit_code, result.stdout) == (66, "")
        assert f"error: image {name[1]} is not selected" in result.stderr
    result = quarantine(made, "release", "--id", second, "--id", third, "--limit", 1, "--yes")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (66, "1 released")
    assert f"error: image {third} is not selected" in result.stderr
    assert quarantine(made, "release", "--path", "lynx/0.jpg", "--class", "cat", "--yes").exit_code == 0


def test_a_purge_says_of_an_image_that_is_named_why_it_is_not_deleted(made: Rejections) -> None:
    """An accepted one, and one that nobody confirmed, are meant whatever their state, and told."""
    [good] = listed(made, "--state", "accepted")
    result = quarantine(made, "purge", "--id", good["id"], "--id", 1, "--older-than", "0m", "--yes")
    assert result.exit_code == 65
    assert "dog/good.jpg: is accepted" in result.stdout
    assert "lynx/0.jpg: is not confirmed" in result.stdout


def test_what_cannot_be_done_is_told_and_the_rest_is_done(made: Rejections) -> None:
    """A vanished file and an unknown number end with 65, an unknown path with 66; the others are released."""
    first, second, third = listed(made)
    (made.root / first["destination"]).unlink()
    result = quarantine(made, "release", "--id", first["id"], "--id", second["id"], "--id", 999)
    assert result.exit_code == 65
    assert "1 released, 2 not" in result.stdout
    assert "is not there" in result.stdout
    result = quarantine(made, "release", "--path", "lynx/none.jpg", "--path", third["relative_path"])
    assert result.exit_code == 66
    assert "lynx/none.jpg" in result.stderr
    assert {path.name for path in made.accepted.rglob("*.jpg")} >= {
        os.path.basename(one["destination"]) for one in (second, third)
    }


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("list", "--reason", "blury"), 64, "did you mean blurry"),
        (("list", "--class", "cta"), 64, "the log has no class 'cta'; did you mean 'cat'?"),
        (("list", "--source", "defualt"), 64, "the log has no source 'defualt'; did you mean 'default'?"),
        (("release", "--camera", "Canon", "--yes"), 64, "the log has no camera 'Canon'"),
        (("reject", "--class", "cta", "--yes"), 64, "did you mean 'cat'?"),
        (("list", "--since", "2025-02-30"), 64, "is not a time"),
        (("list", "--score", "blur=1..2"), 64, "known are blur_score"),
        (("list", "--score", "blur_score=2..1"), 64, "is not below"),
        (("list", "--path", "none.jpg"), 66, "none.jpg"),
        (("show",), 64, "name the images, by number or path"),
        (("show", "--id", "99"), 66, "99"),
        (("purge", "--older-than", "soon"), 64, "is not a time"),
        (("list", "--limit", "0"), 64, "limit"),
    ],
)
def test_mistakes_get_a_clear_sentence(made: Rejections, arguments: tuple[str, ...], code: int, words: str) -> None:
    """What was mistyped is named, and nothing happens."""
    result = quarantine(made, *arguments)
    found, message = code_and_words(result)
    assert (found, words in message) == (code, True), message
    assert len(made.files()) == 7


def test_a_cameras_images_are_selected_as_its_findings_say(made: Rejections) -> None:
    """The command and the page of a finding on a camera select that camera's images; '' those without one."""
    number = made.file("cat/4.jpg", camera="Canon & Söhne")
    where = {"camera": "Canon & Söhne"}
    finding = Finding("differs_from_others", "camera", "It differs.", "Look.", {"total": 4}, where)
    assert finding.command == "imageguard-daemon quarantine list ROOT --state all --camera 'Canon & Söhne'"
    assert Filters.of(dict(parse_qsl(finding.query))).selection(datetime.now(UTC)).scope.camera == "Canon & Söhne"
    assert [image["id"] for image in listed(made, "--state", "all", "--camera", "Canon & Söhne")] == [number]
    assert len(listed(made, "--camera", "")) == 3
    released = quarantine(made, "release", "--camera", "Canon & Söhne", "--yes")
    assert (released.exit_code, len(listed(made))) == (0, 3)


def test_numbers_and_paths_are_typed_as_arguments(made: Rejections, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the folder of the root nothing else need be said. What is not a folder is an image: nothing is widened."""
    invoke = CliRunner().invoke
    made.settings.state_folder.mkdir(exist_ok=True)
    monkeypatch.chdir(made.root)
    number = listed(made)[0]["id"]
    assert invoke(commands.app, ["release", str(number)]).stdout.splitlines()[-1] == "1 released"
    assert invoke(commands.app, ["confirm", "lynx/0.jpg", "quarantine/lynx/1.jpg"]).stdout.splitlines()[-1] == (
        "2 confirmed"
    )
    assert [one["id"] for one in json.loads(quarantine(made, "show", number, "--format", "json").stdout)] == [number]
    result = invoke(commands.app, ["undo", "/srv/ingset", "--all", "--yes"])
    assert (code_and_words(result)[0], "ingset is neither a folder nor an image" in str(result.exception)) == (
        os.EX_NOINPUT,
        True,
    )
    assert listed(made, "--state", "confirmed")


@pytest.mark.parametrize("verb", ["release", "confirm", "reject", "approve", "undo"])
def test_no_image_of_another_root_is_taken_for_a_mistyped_one(
    made: Rejections, tmp_path: Path, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers beside a ROOT that does not exist are not those of the root that the configuration names."""
    config = tmp_path / "of-another.yaml"
    config.write_text(f"root: {made.root}\n")
    monkeypatch.setenv("IMAGEGUARD_CONFIG", str(config))
    before = sorted(made.root.rglob("*.jpg"))
    result = CliRunner().invoke(commands.app, [verb, str(tmp_path / "rot"), "1", "2", "--yes"])
    code, words = code_and_words(result)
    assert (code, "rot is neither a folder nor an image of" in words) == (66, True)
    assert sorted(made.root.rglob("*.jpg")) == before
    assert all(not image["reviews"] for image in json.loads(quarantine(made, "show", 1, 2, "--format", "json").stdout))


@pytest.mark.parametrize(
    "words",
    [
        ["quarantine", "list", "ROOT"],
        ["quarantine", "purge", "ROOT", "--older-than", "1d", "--yes"],
        ["report", "ROOT"],
        ["export", "ROOT", "--to", "list"],
        ["rejudge", "ROOT", "--set", "blur_score=1", "--yes"],
        ["simulate", "ROOT", "--set", "blur_score=1"],
        ["alerts", "list", "ROOT"],
        ["audit", "archive", "ROOT", "--older-than", "1d"],
    ],
    ids=" ".join,
)
def test_a_root_that_does_not_exist_ends_the_command(made: Rejections, tmp_path: Path, words: list[str]) -> None:
    """Also where the configuration names a log outside of the root, which would be that of another root."""
    config = tmp_path / "of-another.yaml"
    config.write_text(f"audit: {{database: {made.root / 'audit.db'}}}\n")
    typed = [str(tmp_path / "rot") if one == "ROOT" else one for one in words]
    result = CliRunner().invoke(every_command, [*typed, "--config", str(config)])
    code, told = code_and_words(result)
    assert (code, "rot does not exist; name the ROOT" in told, result.stdout) == (66, True, "")
