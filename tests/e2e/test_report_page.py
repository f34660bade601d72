"""The page of `report` on what the daemon filed."""

import base64
import io
import re

from PIL import Image

from tests.e2e.daemon_process import Ingest, command
from tests.helpers.images import blurred, jpeg, photo


def test_the_page_has_pictures_of_what_was_rejected_and_survives_what_is_broken(tmp_path):
    """A blurred image has its thumbnail, a broken one and one that was taken away have none, and names stay text."""
    ingest = Ingest(tmp_path / "ingest")
    for number in range(2):
        ingest.put(f"cat/{number}.jpg", jpeg(blurred(photo(480, 360, number), 6)))
    ingest.put("cat/<script>alert(1)<", jpeg(photo())[:3000])
    ingest.put("cat/<b>.jpg", jpeg(photo())[:3000])
    assert command("run", "--config", ingest.config_file, "--once").returncode == 0
    [gone] = [row for row in ingest.decisions() if row["relative_path"] == "cat/1.jpg"]
    (ingest.root / gone["destination"]).unlink()
    result = command("report", "--config", ingest.config_file, "--format", "html", "--output", tmp_path / "report.html")
    assert result.returncode == 0, result.stderr
    page = (tmp_path / "report.html").read_text()
    [picture] = re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", page)
    assert Image.open(io.BytesIO(base64.b64decode(picture)), formats=["JPEG"]).size == (160, 120)
    assert page.count("no picture") == 2
    assert "cat/&lt;b&gt;.jpg" in page.replace("<wbr>", "")
    assert "<b>.jpg" not in page
