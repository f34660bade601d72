"""Whether OpenCV works: several wheels share its folder `cv2`, and removing one of them breaks the others."""

from importlib import import_module, metadata

_WHEELS = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
_NEEDED = ("imdecode", "IMREAD_UNCHANGED", "resize")


def why_opencv_fails() -> str:
    """Say what is wrong with OpenCV and how to repair it; nothing when it can be used."""
    try:
        module = import_module("cv2")
        for name in _NEEDED:
            getattr(module, name)
    except (ImportError, AttributeError) as error:
        removal = "".join(f" {name}" for name in _WHEELS if _is_installed(name))
        removed = f"pip uninstall -y{removal} && " if removal else ""
        return f"OpenCV cannot be used: {error}. To repair it: {removed}pip install opencv-python-headless"
    return ""


def _is_installed(wheel: str) -> bool:
    try:
        metadata.version(wheel)
    except metadata.PackageNotFoundError:
        return False
    return True
