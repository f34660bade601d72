"""The quick statistics are those of NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from imageguard_daemon.quality.features.tiles import projections, quantile, row_medians, row_quantiles

values = st.floats(-1e4, 1e4, width=32)
vectors = arrays.arrays(np.float32, st.integers(1, 300), elements=values)
tables = arrays.arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 60)), elements=values)


@given(vectors, st.floats(0, 1))
def test_a_quantile_is_the_interpolated_one(vector, share):
    """`quantile` gives what `numpy.quantile` gives, but for rounding."""
    assert quantile(vector, share) == pytest.approx(float(np.quantile(vector.astype(float), share)), rel=1e-5, abs=1e-2)


@given(tables)
def test_medians_are_those_of_the_rows(table):
    """`row_medians` gives what `numpy.median` gives."""
    assert row_medians(table) == pytest.approx(np.median(table, axis=1), rel=1e-5, abs=1e-3)


@given(tables, st.floats(0, 1))
def test_quantiles_of_rows_are_values_of_the_rows(table, share):
    """`row_quantiles` picks the value below which that share of its row lies."""
    picked = row_quantiles(table, (share,))[:, 0]
    expected = np.quantile(table, np.floor(share * table.shape[1]).clip(0, table.shape[1] - 1) / table.shape[1], axis=1)
    assert (picked >= expected - 1e-3).all()
    assert all(value in row for value, row in zip(picked, table, strict=True))


@given(st.integers(0, 700), st.integers(0, 2**32 - 1))
def test_projections_in_parts_are_the_product(rows, seed):
    """However many rows there are, the parts make up the whole."""
    rng = np.random.default_rng(seed)
    values, basis = rng.random((rows, 8), np.float32), rng.random((3, 8), np.float32)
    assert projections(values, basis) == pytest.approx(basis @ values.T, rel=1e-5)
