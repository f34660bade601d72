"""Which kinds of file are judged, and how; docs/formats.md is made from it, and a test makes and judges each row."""

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
    *("Canon RAW (CR2)", "Canon RAW (CR3)", "Nikon RAW (NEF)", "Sony RAW (ARW)", "Pentax RAW (PEF)"),
    *("Samsung RAW (SRW)", "Digital Negative RAW (DNG)", "Olympus RAW", "Panasonic RAW", "Fujifilm RAW", "Sigma RAW"),
    *("Minolta RAW", "JPEG 2000", "JPEG XL", "Photoshop document", "OpenEXR", "DICOM", "SVG", "PDF"),
    "MP4 or QuickTime video",
)
"""What is recognised and reported as `unsupported`, among others."""
