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
typedef int16_t Sixteen __attribute__((vector_size(32)));

/* The larger of levels, how far they are apart; sixteen of them as numbers. The sums of each two neighbouring products. Eight levels, the first in the lowest byte, as
 * numbers. Turn a square of eight times eight numbers.
 *
 * What compilers make badly of vectors longer than the processor's is moving numbers about in them. */
#if defined(__AVX2__)
#include <immintrin.h>
static inline Sixteen sixteen_levels(const uint8_t *at)
{
    return (Sixteen)_mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)at));
}

static inline Sixteen sizes(Sixteen numbers) { return (Sixteen)_mm256_abs_epi16((__m256i)numbers); }
static inline Levels larger_levels(Levels a, Levels b) { return (Levels)_mm256_max_epu8((__m256i)a, (__m256i)b); }

static inline Levels apart(Levels a, Levels b)
{
    return (Levels)_mm256_sub_epi8(_mm256_max_epu8((__m256i)a, (__m256i)b), _mm256_min_epu8((__m256i)a, (__m256i)b));
}

static inline EightPlaces products(Sixteen a, Sixteen b) { return (EightPlaces)_mm256_madd_epi16((__m256i)a, (__m256i)b); }

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
static inline Sixteen sixteen_levels(const uint8_t *at)
{
    typedef uint8_t Bytes __attribute__((vector_size(16)));
    Bytes levels;
    memcpy(&levels, at, sizeof levels);
    return __builtin_convertvector(levels, Sixteen);
}

static inline Sixteen sizes(Sixteen numbers) { return (numbers ^ numbers >> 15) - (numbers >> 15); }

static inline Levels larger_levels(Levels a, Levels b)
{
    Levels is_more = (Levels)(a > b);
    return (a & is_more) | (b & ~is_more);
}

static inline Levels apart(Levels a, Levels b)
{
    Levels is_more = (Levels)(a > b);
    return ((a - b) & is_more) | ((b - a) & ~is_more);
}

#if defined(__SSE2__)
#include <emmintrin.h>
static inline EightPlaces products(Sixteen a, Sixteen b)
{
    __m128i left[2], right[2];
    EightPlaces found;
    memcpy(left, &a, sizeof left), memcpy(right, &b, sizeof right);
    for (int i = 0; i < 2; i++) left[i] = _mm_madd_epi16(left[i], right[i]);
    memcpy(&found, left, sizeof found);
    return found;
}
#else
static inline EightPlaces products(Sixteen a, Sixteen b)
{
    EightPlaces left = (EightPlaces)a, right = (EightPlaces)b;
    return (left >> 16) * (right >> 16) + (left << 16 >> 16) * (right << 16 >> 16);
}
#endif

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

static inline int32_t total(EightPlaces sums)
{
    return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

static inline float sum_of(Eight numbers)
{
    return ((numbers[0] + numbers[4]) + (numbers[1] + numbers[5])) + ((numbers[2] + numbers[6]) + (numbers[3] + numbers[7]));
}

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

/* Add up each 2 x 2 px to one; an odd last row or column is left out. Rows of levels are at least 40 px wide. */
void half_size(const uint8_t *levels, ptrdiff_t height, ptrdiff_t width, int16_t *half);
void quarter_size(const int16_t *pixels, ptrdiff_t height, ptrdiff_t width, int16_t *half); /* of such sums */

/* The features. Each gives 0, or OUT_OF_MEMORY. `working` lies row by row without gaps, at least 40 px high and wide. */
enum { BLUR_COUNT = 90, NOISE_COUNT = 23, TONAL_COUNT = 48, FACT_COUNT = 5, LINE_COUNT = 33, GRID_COUNT = 6, BORDER_COUNT = 6, COMPRESSION_COUNT = 20, FIT_COUNT = 5 };
int blur_features(Grey working, float *found);
int noise_features(Grey working, float *found);
int exposure_features(Grey working, double *facts, float *found);
int compression_features(Grey native, ptrdiff_t row, ptrdiff_t column, double *fit, float *found);
enum { LONGEST_LINE = 2048 };
/* Lines lie without gaps, at most so many px long; `grids` are where block borders lie along them and how much they stand out. */
int line_features(Grey across, Grey down, double *grids, double *repeated, float *found);

/* All of them in the order of vector.py's NAMES, and the facts beside them: tones, the grid's fit, repeated pixels. */
enum { SIZE_COUNT = 3, VECTOR_COUNT = BLUR_COUNT + NOISE_COUNT + TONAL_COUNT + BORDER_COUNT + COMPRESSION_COUNT + LINE_COUNT + SIZE_COUNT };
typedef struct {
    double facts[FACT_COUNT], fit[3], repeated;
    float vector[VECTOR_COUNT];
} Taken;

/* Of native pixels that are neighbours in one direction at least, and of the same picture at working size: both as they
 * are stored, at most MOST_NARROW times as long as wide. A picture that is small enough is its own working size. */
enum { MOST_NARROW = 20 };
int all_features(Grey native, Grey working, Taken *taken);

/* The light of the four quarters, the upper ones first; of an odd side the middle is left out. */
void light_of_quarters(Grey working, ptrdiff_t light[4]);

/* What a network of so many layers answers: its ranges and its weights lie in a row. `scratch` has room for two layers of
 * the widest one. Gives where the next network begins. */
const float *network_outputs(const float *network, const ptrdiff_t *widths, int layers, const float *features, float *scratch,
                             ptrdiff_t widest, float *found);

#endif
