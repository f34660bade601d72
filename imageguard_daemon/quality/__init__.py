"""SCORE and DECIDE: bytes -> pixels -> features -> measures -> scores -> decision."""

OPENCV_ENVIRONMENT = {"OPENCV_LOG_LEVEL": "SILENT", "OPENCV_IO_MAX_IMAGE_PIXELS": str(1 << 29)}
"""What a process that measures and does nothing else has in its environment before it imports cv2.

The pixel limit is a second fence behind Limits.max_pixels, for headers that tell two readers two different sizes. In a
program that uses the library both are that program's.
"""
