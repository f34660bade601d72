#include "pixels.h"

/* Move what is smaller than the pivot, or as large too, before the rest without asking the processor to guess; give
 * where the rest begins. */
static ptrdiff_t partition(float *values, ptrdiff_t low, ptrdiff_t end, float pivot, int or_equal)
{
    for (ptrdiff_t i = low; i < end; i++) {
        float value = values[i];
        values[i] = values[low], values[low] = value;
        low += (value < pivot) | (or_equal & (value == pivot));
    }
    return low;
}

static float middle_of(float a, float b, float c) { return higher(lower(a, b), lower(higher(a, b), c)); }

/* Quickselect of values from `low` on, where none is below those before. */
static float nth_from(float *values, ptrdiff_t low, ptrdiff_t count, ptrdiff_t rank)
{
    ptrdiff_t end = count;
    while (end - low > 1) {
        float pivot = middle_of(values[low], values[low + (end - low) / 2], values[end - 1]);
        ptrdiff_t rest = partition(values, low, end, pivot, 0);
        if (rank < rest) {
            end = rest;
            continue;
        }
        low = partition(values, rest, end, pivot, 1);
        if (rank < low) return pivot;
    }
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

void half_size(const uint8_t *levels, ptrdiff_t height, ptrdiff_t width, int16_t *half)
{
    for (ptrdiff_t y = 0; y < height / 2; y++)
        for (ptrdiff_t x = 0; x < width / 2; x += 16) {
            ptrdiff_t at = smaller(x, width / 2 - 16); /* the last ones once more, rather than fewer */
            const uint8_t *upper = levels + 2 * y * width + 2 * at;
            Sixteen above, below;
            memcpy(&above, upper, sizeof above), memcpy(&below, upper + width, sizeof below);
            /* The lower byte of each pair is the pixel on the left. */
            Sixteen sums = (above & 255) + (above >> 8 & 255) + (below & 255) + (below >> 8 & 255);
            memcpy(half + y * (width / 2) + at, &sums, sizeof sums);
        }
}

void quarter_size(const int16_t *pixels, ptrdiff_t height, ptrdiff_t width, int16_t *half)
{
    for (ptrdiff_t y = 0; y < height / 2; y++) {
        const int16_t *upper = pixels + 2 * y * width, *lower = upper + width;
        for (ptrdiff_t x = 0; x < width / 2; x++)
            half[y * (width / 2) + x] = (int16_t)(upper[2 * x] + upper[2 * x + 1] + lower[2 * x] + lower[2 * x + 1]);
    }
}
