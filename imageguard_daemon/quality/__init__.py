"""SCORE and DECIDE: bytes -> pixels -> features -> measures -> scores -> decision."""

import os

# Both are read when cv2 is imported, and every import of cv2 in this package comes after this line. The pixel
# limit is a second fence behind Limits.max_pixels, for headers that tell two readers two different sizes.
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 29))
