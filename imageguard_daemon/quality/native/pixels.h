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
typedef int32_t EightPlaces __attribute__((vector_size(32)));
#if defined(__clang__)
#define SHUFFLED(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLED(a, b, ...) __builtin_shuffle(a, b, (EightPlaces){__VA_ARGS__})
#endif
#else
#error "needs vectors as GCC and Clang have them"
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
float interpolated_of(float *values, ptrdiff_t count, double share); /* as numpy.quantile */

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
