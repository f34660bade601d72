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

/* One build serves old and new processors: the loader picks the faster copy of a function. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_ALL_PROCESSORS __attribute__((target_clones("avx2", "default")))
#else
#define FOR_ALL_PROCESSORS
#endif

/* Eight numbers that are worked on together; compilers make what the processor has of it. */
#if defined(__GNUC__)
typedef float Eight __attribute__((vector_size(32)));
typedef uint8_t Levels __attribute__((vector_size(32)));
typedef uint64_t Words __attribute__((vector_size(32)));
typedef int32_t EightPlaces __attribute__((vector_size(32)));
#if defined(__clang__)
#define SHUFFLED(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLED_BYTES(a, places) __builtin_shuffle(a, places)
#define SHUFFLED(a, b, ...) __builtin_shuffle(a, b, (EightPlaces){__VA_ARGS__})
#endif
#else
#error "needs vectors as GCC and Clang have them"
#endif

/* The first four levels of the lower half, and the second four of the upper half. */
static inline __attribute__((always_inline)) void to_eight(const Levels *levels, Eight *found)
{
    const Levels spread = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 20, 20, 20, 20, 21, 21, 21, 21, 22, 22, 22, 22, 23, 23, 23, 23};
    *found = __builtin_convertvector((EightPlaces)SHUFFLED_BYTES(*levels, spread) & 255, Eight);
}

/* Turn a square of eight times eight numbers. */
static inline __attribute__((always_inline)) void transpose(Eight rows[8])
{
    Eight pairs[8], quads[8];
    for (int i = 0; i < 8; i += 2) {
        pairs[i] = SHUFFLED(rows[i], rows[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
        pairs[i + 1] = SHUFFLED(rows[i], rows[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
    }
    for (int i = 0; i < 8; i += 4)
        for (int k = i; k < i + 2; k++) {
            quads[k] = SHUFFLED(pairs[k], pairs[k + 2], 0, 1, 8, 9, 4, 5, 12, 13);
            quads[k + 2] = SHUFFLED(pairs[k], pairs[k + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        }
    for (int i = 0; i < 4; i++) {
        rows[i] = SHUFFLED(quads[i], quads[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        rows[i + 4] = SHUFFLED(quads[i], quads[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
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

void to_floats(const uint8_t *levels, ptrdiff_t count, float *found);

/* Average 2 x 2 px to one; an odd last row or column is left out. */
void half_size(const float *pixels, ptrdiff_t height, ptrdiff_t width, float *half);

/* Copy a rectangle row by row, without gaps. */
void copy_pixels(Grey from, ptrdiff_t top, ptrdiff_t left, ptrdiff_t height, ptrdiff_t width, uint8_t *to);

/* The features. Each gives 0, or OUT_OF_MEMORY. `working` lies row by row without gaps, at least 40 px high and wide. */
enum { SHARPNESS_COUNT = 90, NOISE_COUNT = 23, TONAL_COUNT = 48, FACT_COUNT = 5, LINE_COUNT = 33, GRID_COUNT = 6, COMPRESSION_COUNT = 20, FIT_COUNT = 5 };
int sharpness_features(Grey working, float *found);
int noise_features(Grey working, float *found);
int tonal_features(Grey working, double *facts, float *found);
int compression_features(Grey native, ptrdiff_t row, ptrdiff_t column, double *fit, float *found);
/* Lines lie without gaps; `grids` are where block borders lie along them and how much they stand out. */
int line_features(Grey across, Grey down, double *grids, double *repeated, float *found);

#endif
