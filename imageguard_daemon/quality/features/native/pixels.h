/* What the features in C share: a view of grey pixels, and order statistics.
 *
 * Each file here does what the Python module of its name does, which is the reference and has the reasons; a test holds
 * one against the other. Nothing here keeps anything between calls. */
#ifndef IMAGEGUARD_PIXELS_H
#define IMAGEGUARD_PIXELS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Numbers that are worked on together; compilers make what the processor has of it. */
#if !defined(__GNUC__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "needs vectors as GCC and Clang have them, and the lowest byte first"
#endif
typedef float Eight __attribute__((vector_size(32)));
typedef int32_t EightPlaces __attribute__((vector_size(32)));
typedef uint8_t Levels __attribute__((vector_size(32)));

/* Eight levels, the first in the lowest byte, as numbers. Turn a square of eight times eight numbers.
 *
 * The one thing that compilers make badly of vectors longer than the processor's is moving numbers about in them. */
#if defined(__AVX2__)
#include <immintrin.h>
static inline void to_numbers(uint64_t levels, Eight *found)
{
    *found = (Eight)_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128((int64_t)levels)));
}

static inline void transpose(Eight rows[8])
{
    __m256 pairs[8], quads[8];
    for (int i = 0; i < 8; i += 2) {
        pairs[i] = _mm256_unpacklo_ps((__m256)rows[i], (__m256)rows[i + 1]);
        pairs[i + 1] = _mm256_unpackhi_ps((__m256)rows[i], (__m256)rows[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int k = 0; k < 2; k++) {
            quads[i + 2 * k] = _mm256_shuffle_ps(pairs[i + k], pairs[i + 2 + k], 0x44);
            quads[i + 2 * k + 1] = _mm256_shuffle_ps(pairs[i + k], pairs[i + 2 + k], 0xee);
        }
    for (int i = 0; i < 4; i++) {
        rows[i] = (Eight)_mm256_permute2f128_ps(quads[i], quads[i + 4], 0x20);
        rows[i + 4] = (Eight)_mm256_permute2f128_ps(quads[i], quads[i + 4], 0x31);
    }
}
#else
static inline void to_numbers(uint64_t levels, Eight *found)
{
    uint8_t bytes[8];
    float numbers[8];
    memcpy(bytes, &levels, sizeof bytes);
    for (int i = 0; i < 8; i++) numbers[i] = bytes[i];
    memcpy(found, numbers, sizeof numbers);
}

static inline void transpose(Eight rows[8])
{
    float before[8][8], after[8][8];
    memcpy(before, rows, sizeof before);
    for (int i = 0; i < 8; i++)
        for (int k = 0; k < 8; k++) after[i][k] = before[k][i];
    memcpy(rows, after, sizeof after);
}
#endif

#define OUT_OF_MEMORY (-1)

typedef struct {
    const uint8_t *start;
    ptrdiff_t height, width;
    ptrdiff_t down, right; /* bytes to the next row and to the next column; may be negative */
} Grey;

/* One instruction each; the standard ones are calls, for what they say of numbers that are none. */
static inline float lower(float a, float b) { return a < b ? a : b; }
static inline float higher(float a, float b) { return a > b ? a : b; }
static inline ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
static inline ptrdiff_t larger(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }

/* Order statistics. All reorder `values`; `count` is at least 1. */
float nth_value(float *values, ptrdiff_t count, ptrdiff_t rank);
float quantile_of(float *values, ptrdiff_t count, double share);     /* without interpolation */
void quantiles_of(float *values, ptrdiff_t count, const double *shares, int wanted, float *found); /* of rising shares */
float interpolated_of(float *values, ptrdiff_t count, double share); /* as numpy.quantile */

void to_floats(const uint8_t *levels, ptrdiff_t count, float *found);

/* Average 2 x 2 px to one; an odd last row or column is left out. */
void half_size(const float *pixels, ptrdiff_t height, ptrdiff_t width, float *half);

/* The features. Each gives 0, or OUT_OF_MEMORY. `working` lies row by row without gaps, at least 40 px high and wide. */
enum { BLUR_COUNT = 90, NOISE_COUNT = 23, TONAL_COUNT = 48, FACT_COUNT = 5, LINE_COUNT = 33, GRID_COUNT = 6, COMPRESSION_COUNT = 20, FIT_COUNT = 5 };
int blur_features(Grey working, float *found);
int noise_features(Grey working, float *found);
int exposure_features(Grey working, double *facts, float *found);
int compression_features(Grey native, ptrdiff_t row, ptrdiff_t column, double *fit, float *found);
enum { LONGEST_LINE = 2048 };
/* Lines lie without gaps, at most so many px long; `grids` are where block borders lie along them and how much they stand out. */
int line_features(Grey across, Grey down, double *grids, double *repeated, float *found);

#endif
