"""Manifests in all their forms, good and bad."""

import gzip
import json
import os
from pathlib import Path

import pytest

from imageguard_daemon.batch.backfill.manifest import Manifest
from imageguard_daemon.batch.backfill.shards import Line, ManifestRequest, digest_of
from imageguard_daemon.batch.judging import Rules, judge, row_of
from imageguard_daemon.batch.outputs import Outputs
from imageguard_daemon.core.errors import NoInputError
from imageguard_daemon.core.model import Measurement
from imageguard_daemon.quality.policy import thresholds_for

pa = pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra `parquet`")
PATHS = ["/data/cat/1.jpg", "dog/2.jpg", "s3://bucket/train/cat/3.jpg", "", "lynx/=1,2\n.jpg"]


def _write(path: Path, columns: dict[str, list]) -> Path:
    if path.suffix == ".parquet":
        parquet.write_table(pa.table(columns), path)
    elif path.suffix == ".csv":
        pa_csv = pytest.importorskip("pyarrow.csv")
        pa_csv.write_csv(pa.table(columns), path)
    elif path.suffix == ".jsonl":
        rows = zip(*columns.values(), strict=True)
        path.write_text("".join(f"{json.dumps(dict(zip(columns, row, strict=True)))}\n" for row in rows))
    else:
        path.write_text("".join(f"{one}\n" for one in columns["path"]))
    return path


def _lines(path: object, **options) -> list[Line]:
    return list(Manifest(ManifestRequest(str(path), **options)))


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_every_form_gives_the_same_lines(tmp_path, monkeypatch, form):
    """Parquet, CSV and JSON lines give the same rows in the same order, odd paths included."""
    monkeypatch.chdir(tmp_path)
    lines = _lines(_write(tmp_path / f"list.{form}", {"path": PATHS}))
    assert [line.row for line in lines] == list(range(5))
    assert [line.path for line in lines] == PATHS
    assert [line.class_name for line in lines] == ["cat", "dog", "cat", "", "lynx"]
    assert lines[1].address == str(tmp_path / "dog/2.jpg")
    assert lines[2].address == PATHS[2]


def test_a_plain_list_has_a_path_a_line_whatever_its_bytes(tmp_path):
    """Any ending but the known ones is a list; bytes that are not UTF-8 stay what they are."""
    (tmp_path / "list.txt").write_bytes(b"/a/cat/1.jpg\n/a/\xff/2.jpg\n/a/dog/ 3.jpg")
    assert [line.path for line in _lines(tmp_path / "list.txt")] == ["/a/cat/1.jpg", "/a/\udcff/2.jpg", "/a/dog/ 3.jpg"]
    assert Manifest(ManifestRequest(str(tmp_path / "list.txt"))).count() == 3


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-8"])
@pytest.mark.parametrize(("name", "mark"), [("l.csv", ","), ("l.csv", ";"), ("l.csv", "\t"), ("l.tsv", "\t")])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_tables_are_read_as_excel_writes_them(tmp_path, encoding, name, mark, end):
    """A byte order mark, Windows' line ends, semicolons, tabs, and the note which of them it is."""
    text = end.join([mark.join(cells) for cells in (("path", "class"), ("/a/ä 1.jpg", "cat"), ("/a/2.jpg", ""))])
    for note in ("", f"sep={mark}{end}"):
        (tmp_path / name).write_bytes((note + text + end).encode(encoding))
        assert [(line.path, line.class_name) for line in _lines(tmp_path / name)] == [
            ("/a/ä 1.jpg", "cat"),
            ("/a/2.jpg", ""),
        ]


@pytest.mark.parametrize("name", ["l.csv.gz", "l.jsonl.gz", "l.txt.gz", "l.gz", "L.CSV.GZ"])
def test_lists_may_be_compressed(tmp_path, name):
    """As lists of millions are kept; what is inside decides the form, and a damaged one is told."""
    lines = {"csv": "path\n/a/1.jpg\n", "jsonl": '{"path": "/a/1.jpg"}\n'}
    text = next((text for form, text in lines.items() if form in name.lower()), "/a/1.jpg\n")
    (tmp_path / name).write_bytes(gzip.compress(text.encode()))
    assert [line.path for line in _lines(tmp_path / name)] == ["/a/1.jpg"]
    assert Manifest(ManifestRequest(str(tmp_path / name))).count() == 1
    for damage in (text.encode(), gzip.compress(text.encode())[:-9]):
        (tmp_path / name).write_bytes(damage)
        with pytest.raises(NoInputError, match="cannot read"):
            _lines(tmp_path / name)


@pytest.mark.parametrize("name", ["out.csv.partial", ".imageguard-out.csv.part"])
def test_a_result_that_is_not_whole_is_no_list(tmp_path, name):
    """What an interrupted scan has left is refused by its name, not taken for the whole."""
    (tmp_path / name).write_text("path\n/a/1.jpg\n")
    with pytest.raises(NoInputError, match="is not whole"):
        Manifest(ManifestRequest(str(tmp_path / name)))


def test_a_list_of_windows_has_no_line_ends_in_its_paths(tmp_path):
    """Where the first line ends so, all do; elsewhere a name may have that byte at its end."""
    (tmp_path / "w.txt").write_bytes(b"\xef\xbb\xbf/a/1.jpg\r\n/a/2.jpg\r\n")
    assert [line.path for line in _lines(tmp_path / "w.txt")] == ["/a/1.jpg", "/a/2.jpg"]
    (tmp_path / "u.txt").write_bytes(b"/a/1.jpg\n/a/2.jpg\r\n")
    assert [line.path for line in _lines(tmp_path / "u.txt")] == ["/a/1.jpg", "/a/2.jpg\r"]


ODD = ["=1+1/a.jpg", "'=x/b\\n.jpg", "caf\udce9/\u202f\n\r.jpg", "\U0001f600/\xa0.jpg", '-/,;\t".jpg']


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_results_of_a_scan_are_a_list_of_the_same_files(tmp_path, form):
    """Names of any kind survive the way through a result: formulas, backslashes, line breaks, any bytes."""
    outputs = Outputs({form: str(tmp_path / f"list.{form}")})
    for name in ODD:
        rules = Rules("general", thresholds_for("general"))
        outputs.write(row_of(judge(name, name, Measurement("ab", issue="corrupt"), rules)))
    outputs.publish()
    lines = _lines(tmp_path / f"list.{form}", root="/data")
    names = [os.path.relpath(line.address, "/data") for line in lines]
    assert (sorted(names) if form == "csv" else names) == (sorted(ODD) if form == "csv" else ODD)
    assert [line.class_name for line in lines] == [name.split("/")[0] for name in names]


def test_relative_paths_begin_at_the_root(tmp_path):
    """A root may be a folder or a URL; the class is then the first folder below it."""
    path = _write(tmp_path / "list.csv", {"path": ["train/cat/1.jpg", "/srv/x/train/2.jpg", "/elsewhere/dog/3.jpg"]})
    lines = _lines(path, root="/srv/x")
    assert [line.address for line in lines] == ["/srv/x/train/cat/1.jpg", "/srv/x/train/2.jpg", "/elsewhere/dog/3.jpg"]
    assert [line.relative_path for line in lines] == ["train/cat/1.jpg", "train/2.jpg", "/elsewhere/dog/3.jpg"]
    assert [line.class_name for line in lines] == ["train", "train", "dog"]
    assert _lines(path, root="s3://bucket/x/")[0].address == "s3://bucket/x/train/cat/1.jpg"


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_columns_may_have_other_names_and_labels_may_be_numbers(tmp_path, form):
    """`--path-column` and `--class-column` name them; a label counts more than the folder."""
    path = _write(tmp_path / f"list.{form}", {"file": ["/a/b.jpg", "/a/c.jpg"], "label": [7, 8]})
    lines = _lines(path, path_column="file", class_column="label")
    assert [(line.path, line.class_name) for line in lines] == [("/a/b.jpg", "7"), ("/a/c.jpg", "8")]


def test_dictionaries_and_bytes_of_parquet_are_texts(tmp_path):
    """Columns that pandas calls categories, and binary ones, are read as the paths they are."""
    table = pa.table(
        {"path": pa.array([b"/a/\xff.jpg", None], pa.binary()), "class": pa.array(["x", "y"]).dictionary_encode()}
    )
    parquet.write_table(table, tmp_path / "list.parquet")
    assert [(line.path, line.class_name) for line in _lines(tmp_path / "list.parquet")] == [
        ("/a/\udcff.jpg", "x"),
        ("", "y"),
    ]


def test_a_row_without_a_path_is_a_row_all_the_same(tmp_path):
    """Rows keep their numbers, whatever is missing in one of them."""
    (tmp_path / "list.jsonl").write_text('{"path": "/a/1.jpg"}\n{"path": null}\n{"class": "x"}\n')
    assert [(line.row, line.path) for line in _lines(tmp_path / "list.jsonl")] == [(0, "/a/1.jpg"), (1, ""), (2, "")]
    (tmp_path / "list.csv").write_text("path,class\n/a/1.jpg,x\n,y\n")
    assert [(line.row, line.path) for line in _lines(tmp_path / "list.csv")] == [(0, "/a/1.jpg"), (1, "")]


def test_a_folder_of_parquet_files_is_one_manifest(tmp_path):
    """As Spark writes them: parts by name, markers left out, rows numbered through."""
    for part, name in enumerate(("part-0.parquet", "part-1.parquet", "_hidden.parquet")):
        _write(tmp_path / name, {"path": [f"/x/{part}.jpg"]})
    (tmp_path / "_SUCCESS").touch()
    manifest = Manifest(ManifestRequest(str(tmp_path)))
    assert [(line.row, line.path) for line in manifest] == [(0, "/x/0.jpg"), (1, "/x/1.jpg")]
    assert manifest.rows == 2


def test_shards_are_rows_in_order_and_known_by_their_content(tmp_path):
    """Five rows make shards of two, two and one; another path, class or row gives another digest."""
    manifest = Manifest(ManifestRequest(str(_write(tmp_path / "list.parquet", {"path": [f"/{n}" for n in range(5)]}))))
    assert [[line.row for line in shard] for shard in manifest.shards(2)] == [[0, 1], [2, 3], [4]]
    line = Line(1, "a", "/a", "a", "cat")
    digests = {
        digest_of([one])
        for one in (line, line._replace(row=2), line._replace(address="/b"), line._replace(class_name="dog"))
    }
    assert len(digests) == 4
    assert digest_of([line]) == digest_of(
        [line._replace(path="b")]
    )  # how it is written does not matter, where it is does


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("list.parquet", b"not at all", "cannot read"),
        ("list.csv", b"file,label\n/a,1\n", "has no column 'path'; name one with --path-column: file, label"),
        ("list.csv", b"", "has no column 'path'"),
        ("list.csv", b"path\n", "has no rows"),
        ("list.txt", b"", "has no rows"),
        ("list.txt", b"PAR1....", "is Parquet: give it a name that ends in .parquet"),
        ("list.jsonl", b'{"path": 1}\n', "line 1: the path is not text"),
        ("list.jsonl", b'{"file": "a"}\n', "has no column 'path'; name one with --path-column: file"),
        ("list.jsonl", b"[1]\n", "line 1: this is not a JSON object; one per line is read"),
        ("list.json", b'[\n{"path": "/a"}]', "line 1: this is not JSON: one object per line is read, not an array"),
        ("list.csv", b"PAR1....", "is Parquet: give it a name that ends in .parquet"),
        ("list.xlsx", b"PK\x03\x04....", "is a workbook or an archive, not text: save the list as CSV"),
        ("list.csv", b"PK\x03\x04....", "save the list as CSV"),
        ("list.xls", bytes.fromhex("d0cf11e0a1b11ae1"), "save the list as CSV"),
        ("list.csv", b"\x1f\x8b\x08", "is compressed: give it a name that ends in .gz"),
        ("list.txt", "\ufeffid\tpath\r\n1\t/a\r\n".encode("utf-16-le"), "a table, by its first line: give it a name"),
        ("folder/x.txt", b"", "is a folder without Parquet files"),
    ],
)
def test_a_bad_manifest_is_told_in_one_sentence(tmp_path, name, content, told):
    """Not Parquet, without the column, empty, cut off: the message says which, and what to do."""
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    given_path = path.parent if path.parent != tmp_path else path
    with pytest.raises(NoInputError, match=r"^[^\n]+$") as caught:
        _lines(given_path)
    assert told in str(caught.value)


def test_a_manifest_that_is_not_there_is_told(tmp_path):
    """The system's words, with the name."""
    with pytest.raises(NoInputError, match=r"cannot read .*nowhere\.csv: No such file or directory"):
        _lines(tmp_path / "nowhere.csv")
