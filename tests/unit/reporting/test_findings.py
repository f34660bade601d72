"""Which patterns are told, and which are left to chance."""

import pytest

from imageguard_daemon.config import Reporting
from imageguard_daemon.core.model import ISSUES
from imageguard_daemon.reporting.finding import ADVICE, Finding, named_in_words
from imageguard_daemon.reporting.findings import find_patterns
from imageguard_daemon.reporting.panel import Patterns
from imageguard_daemon.reporting.sizes import Band, Bands
from imageguard_daemon.reporting.tallies import Tally
from tests.helpers.panels import panel_at_once, panel_in_time

SETTINGS = Reporting(min_sample=20, rejection_rate_limit=0.2, class_rate_limit=0.5, mostly_share=0.5)


def blurry(rejected: int, total: int) -> Tally:
    """Give a tally whose rejections all are blurry."""
    return Tally(total, {"blurry": rejected} if rejected else {})


def found(classes: dict[str, Tally], sources: dict[str, str] | None = None) -> list[Finding]:
    """Give the findings in a log of these classes; all come from one source unless `sources` has theirs."""
    panel = panel_at_once({(name, (sources or {}).get(name, "default")): one for name, one in classes.items()})
    return list(find_patterns(Patterns(panel), SETTINGS))


def kinds(findings: list[Finding]) -> list[str]:
    """Name the kinds of findings."""
    return [finding.kind for finding in findings]


def rejected_classes(classes: dict[str, Tally]) -> list[str]:
    """Name the classes found to be consistently rejected."""
    return [each.subject for each in found(classes) if each.kind == "class_consistently_rejected"]


def test_an_empty_log_has_no_findings() -> None:
    """Nothing judged, nothing to tell."""
    assert found({}) == []


def test_a_small_dataset_with_one_bad_class() -> None:
    """Of 40 dogs 36 rejected and of 60 cats 3: the class is found, and the overall rate of 39 % too."""
    findings = found({"dog": blurry(36, 40), "cat": blurry(3, 60)})
    assert kinds(findings) == ["high_rejection_rate", "class_consistently_rejected", "mostly_blurry"]
    assert findings[1].subject == "dog"


@pytest.mark.parametrize(("rejected", "is_found"), [(20, False), (22, False), (25, True), (30, True)])
def test_a_high_rate_must_be_more_than_a_little_above(rejected: int, is_found: bool) -> None:
    """Of 100 images 22 rejected may well be chance at a limit of 20 %, 25 are worth telling."""
    assert ("high_rejection_rate" in kinds(found({"cat": blurry(rejected, 100)}))) is is_found


def test_few_images_are_no_pattern() -> None:
    """However bad, fewer images than the minimum sample give no finding."""
    assert found({"cat": blurry(19, 19)}) == []
    assert found({"cat": blurry(2, 3)}) == []


def test_a_class_alone_can_be_consistently_rejected() -> None:
    """A log of one class needs no other to compare with."""
    assert rejected_classes({"dog": Tally(40, {"blurry": 18, "noisy": 18})}) == ["dog"]


def test_others_too_few_to_compare_with_do_not_silence_a_class() -> None:
    """One image of another class changes nothing about 36 of 40."""
    assert rejected_classes({"dog": Tally(40, {"blurry": 18, "noisy": 18}), "cat": blurry(0, 1)}) == ["dog"]


def test_a_class_no_worse_than_the_others_does_not_stand_out() -> None:
    """When everything is rejected, that is told once and not once for each class."""
    findings = found({name: blurry(22, 50) for name in "abcdef"})
    assert kinds(findings) == ["high_rejection_rate", "mostly_blurry"]


def test_bad_classes_do_not_hide_one_another() -> None:
    """A class is compared with ordinary ones: two bad classes are both found, the worse one first."""
    classes = {"lynx": blurry(30, 40), "dog": blurry(40, 40), "cat": blurry(3, 20)}
    assert rejected_classes(classes) == ["dog", "lynx"]


def test_among_a_million_images_a_hair_is_no_pattern() -> None:
    """A difference that is certain but small is not told."""
    assert rejected_classes({"a": blurry(520_000, 1_000_000), "b": blurry(510_000, 1_000_000)}) == []


def test_many_classes_are_corrected_for() -> None:
    """What is a finding for one class alone may be chance among a thousand."""
    assert rejected_classes({"odd": blurry(18, 20), "class": blurry(40, 100)}) == ["odd"]
    ordinary = {f"class{number}": blurry(8, 20) for number in range(999)}
    assert rejected_classes(ordinary | {"odd": blurry(17, 20)}) == []
    assert rejected_classes(ordinary | {"odd": blurry(20, 20)}) == ["odd"]


def test_images_without_a_class_are_no_class_of_their_own() -> None:
    """A dataset without classes gets no finding about one; loose files beside classes do."""
    assert rejected_classes({"": blurry(36, 40)}) == []
    assert rejected_classes({"": blurry(36, 40), "cat": blurry(1, 40)}) == [""]


def test_a_bad_source_is_told_beside_others() -> None:
    """With several sources each one above the limit is named; a single source is the overall rate."""
    classes = {"cat": blurry(11, 20), "dog": blurry(9, 20), "owl": blurry(1, 200), "elk": blurry(0, 200)}
    sources = {"cat": "scraper", "dog": "scraper", "owl": "studio", "elk": "studio"}
    findings = found(classes, sources)
    assert [each.subject for each in findings if each.kind == "source_high_rejection_rate"] == ["scraper"]


@pytest.mark.parametrize("reason", ISSUES)
def test_every_reason_can_be_the_main_one_and_has_advice(reason: str) -> None:
    """Each issue the scorer knows gives a finding `mostly_...` that says what to look at."""
    [finding] = [each for each in found({"cat": Tally(400, {reason: 30, "": 4})}) if "mostly" in each.kind]
    assert (finding.kind, finding.subject) == (f"mostly_{reason}", reason)
    assert finding.message.endswith(ADVICE[reason])


def test_half_of_the_rejections_is_not_most() -> None:
    """A reason must be behind more than its share beyond chance."""
    assert "mostly_noisy" not in kinds(found({"cat": Tally(1000, {"noisy": 26, "blurry": 24})}))


def test_a_message_names_counts_rate_reason_and_the_next_step() -> None:
    """A person can act on the sentence without opening anything else."""
    lynx = Tally(48, {"low_resolution": 36, "blurry": 5})
    message = next(each for each in found({"lynx": lynx, "cat": blurry(6, 100)}) if each.subject == "lynx").message
    assert message == (
        "Class 'lynx': 41 of 48 images were rejected (85.4 %), mostly low_resolution (36); other images: 6.0 % "
        "of 100, 38 more than expected. Look at some of them: if they are fine for you, the thresholds do not fit "
        "this class, and `imageguard-daemon calibrate --log ROOT --class lynx` proposes thresholds from the log for a "
        "source of its own. If they are not: look at whether thumbnails or previews are collected in place of the "
        "originals. A model could learn the flaw as the class."
    )


@pytest.mark.parametrize(
    ("soft", "option"),
    [
        ({("cell", "scope"): Tally(100, {"blurry": 70})}, "--source scope"),
        ({("cell", "scope"): Tally(200, {"blurry": 90})}, "--source scope"),
        ({("cell", "scope"): Tally(100, {"blurry": 45, "low_resolution": 45})}, "--source scope"),
        (
            {("cell", "scope"): Tally(90, {"blurry": 65}), ("worm", "scope"): Tally(80, {"blurry": 60})},
            "--source scope",
        ),
        ({("cell", "scope"): Tally(90, {"blurry": 70}), ("worm", "scope"): blurry(2, 90)}, "--class cell"),
        ({("cell", "photos"): Tally(90, {"blurry": 70})}, "--class cell"),
    ],
)
def test_images_soft_by_optics_lead_to_thresholds(soft: dict[tuple[str, str], Tally], option: str) -> None:
    """Whatever share a microscope loses, for one reason or two: where thresholds may not fit, the advice says so."""
    photos = {("cat", "photos"): blurry(6, 300), ("dog", "photos"): Tally(300, {"noisy": 5})}
    findings = find_patterns(Patterns(panel_at_once({**photos, **soft})), SETTINGS)
    assert any(f"`imageguard-daemon calibrate --log ROOT {option}`" in one.look_at for one in findings)


def test_the_command_for_thresholds_names_one_of_several_sources() -> None:
    """`calibrate` refuses several, which may have thresholds of their own: it is that with most rejections."""
    cells = {("cell", f"scope{n}"): blurry(30 * n, 100) for n in (1, 2, 3)}
    findings = find_patterns(Patterns(panel_at_once({**cells, ("cat", "photos"): blurry(3, 900)})), SETTINGS)
    assert any("--log ROOT --class cell --source scope3`" in one.look_at for one in findings if one.subject == "cell")
    alike = {("cat", source): Tally(100, {"blurry": 20, "noisy": 20}) for source in ("a", "b")}
    [overall] = find_patterns(Patterns(panel_at_once(alike)), SETTINGS)
    assert "`imageguard-daemon calibrate --log ROOT --source a`" in overall.look_at


def test_what_no_threshold_changes_leads_to_none() -> None:
    """Files that arrive damaged need another transfer."""
    findings = found({"cat": blurry(6, 300), "dog": Tally(100, {"corrupt": 70})}, {"cat": "web", "dog": "gate"})
    assert not any("calibrate" in one.look_at for one in findings if one.where)


def test_evidence_is_numbers() -> None:
    """A program finds every number of the message in the evidence."""
    finding = next(each for each in found({"dog": blurry(36, 40), "cat": blurry(3, 60)}) if each.subject == "dog")
    assert all(isinstance(number, int | float) for number in finding.evidence.values())
    assert finding.evidence["rejected"] == 36
    assert finding.evidence["others_rate"] == finding.evidence["limit"] == pytest.approx(0.05)
    assert finding.evidence["excess"] == pytest.approx(34)
    assert finding.evidence["p_value"] < 0.05


def mostly_rejected(sources: dict[str, Tally], **more: object) -> list[Finding]:
    """Give the findings about sources that lose most of their images to one reason."""
    seen = Patterns(panel_at_once({("", name): one for name, one in sources.items()}), **more)
    return [each for each in find_patterns(seen, SETTINGS) if each.kind == "source_mostly_rejected"]


@pytest.mark.parametrize(("rejected", "total"), [(28, 30), (60, 60), (70, 100), (6_000, 10_000)])
def test_a_source_that_one_reason_rejects_most_of_is_told_with_the_command(rejected: int, total: int) -> None:
    """From a few dozen images on a person learns that thresholds may not fit, and what proposes others."""
    [finding] = mostly_rejected({"smears": blurry(rejected, total), "studio": blurry(1, 400)})
    assert finding.subject == "smears"
    assert "`imageguard-daemon calibrate --log ROOT --source smears`" in finding.look_at
    assert "if they are fine for you" in finding.look_at
    assert ADVICE["blurry"][1:] in finding.look_at


@pytest.mark.parametrize(
    "one",
    [
        blurry(29, 29),
        blurry(55, 100),
        Tally(100, {"corrupt": 95}),
        Tally(100, {"blurry": 40, "noisy": 40}),
        Tally(100),
    ],
)
def test_few_images_half_of_them_or_what_no_threshold_changes_is_not_told_so(one: Tally) -> None:
    """A first handful, a rate about a half, files that are damaged, and several reasons are other stories."""
    assert mostly_rejected({"smears": one}) == []


def test_that_a_source_is_mostly_rejected_is_told_once() -> None:
    """Its rate, its share, its reason and a class that is all of it say nothing more."""
    everything = blurry(90, 100)
    assert kinds(found({"cell": everything}, {"cell": "smears"})) == ["source_mostly_rejected"]
    parts = {f"cell{number}": blurry(18, 20) for number in range(5)}
    findings = found(parts | {"cat": blurry(5, 900)}, dict.fromkeys(parts, "smears"))
    assert kinds(findings) == ["source_mostly_rejected"]


def test_a_class_that_stands_out_refers_to_its_source() -> None:
    """That a model could learn the flaw is news; where it comes from is told of the source."""
    findings = found({"cell": blurry(90, 100), "cat": blurry(5, 900)}, {"cell": "smears", "cat": "studio"})
    [finding] = [each for each in findings if each.kind == "class_consistently_rejected"]
    assert finding.look_at.startswith("Its images come from source 'smears' alone: see there.")


def test_classes_that_are_like_their_source_are_not_told_beside_it() -> None:
    """Of a source that loses all it sends each class would only repeat it, though classes stand out more."""
    days = {(f"digits{n}", "small", ""): [(20, 20) if day % 3 == n else (0, 0) for day in range(30)] for n in range(3)}
    mixed = {(f"mixed{n}", "web", ""): [(20, 20 * n) if day % 2 == n else (0, 0) for day in range(30)] for n in (0, 1)}
    seen = Patterns(panel_in_time(days | mixed | {("cat", "studio", ""): [(50, 1)] * 30}))
    told = find_patterns(seen, SETTINGS)
    assert [one.subject for one in told if one.kind == "source_mostly_rejected"] == ["small"]
    assert [one.subject for one in told if "digits" in one.subject] == []


def test_an_overall_rate_that_a_few_groups_make_says_what_it_is_without_them() -> None:
    """Above the limit for one source alone: then nothing is wrong with the rest. Above it without them: no word."""
    classes = {"digits": blurry(90, 90), "cat": blurry(5, 100), "dog": blurry(5, 100)}
    [overall, *_] = found(classes, {"digits": "small", "cat": "studio", "dog": "studio"})
    assert overall.sentence.endswith("the limit is 20 %. Without source 'small' it is 5.0 % of 200.")
    [overall, *_] = found(classes | {"cat": blurry(45, 100), "dog": blurry(45, 100)}, {"digits": "small"})
    assert overall.sentence.endswith("the limit is 20 %.")


def test_groups_that_are_told_are_named_as_people_list_them() -> None:
    """One, two, and two with how many more there are."""
    groups = [{"class": "lynx"}, {"source": "web"}, {"class": "", "source": "web"}, {"camera": "x"}]
    assert named_in_words(groups[:1]) == "class 'lynx'"
    assert named_in_words(groups[:2]) == "class 'lynx' and source 'web'"
    assert named_in_words(groups) == "class 'lynx', source 'web' and 2 more that are told"


def test_small_classes_of_a_source_that_is_told_are_not_told_again() -> None:
    """Thirty icon sets in the source of icons say nothing new; thirty that lie among photos do."""
    icons = {f"icons{number}": blurry(5, 5) for number in range(30)}
    photos = {f"photos{number}": blurry(number % 4 == 0, 10) for number in range(100)}
    told = found(icons | photos, dict.fromkeys(icons, "icons"))
    assert kinds(told) == ["source_mostly_rejected"]
    assert "small_classes_rejected" in kinds(found(icons | photos))


def test_a_folder_judged_in_place_is_told_the_command_for_folders() -> None:
    """A scan has no log and no source: what proposes thresholds is `calibrate FOLDER`."""
    [finding] = mostly_rejected({"scan": blurry(90, 100)}, of_a_log=False)
    assert finding.sentence.startswith("90 of 100 images (90.0 %) were rejected for one reason, blurry")
    assert "`imageguard-daemon calibrate FOLDER`" in finding.look_at


def test_thumbnails_that_are_rejected_for_their_size_are_told_once() -> None:
    """What passes by size is told as thumbnails; what is rejected for it is told by its reason."""
    band = Bands(1, {"web": Band(300, 60, 0, 240, 12_000.0, 0.12, 200)})
    for reasons, told in ((Tally(300), ["thumbnails_mixed_in"]), (Tally(300, {"low_resolution": 60}), [])):
        seen = Patterns(panel_at_once({("cat", "web"): reasons}), bands={"source": band})
        found_kinds = kinds(list(find_patterns(seen, SETTINGS)))
        assert [kind for kind in found_kinds if kind == "thumbnails_mixed_in"] == told
        assert ("mostly_low_resolution" in found_kinds) is not bool(told)
