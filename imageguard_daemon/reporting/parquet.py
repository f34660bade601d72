"""A report's groups as a Parquet file; needs the extra `parquet`."""

from imageguard_daemon.core.errors import UsageError
from imageguard_daemon.reporting.rendering import NUMBERS, as_rows, columns
from imageguard_daemon.reporting.report import Report

_TYPES = {"total": "int64", "rejected": "int64", "rate": "float64", "low": "float64", "high": "float64"}


def as_parquet(report: Report) -> bytes:
    """Give the rows of the CSV with their types; names are as in the log, since nothing runs a formula there.

    Raises:
        UsageError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise UsageError("--format parquet needs pyarrow: pip install 'imageguard-daemon[parquet]'") from error
    schema = pa.schema([(name, _TYPES[name] if name in NUMBERS else "string") for name in columns(report)])
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(as_rows(report)), schema=schema), sink)
    return bytes(sink.getvalue().to_pybytes())
