"""Reading the configuration: what is accepted, and how mistakes are told."""

import json
import re
from pathlib import Path

import pytest

from imageguard_daemon.config import Intake, Settings
from imageguard_daemon.config_file import load, parse
from imageguard_daemon.core.errors import ConfigError, NoInputError, UsageError


def problems(text: str) -> list[str]:
    """Give what is wrong with a configuration."""
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return caught.value.problems


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration file in a folder of its own."""
    path = tmp_path / "etc/imageguard.yaml"
    path.parent.mkdir()
    path.touch()
    return path


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "{}", "\ufeff", "intake: {}"])
def test_nothing_said_means_the_defaults(text: str) -> None:
    """Every setting is optional."""
    assert parse(text) == Settings()


def test_all_mistakes_are_told_at_once() -> None:
    """Each mistake has a line of its own that begins with its place in the YAML."""
    text = """
    intake: {settle_seconds: -1, image_suffixes: [jpg]}
    sources:
      - name: default
      - {name: b, inbox: other, preset: strict, thresholds: {blur_score: 101}}
    filing: {max_attempts: many}
    """
    places = [problem.split(": ")[0] for problem in problems(text)]
    assert sorted(places) == [
        "filing.max_attempts",
        "intake.image_suffixes[0]",
        "intake.settle_seconds",
        "sources[1].preset",
        "sources[1].thresholds.blur_score",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("intake: {settle_second: 3}", "intake.settle_second: unknown setting; did you mean settle_seconds?"),
        ("sources: [{inboxes: a}]", "sources[0].inboxes: unknown setting; did you mean inbox?"),
        ("source: []", "source: unknown setting; did you mean sources?"),
        ("sources: [{preset: detecton}]", "sources[0].preset: unknown value 'detecton'; did you mean detection?"),
        ("logging: {level: x}", "logging.level: unknown value 'x'; known are debug, info, warning, error"),
        (
            "sources: [{thresholds: {blurscore: 1}}]",
            "sources[0].thresholds: unknown score 'blurscore'; did you mean blur_score?",
        ),
        ("audit: {xyz: 1}", "audit.xyz: unknown setting; known are database"),
    ],
)
def test_a_misspelt_name_gets_a_proposal(text: str, said: str) -> None:
    """Whoever mistypes a setting reads the one that was meant."""
    assert problems(text) == [said]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("root: a\nroot: b", "line 2, column 1: the key 'root' is given twice"),
        ("intake:\n  sidecars: true\n  sidecars: false", "line 3, column 3: the key 'sidecars' is given twice"),
        ("intake: [", "line 1, column"),
        ("intake:\n\t- a", "line 2, column 1"),
        ("- a\n- b", "expected settings by name, found list"),
        ("just words", "expected settings by name, found str"),
        ("root: 2024-02-30", "day"),
        ("root: !!python/object:os.system x", "line 1, column 7"),
        ("root: \x00", "unacceptable character"),
        ("{1: 2}", "1: "),
        ("root: $HOME/ingest", "root: $HOME is not replaced by the variable's value; write the path, ~"),
        ("sources: [{inbox: '/srv/${SITE}'}]", "sources[0].inbox: ${SITE} is not replaced by the variable's value"),
        ("logging: {level: loud}", "unknown value 'loud'"),
        ("sources: []", "sources: at least one source is needed"),
        ("sources: [{name: a}, {name: a}]", "sources: two sources are called a"),
        ("sources: [{name: a/b}]", "sources[0].name"),
        ("sources: [{class_from: '('}]", "sources[0].class_from: not a regular expression"),
        ("sources: [{class_from: 'a{99999999999999}'}]", "sources[0].class_from: not a regular expression"),
        ("sources: [{class_from: folder}]", "sources[0].class_from: give first_folder, parent_folder, none"),
        ("intake: {settle_seconds: .nan}", "intake.settle_seconds"),
        ("reporting: {class_rate_limit: 1}", "reporting.class_rate_limit"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, said: str) -> None:
    """Whatever is wrong is told in one line, and never as a traceback."""
    [problem] = problems(text)
    assert said in problem


@pytest.mark.parametrize("rule", ["first_folder", "parent_folder", "none", r"^(?P<class>\w+)-\d+"])
def test_the_class_rule_takes_words_and_expressions(rule: str) -> None:
    """The three words and any expression with a group `class` are taken as they are."""
    assert parse(f"sources: [{{class_from: '{rule}'}}]").sources[0].class_from == rule


def test_suffixes_are_compared_in_lower_case() -> None:
    """It doesn't matter in which case endings are written."""
    assert parse("intake: {image_suffixes: [.JPG, .Png]}").intake.image_suffixes == (".jpg", ".png")


def test_settings_never_change() -> None:
    """Settings that were read are the same for every part, for good."""
    with pytest.raises(ValueError, match="frozen"):
        Settings().intake.settle_seconds = 1.0  # type: ignore[misc]


def test_paths_in_a_file_are_relative_to_it(file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The root is relative to the file's folder and all else to the root, wherever the command is run."""
    monkeypatch.chdir(tmp_path)
    file.write_text("root: ../data\nsources: [{inbox: in, accepted: /srv/accepted}]", encoding="utf-8")
    settings = load(Path("etc/imageguard.yaml"))
    assert settings.root == tmp_path / "data"
    assert settings.sources[0].inbox == tmp_path / "data/in"
    assert settings.sources[0].accepted == Path("/srv/accepted")
    assert settings.sources[0].quarantine == tmp_path / "data/quarantine"
    assert settings.audit.database == tmp_path / "data/audit.db"
    assert settings.state_folder == tmp_path / "data/.imageguard"


def test_a_root_on_the_command_line_replaces_the_files(
    file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is relative to the working directory, as people expect of an argument."""
    monkeypatch.chdir(tmp_path)
    file.write_text("root: elsewhere", encoding="utf-8")
    assert load(file, Path("mine")).sources[0].inbox == tmp_path / "mine/inbox"
    assert load(None, Path("mine")).root == tmp_path / "mine"
    assert load().root == tmp_path / "ingest"


@pytest.mark.parametrize(
    ("sources", "culprits"),
    [
        ("[{accepted: inbox}]", ["sources[0].inbox", "sources[0].accepted"]),
        ("[{accepted: inbox/good}]", ["sources[0].inbox", "sources[0].accepted"]),
        ("[{quarantine: accepted/../accepted}]", ["sources[0].accepted", "sources[0].quarantine"]),
        ("[{name: a}, {name: b, inbox: inbox/b}]", ["sources[0].inbox", "sources[1].inbox"]),
        (
            "[{name: a}, {name: b, inbox: quarantine/again, quarantine: q}]",
            ["sources[0].quarantine", "sources[1].inbox"],
        ),
        ("[{accepted: link}]", ["sources[0].inbox", "sources[0].accepted"]),
    ],
)
def test_folders_that_would_feed_one_another_are_refused(file: Path, sources: str, culprits: list[str]) -> None:
    """No folder the daemon fills is one it watches, nested, of another source, or reached through a link."""
    (file.parent / "inbox").mkdir()
    (file.parent / "link").symlink_to("inbox")
    file.write_text(f"root: .\nsources: {sources}", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(file)
    [problem] = caught.value.problems
    assert re.findall(r"sources\[\d\]\.\w+", problem) == culprits


def test_sources_may_share_their_destinations(file: Path) -> None:
    """Two inboxes can fill the same accepted and quarantine folders."""
    file.write_text("sources: [{name: a, inbox: a}, {name: b, inbox: b}]", encoding="utf-8")
    assert len(load(file).sources) == 2


def test_the_log_does_not_lie_among_files_to_judge(file: Path) -> None:
    """The daemon never takes its own database for a file that arrived."""
    file.write_text("audit: {database: inbox/audit.db}", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"audit\.database: .* must not lie in sources\[0\]\.inbox"):
        load(file)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, file: Path) -> None:
    """A missing file and a folder are no input; bytes that are no UTF-8 are a mistake in the file."""
    for path in (tmp_path / "gone.yaml", tmp_path):
        with pytest.raises(NoInputError, match=re.escape(str(path))):
            load(path)
    file.write_bytes(b"root: caf\xe9")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(file)


def test_what_a_running_daemon_cannot_take_over_is_named(tmp_path: Path) -> None:
    """Thresholds, presets and class rules may change while running; anything else is named."""
    before = load(None, tmp_path)
    (source,) = before.sources
    judged_otherwise = source.model_copy(update={"preset": "detection", "thresholds": {"blur_score": 1.0}})
    assert before.needing_restart(before.model_copy(update={"sources": (judged_otherwise,)})) == []
    moved = source.model_copy(update={"accepted": tmp_path / "other"})
    other = source.model_copy(update={"name": "other"})
    fresh = before.model_copy(update={"sources": (moved, other), "intake": Intake(settle_seconds=9)})
    assert before.needing_restart(fresh) == ["sources (default)", "sources (other)", "intake"]


def test_mistakes_that_hide_one_another_are_told_together() -> None:
    """Names given twice and unknown scores are told beside values out of range; endings and lists in plain words."""
    text = """
    sources:
      - {name: a, thresholds: {blur: 3, noise_score: 300}}
      - {name: a}
    intake: {image_suffixes: [jpg], ignore: "*.tmp"}
    audit: {database: ""}
    """
    with pytest.raises(ConfigError) as caught:
        parse(text)
    told = str(caught.value)
    for words in (
        "two sources are called a",
        "unknown score 'blur'",
        "noise_score: Input",
        "with its dot",
        "e.g. [*.tmp]",
    ):
        assert words in told
    assert "audit.database: a file name is needed" in told


def test_an_empty_section_has_its_defaults() -> None:
    """Who comments out all lines of a section gets its defaults."""
    assert parse("filing:\nintake:\n  # settle_seconds: 3\n") == Settings()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://a:s3cret@db/x",
        "postgresql://a:s3/cret@db/x?sslmode=require",
        "postgresql://db/x?user=a&password=s3cret",
        "mysql://a:s3cret@db/x",
        "a:s3cret@db",
    ],
)
def test_a_password_in_an_address_is_refused_and_not_shown(url: str) -> None:
    """A message, which ends in a journal, must not have the password that it is about."""
    with pytest.raises(ConfigError) as told:
        parse(json.dumps({"forward": {"url": url}}))
    assert "forward.url" in str(told.value)
    assert "cret" not in str(told.value)


def test_an_address_keeps_the_options_of_its_library() -> None:
    """Whatever libpq knows passes through: several hosts, certificates, target_session_attrs."""
    url = (
        "postgresql://forwarder@one,two:5433/fleet?sslmode=verify-full&sslrootcert=/etc/ca.pem&target_session_attrs=any"
    )
    assert parse(json.dumps({"forward": {"url": url}})).forward.url == url


def test_no_disk_is_asked_for_commands_that_touch_no_folder(tmp_path: Path) -> None:
    """A folder that is another one through a link is found only where links are followed; by its name, always."""
    (tmp_path / "inbox").mkdir()
    (tmp_path / "accepted").symlink_to("inbox")
    with pytest.raises(ConfigError, match="must not be the same or lie in one another"):
        load(root=tmp_path)
    assert load(root=tmp_path, follow_links=False).root == tmp_path
    file = tmp_path / "config.yaml"
    file.write_text("root: .\nsources: [{inbox: inbox, accepted: inbox/../inbox/good}]\n")
    with pytest.raises(ConfigError, match="must not be the same or lie in one another"):
        load(file, follow_links=False)


@pytest.mark.parametrize("follow_links", [True, False])
def test_what_one_command_accepts_no_other_refuses(tmp_path: Path, *, follow_links: bool) -> None:
    """A link to a disk elsewhere may lie in the inbox: by its name alone the folder would lie there, too."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "accepted").symlink_to(tmp_path / "elsewhere")
    file = tmp_path / "config.yaml"
    file.write_text("root: .\nsources: [{accepted: inbox/accepted}]\n")
    assert load(file, follow_links=follow_links).sources[0].accepted == tmp_path / "inbox" / "accepted"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("sources: [{inbox: ~nobody-of-this-name/in}]", "sources[0].inbox"),
        ("root: ~nobody-of-this-name", "root"),
        ("scoring: {readout: ~nobody-of-this-name/own.npz}", "scoring.readout"),
        ("forward: {password_file: ~nobody-of-this-name/secret}", "forward.password_file"),
        ('sources: [{quarantine: "a\\0b"}]', "sources[0].quarantine"),
        ('audit: {database: "a\\0b"}', "audit.database"),
        ("audit: {database: ..}", "audit.database"),
    ],
)
def test_what_can_be_no_path_is_a_mistake_of_the_configuration(tmp_path: Path, text: str, where: str) -> None:
    """It is told with its place as any other, when it is read: at a start, and at a reload, which keeps the old one."""
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(f"{where}: ")):
        load(file)


def test_a_root_that_can_be_no_path_is_a_mistake_of_the_command_line() -> None:
    """What a shell leaves as it is, since it knows no such account."""
    with pytest.raises(UsageError, match="~nobody-of-this-name"):
        load(root=Path("~nobody-of-this-name/ingest"))
