"""Which format a file is in, by its first bytes, and which kinds of it are judged; pure, standard library only.

The suffix plays no part: scrapers save HTML as .jpg and vendors rename PNG files. docs/formats.md is made from the
tables, and a test makes and judges each row.
"""

import re

# Formats that are decoded, by the name Pillow gives them; HEIC by an extra.
HANDLED = frozenset({"JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF", "HEIC"})

_FORMAT_OF_SUFFIX = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), "JPEG"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **{f".{name.lower()}": name for name in ("PNG", "WEBP", "GIF", "BMP", "AVIF", "HEIC")},
    ".heif": "HEIC",
}

_PREFIXES: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"IIRO", "Olympus RAW"),
    (b"IIRS", "Olympus RAW"),
    (b"MMOR", "Olympus RAW"),
    (b"IIU\0", "Panasonic RAW"),
    (b"FUJIFILMCCD-RAW", "Fujifilm RAW"),
    (b"FOVb", "Sigma RAW"),
    (b"\0MRM", "Minolta RAW"),
    (b"II*\0\x10\0\0\0CR", "Canon RAW (CR2)"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"8BPS", "Photoshop document"),
    (b"%PDF", "PDF"),
    (b"%!PS", "PostScript"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\x1aE\xdf\xa3", "Matroska or WebM video"),
    (b"FLV\x01", "Flash video"),
    (b"\0\0\x01\xba", "MPEG video"),
    (b"\0\0\x01\xb3", "MPEG video"),
    (b"\0\0\x01\0", "Windows icon"),
    (b"\0\0\x02\0", "Windows cursor"),
    (b"icns", "Apple icon"),
    (b"DDS ", "DirectDraw surface"),
    (b"BLP1", "Blizzard texture"),
    (b"BLP2", "Blizzard texture"),
    (b"\x01\xda", "SGI image"),
    (b"DanM", "Microsoft Paint (MSP)"),
    (b"LinS", "Microsoft Paint (MSP)"),
    (b"gimp xcf", "GIMP document"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"qoif", "QOI"),
    (b"SIMPLE  =", "FITS"),
    (b"BPG\xfb", "BPG"),
    (b"\xd7\xcd\xc6\x9a", "Windows metafile"),
)
_FTYP_BRANDS: tuple[tuple[frozenset[bytes], str], ...] = (
    (frozenset({b"avif", b"avis"}), "AVIF"),
    (frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}), "HEIC"),
    (frozenset({b"crx "}), "Canon RAW (CR3)"),
)
_RIFF_KINDS = {b"WEBP": "WEBP", b"AVI ": "AVI video", b"WAVE": "WAV audio"}
_MARKUP = re.compile(rb"^(\xef\xbb\xbf)?\s*<")
_PNM = re.compile(rb"^P[1-7][\s#]")
_HTML = re.compile(rb"^\s*(<!doctype html|<html|<head|<body)", re.IGNORECASE)
_NOT_IMAGES: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (_HTML, "an HTML page"),
    (re.compile(rb"^\s*<\?xml", re.IGNORECASE), "XML"),
    (re.compile(rb"^PK\x03\x04"), "a ZIP archive"),
    (re.compile(rb"^\x1f\x8b"), "a gzip archive"),
    (re.compile(rb"^\x7fELF|^MZ"), "a program"),
    (re.compile(rb"^\0+$"), "nothing but zero bytes"),
)


def recognise(data: bytes) -> str:
    """Give the format's name, one of `HANDLED` or another in words; empty when it is not a format known."""
    head = data[:1024]
    by_prefix = next((name for prefix, name in _PREFIXES if head.startswith(prefix)), "")
    if head[128:132] == b"DICM":  # before it may stand anything, a TIFF header for one
        return "DICOM"
    return by_prefix or _by_box(head) or _by_text(head)


def _by_box(head: bytes) -> str:
    """Recognise containers that have their name after a length."""
    if head[4:8] == b"ftyp":
        return _iso_media(head)
    if head[4:8] in (b"moov", b"mdat", b"wide", b"skip"):
        return "QuickTime video"
    if head[:4] in (b"RIFF", b"RIFX"):
        return _RIFF_KINDS.get(head[8:12], "")
    is_flic = head[4:6] in (b"\x11\xaf", b"\x12\xaf") and head[6:8] != b"\0\0"
    return "FLIC animation" if is_flic else ""


def _by_text(head: bytes) -> str:
    if _MARKUP.match(head) and b"<svg" in head and not _HTML.match(head):
        return "SVG"
    return "portable anymap (PNM)" if _PNM.match(head) else ""


def _iso_media(head: bytes) -> str:
    box_size = min(int.from_bytes(head[:4], "big"), len(head))
    compatible = (head[at : at + 4] for at in range(16, box_size - 3, 4))  # from 12 on stands a version
    brands = [head[8:12], *compatible]
    for brand in brands:
        for known, name in _FTYP_BRANDS:
            # mif1 only says "a HEIF picture"; a later brand tells the codec.
            if brand in known and not (brand in (b"mif1", b"msf1") and b"avif" in brands):
                return name
    return "MP4 or QuickTime video"


def contradiction(suffix: str, image_format: str) -> str:
    """Say in words that a file's suffix (with its dot) names another format than it is in, or nothing."""
    named = _FORMAT_OF_SUFFIX.get(suffix.lower(), image_format)
    return f"named {suffix.lower()}, but is {image_format}" if image_format and named != image_format else ""


def resemblance(data: bytes) -> str:
    """Say in words what unrecognised bytes look like, or nothing."""
    head = data[:512]
    for pattern, name in _NOT_IMAGES:
        if pattern.match(head):
            return name
    text = sum(32 <= byte < 127 or byte in b"\t\r\n" for byte in head)
    return "text" if head and text > 0.95 * len(head) else ""


AS_IT_IS = "as it is"
_FIRST = "the first picture"
_WITH_EXTRA = "needs the extra `heic`"
_BY_RANGE = "from the smallest to the largest"

JUDGED: tuple[tuple[str, str, str], ...] = (
    ("JPEG", "baseline", AS_IT_IS),
    ("JPEG", "progressive", AS_IT_IS),
    ("JPEG", "restart markers", AS_IT_IS),
    ("JPEG", "grey", AS_IT_IS),
    ("JPEG", "CMYK", "inks are inverted, as Adobe does and all writers follow"),
    ("JPEG", "several pictures (MPO)", _FIRST),
    ("PNG", "8 bits", AS_IT_IS),
    ("PNG", "interlaced", AS_IT_IS),
    ("PNG", "palette", AS_IT_IS),
    ("PNG", "16 bits", AS_IT_IS),
    ("PNG", "12 bits in 16", "by the bits in use"),
    ("PNG", "animation (APNG)", _FIRST),
    ("WebP", "lossy", AS_IT_IS),
    ("WebP", "lossless", AS_IT_IS),
    ("WebP", "animation", _FIRST),
    ("TIFF", "strips", AS_IT_IS),
    ("TIFF", "tiles", AS_IT_IS),
    ("TIFF", "LZW", AS_IT_IS),
    ("TIFF", "Deflate", AS_IT_IS),
    ("TIFF", "JPEG inside", AS_IT_IS),
    ("TIFF", "CMYK", AS_IT_IS),
    ("TIFF", "16 bits", AS_IT_IS),
    ("TIFF", "12 bits in 16", "by the bits in use"),
    ("TIFF", "12 bits, packed", "by the bits in use"),
    ("TIFF", "five bands", "the first three"),
    ("TIFF", "in planes", AS_IT_IS),
    ("TIFF", "floating point, 0 to 1", AS_IT_IS),
    ("TIFF", "floating point, colour", AS_IT_IS),
    ("TIFF", "thermal, 16 bits (kelvin x 100)", _BY_RANGE),
    ("TIFF", "thermal, degrees Celsius", _BY_RANGE),
    ("TIFF", "several pages", "the first page"),
    ("BMP", "24 bits", AS_IT_IS),
    ("BMP", "run-length", AS_IT_IS),
    ("GIF", "one picture", AS_IT_IS),
    ("GIF", "animation", _FIRST),
    ("AVIF", "one picture", AS_IT_IS),
    ("AVIF", "animation", _FIRST),
    ("HEIC", "8 bits", _WITH_EXTRA),
    ("HEIC", "10 bits", _WITH_EXTRA),
    ("HEIC", "several pictures", f"{_WITH_EXTRA}; the primary picture"),
)
"""Format, kind, and what is made of it."""

NAMED: tuple[str, ...] = (
    "Canon RAW (CR2)",
    "Canon RAW (CR3)",
    "Nikon RAW (NEF)",
    "Sony RAW (ARW)",
    "Pentax RAW (PEF)",
    "Samsung RAW (SRW)",
    "Digital Negative RAW (DNG)",
    "Olympus RAW",
    "Panasonic RAW",
    "Fujifilm RAW",
    "Sigma RAW",
    "Minolta RAW",
    "JPEG 2000",
    "JPEG XL",
    "Photoshop document",
    "OpenEXR",
    "DICOM",
    "SVG",
    "PDF",
    "MP4 or QuickTime video",
)
"""What is recognised and reported as `unsupported`, among others."""
