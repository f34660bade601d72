"""The extension modules in C; pyproject.toml has all else. Without a compiler, the package is built without them."""

from glob import glob

from setuptools import Extension, setup

QUALITY = "imageguard_daemon/quality"
FEATURES = f"{QUALITY}/features/native"


def features(name: str, *options: str) -> Extension:
    """Give the features of `quality/features` in C, the same numbers several times as fast."""
    return Extension(
        f"imageguard_daemon.quality.features.{name}",
        sorted(glob(f"{FEATURES}/*.c")),
        depends=glob(f"{FEATURES}/*.h"),
        extra_compile_args=[
            *(f"-DMODULE={name}", *options, "-std=c11", "-O3", "-fno-math-errno", "-fno-trapping-math"),
            "-Wno-psabi",  # vectors are passed between inlined functions only: no other code has to agree how
        ],
        py_limited_api=True,
        optional=True,
    )


setup(
    ext_modules=[
        features("_native"),
        features("_native_avx2", "-mavx2"),  # for processors with AVX2, where the compiler knows of them
        # Strict JPEG decoding where simplejpeg cannot be had; built where libjpeg's headers are (Debian: libjpeg-dev).
        Extension(
            "imageguard_daemon.quality.decode._jpeg",
            [f"{QUALITY}/decode/native/jpeg.c"],
            libraries=["jpeg"],
            extra_compile_args=["-std=c11", "-O2"],
            py_limited_api=True,
            optional=True,
        ),
    ],
)
