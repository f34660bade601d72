"""Real files that were once judged wrongly stay judged as they should be."""

import PIL
import pytest
from PIL import Image

from imageguard_daemon import validate
from tests.helpers.corpus import WHY_SKIPPED, corpus

FAILING = corpus("failing")
pytestmark = pytest.mark.skipif(not FAILING.is_dir(), reason=WHY_SKIPPED)

CORRUPT = ("k_rgb8_tenth.png", "k_grey16_tenth.png", "s_tif_jpeg_tenth.tif", "k_rgba8_garbled.png")
UNSUPPORTED = ("p_cgbi.png", "tif_webp_contig.tif")
ACCEPTED = (
    *("p_bad_gama.png", "p_ztxt_2mb_comfy.png", "rgba16_12bit.png", "u16_12bit_one_hot_pixel.png"),
    *("sharp_webp-alpha-80.webp", "webp_black_letterbox_2000.webp", "exifzeros_avifenc.avif"),
    *("j_00e1_jpegjs84.jpg", "j_com_short_dahua681.jpg"),
)
INTACT = ("separate_planar_extra_samples.tiff", "u_exif_noname.heic")
REASONS = dict.fromkeys(CORRUPT, "corrupt") | dict.fromkeys(UNSUPPORTED, "unsupported") | dict.fromkeys(ACCEPTED, "")


@pytest.mark.parametrize("name", REASONS)
def test_the_reason_is_the_one_that_people_and_other_decoders_find(name: str):
    """Missing rows and garbled data are damage, odd metadata and long runs of one byte are none."""
    assert validate(FAILING / name).reason == REASONS[name]


@pytest.mark.parametrize("name", INTACT)
def test_what_can_be_read_is_not_called_damaged(name: str):
    """Zeros in makers' notes and planes with an extra sample are no damage, whatever else may be said."""
    pytest.importorskip("pi_heif") if name.endswith(".heic") else None
    if name.endswith(".tiff") and PIL.__version__.startswith(("11.", "12.0.", "12.1.")):
        pytest.skip("Pillow reads such planes from 12.2 on")
    assert validate(FAILING / name).reason not in ("corrupt", "unsupported")


@pytest.mark.parametrize("name", REASONS)
def test_a_picture_opened_by_pillow_is_judged_as_its_file(name: str):
    """Who hands over what Image.open gave gets the verdict of the path."""
    try:
        image = Image.open(FAILING / name)
    except Exception:  # noqa: BLE001 - whatever it is, there is no image to hand over
        pytest.skip("Pillow does not open it")
    with image:
        assert validate(image).reason == REASONS[name]
