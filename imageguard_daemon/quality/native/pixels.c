#include "pixels.h"

static inline void swap(float *a, float *b)
{
    float kept = *a;
    *a = *b;
    *b = kept;
}

/* Hoare's selection, with the median of three as pivot, of values from `low` on that are not below those before. */
static float nth_from(float *values, ptrdiff_t low, ptrdiff_t count, ptrdiff_t rank)
{
    ptrdiff_t high = count - 1;
    while (high - low > 1) {
        ptrdiff_t middle = low + (high - low) / 2, i = low + 1, j = high;
        swap(&values[middle], &values[low + 1]);
        if (values[low] > values[high]) swap(&values[low], &values[high]);
        if (values[low + 1] > values[high]) swap(&values[low + 1], &values[high]);
        if (values[low] > values[low + 1]) swap(&values[low], &values[low + 1]);
        float pivot = values[low + 1];
        for (;;) {
            do i++; while (values[i] < pivot);
            do j--; while (values[j] > pivot);
            if (j < i) break;
            swap(&values[i], &values[j]);
        }
        values[low + 1] = values[j];
        values[j] = pivot;
        if (j >= rank) high = j - 1;
        if (j <= rank) low = i;
    }
    if (high - low == 1 && values[high] < values[low]) swap(&values[low], &values[high]);
    return values[rank];
}

float nth_value(float *values, ptrdiff_t count, ptrdiff_t rank) { return nth_from(values, 0, count, rank); }

float quantile_of(float *values, ptrdiff_t count, double share)
{
    return nth_value(values, count, smaller(count - 1, (ptrdiff_t)(share * (double)count)));
}

void quantiles_of(float *values, ptrdiff_t count, const double *shares, int wanted, float *found)
{
    for (ptrdiff_t i = 0, low = 0; i < wanted; i++) {
        ptrdiff_t rank = smaller(count - 1, (ptrdiff_t)(shares[i] * (double)count));
        found[i] = nth_from(values, low, count, rank);
        low = rank;
    }
}

float interpolated_of(float *values, ptrdiff_t count, double share)
{
    double at = share * (double)(count - 1);
    ptrdiff_t below = (ptrdiff_t)at;
    float low = nth_value(values, count, below);
    if (below + 1 >= count) return low;
    float high = values[below + 1]; /* all behind `below` are at least as large */
    for (ptrdiff_t i = below + 2; i < count; i++)
        if (values[i] < high) high = values[i];
    return (float)(low + ((double)high - low) * (at - (double)below));
}

FOR_ALL_PROCESSORS
void to_floats(const uint8_t *levels, ptrdiff_t count, float *found)
{
    for (ptrdiff_t i = 0; i < count; i++) found[i] = levels[i];
}

FOR_ALL_PROCESSORS
void half_size(const float *pixels, ptrdiff_t height, ptrdiff_t width, float *half)
{
    for (ptrdiff_t y = 0; y < height / 2; y++) {
        const float *upper = pixels + 2 * y * width, *lower = upper + width;
        for (ptrdiff_t x = 0; x < width / 2; x++)
            half[y * (width / 2) + x] = (upper[2 * x] + upper[2 * x + 1] + lower[2 * x] + lower[2 * x + 1]) * 0.25f;
    }
}

void copy_pixels(Grey from, ptrdiff_t top, ptrdiff_t left, ptrdiff_t height, ptrdiff_t width, uint8_t *to)
{
    for (ptrdiff_t y = 0; y < height; y++) {
        const uint8_t *row = from.start + (top + y) * from.down + left * from.right;
        if (from.right == 1 && width == 8)
            memcpy(to + y * 8, row, 8); /* one move, not a call */
        else if (from.right == 1)
            memcpy(to + y * width, row, (size_t)width);
        else
            for (ptrdiff_t x = 0; x < width; x++) to[y * width + x] = row[x * from.right];
    }
}
