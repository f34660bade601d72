#include "pixels.h"

enum { LINES = 512, CELL = 16, BEYOND = 20, FEWEST = 40 };
static const double NOT_FOUND = 1.5;

static ptrdiff_t light_of(Grey grey, ptrdiff_t top, ptrdiff_t left)
{
    ptrdiff_t sum = 0;
    for (ptrdiff_t y = top; y < top + grey.height / 2; y++) {
        const uint8_t *row = grey.start + y * grey.width + left;
        uint32_t of_row = 0;
        for (ptrdiff_t x = 0; x < grey.width / 2; x++) of_row += row[x];
        sum += of_row;
    }
    return sum;
}

void light_of_quarters(Grey working, ptrdiff_t light[4])
{
    ptrdiff_t below = working.height - working.height / 2, beside = working.width - working.width / 2;
    light[0] = light_of(working, 0, 0), light[1] = light_of(working, 0, beside);
    light[2] = light_of(working, below, 0), light[3] = light_of(working, below, beside);
}

/* A turn or flip after which a picture is not higher than wide, and lightest at the top and on the left. */
typedef struct {
    int flips_rows, flips_columns, lies;
} Turn;

static Turn upright(Grey working)
{
    ptrdiff_t light[4];
    light_of_quarters(working, light);
    ptrdiff_t below = light[2] + light[3] - (light[0] + light[1]), right = light[1] + light[3] - (light[0] + light[2]);
    int is_steeper = working.height == working.width && llabs(right) > llabs(below);
    return (Turn){below > 0, right > 0, working.height > working.width || is_steeper};
}

static Grey turned(Grey grey, Turn turn)
{
    if (turn.flips_rows) grey.start += (grey.height - 1) * grey.down, grey.down = -grey.down;
    if (turn.flips_columns) grey.start += (grey.width - 1) * grey.right, grey.right = -grey.right;
    return turn.lies ? (Grey){grey.start, grey.width, grey.height, grey.right, grey.down} : grey;
}

static int is_dense(Grey grey) { return grey.right == 1 && grey.down == grey.width; }

/* Lay out one cell pixel by pixel, and what is left of one at the borders. */
static void lay_cell(Grey from, ptrdiff_t top, ptrdiff_t left, uint8_t *found)
{
    for (ptrdiff_t y = top; y < smaller(top + CELL, from.height); y++)
        for (ptrdiff_t x = left; x < smaller(left + CELL, from.width); x++)
            found[y * from.width + x] = from.start[y * from.down + x * from.right];
}

#if defined(__SSE2__)
/* Lay out a whole cell whose columns lie in memory as rows do, forwards or backwards. */
static void lay_whole_cell(Grey from, ptrdiff_t top, ptrdiff_t left, uint8_t *found)
{
    __m128i lines[CELL], mixed[CELL];
    ptrdiff_t first = from.down > 0 ? top : top + CELL - 1;
    for (int i = 0; i < CELL; i++)
        lines[i] = _mm_loadu_si128((const __m128i *)(from.start + first * from.down + (left + i) * from.right));
    for (int round = 0; round < 4; round++) { /* shuffled perfectly so many times, lines become columns */
        for (int i = 0; i < CELL / 2; i++) {
            mixed[2 * i] = _mm_unpacklo_epi8(lines[i], lines[i + CELL / 2]);
            mixed[2 * i + 1] = _mm_unpackhi_epi8(lines[i], lines[i + CELL / 2]);
        }
        memcpy(lines, mixed, sizeof lines);
    }
    for (int i = 0; i < CELL; i++)
        _mm_storeu_si128((__m128i *)(found + (from.down > 0 ? top + i : first - i) * from.width + left), lines[i]);
}
#else
static void lay_whole_cell(Grey from, ptrdiff_t top, ptrdiff_t left, uint8_t *found) { lay_cell(from, top, left, found); }
#endif

static void lay_columns(Grey from, uint8_t *found)
{
    int has_gaps = from.down != 1 && from.down != -1;
    for (ptrdiff_t left = 0; left < from.width; left += CELL)
        for (ptrdiff_t top = 0; top < from.height; top += CELL) {
            int is_whole = top + CELL <= from.height && left + CELL <= from.width;
            if (is_whole && !has_gaps) lay_whole_cell(from, top, left, found);
            else lay_cell(from, top, left, found);
        }
}

/* Lay a turned or flipped view out row by row. */
static void lay_out(Grey from, uint8_t *found)
{
    if (from.right != 1 && from.right != -1) {
        lay_columns(from, found);
        return;
    }
    for (ptrdiff_t y = 0; y < from.height; y++) {
        const uint8_t *row = from.start + y * from.down;
        uint8_t *to = found + y * from.width;
        if (from.right == 1) memcpy(to, row, (size_t)from.width);
        else for (ptrdiff_t x = 0; x < from.width; x++) to[x] = row[-x];
    }
}

/* Give the picture itself when it lies row by row already, else a copy that does, in memory to be freed. */
static int make_dense(Grey from, Grey *dense, uint8_t **memory)
{
    *dense = from, *memory = NULL;
    if (is_dense(from)) return 0;
    *memory = malloc((size_t)(from.height * from.width));
    if (!*memory) return OUT_OF_MEMORY;
    lay_out(from, *memory);
    *dense = (Grey){*memory, from.height, from.width, from.width, 1};
    return 0;
}

/* Rows from everywhere, not many more than LINES, and the middle of them, cut at a multiple of 8 px. */
static Grey some_rows(Grey native)
{
    ptrdiff_t every = larger(1, native.height / LINES), start = larger(0, (native.width - LONGEST_LINE) / 2) / 8 * 8;
    return (Grey){native.start + start * native.right, (native.height + every - 1) / every,
                  smaller(LONGEST_LINE, native.width - start), every * native.down, native.right};
}

static int lines_of(Grey native, double *grids, double *repeated, float *found)
{
    Grey across = {0}, down = {0}, on_its_side = {native.start, native.width, native.height, native.right, native.down};
    uint8_t *first = NULL, *second = NULL;
    int result = make_dense(some_rows(native), &across, &first) || make_dense(some_rows(on_its_side), &down, &second);
    result = result ? OUT_OF_MEMORY : line_features(across, down, grids, repeated, found);
    free(first), free(second);
    return result;
}

/* 0 for the worst quality looked for and 1.4 for the best, by the size of the steps. */
static double quality_position(double quality)
{
    double step = quality < 50 ? 50 / quality : 2 - quality / 50;
    return 1 - log(step + 0.1) / log(50.0 / 3 + 0.1);
}

/* What the fit of a grid and its borders add to the features of blocks. */
static void describe_grid(const double *fit, const double *grids, float *found)
{
    const double *column = grids, *row = grids + GRID_COUNT / 2;
    *found++ = (float)(fit[1] > 0.3 ? quality_position(fit[0]) : NOT_FOUND);
    *found++ = (float)fit[1];
    *found++ = (float)log(fit[2] + 1);
    *found++ = fit[1] > 0.5 && fit[2] >= FEWEST;
    *found++ = (float)log(fmin(row[1], column[1]) + 0.02);
    *found++ = (float)log(fmin(row[2], column[2]) + 0.02);
}

/* Numbers only, as the networks could make nothing of anything else. */
static void make_finite(float *found, int count)
{
    for (int i = 0; i < count; i++)
        if (!isfinite(found[i])) found[i] = isnan(found[i]) ? 0 : found[i] > 0 ? BEYOND : -BEYOND;
}

static int features_of_both(Grey native, Grey small, Taken *taken)
{
    double grids[GRID_COUNT], fit[FIT_COUNT];
    float *next = taken->vector, *of_blocks;
    int result = blur_features(small, next);
    next += BLUR_COUNT;
    if (!result) result = noise_features(small, next);
    next += NOISE_COUNT;
    if (!result) result = exposure_features(small, taken->facts, next);
    next += TONAL_COUNT, of_blocks = next + BORDER_COUNT;
    if (!result) result = lines_of(native, grids, &taken->repeated, of_blocks + COMPRESSION_COUNT);
    if (!result) result = compression_features(native, (ptrdiff_t)grids[GRID_COUNT / 2], (ptrdiff_t)grids[0], fit, of_blocks);
    if (result) return result;
    describe_grid(fit, grids, next);
    memcpy(taken->fit, fit, sizeof taken->fit);
    next = of_blocks + COMPRESSION_COUNT + LINE_COUNT;
    *next++ = (float)log((double)(native.height * native.width));
    *next++ = (float)log((double)smaller(small.height, small.width));
    *next++ = (float)log((double)larger(native.height, native.width) / (double)larger(small.height, small.width));
    make_finite(taken->vector, VECTOR_COUNT);
    return 0;
}

int all_features(Grey native, Grey working, Taken *taken)
{
    Turn turn = upright(working); /* the native one is turned with it: both must be looked at from the same side */
    Grey small;
    uint8_t *memory;
    if (make_dense(turned(working, turn), &small, &memory)) return OUT_OF_MEMORY;
    int is_same = native.start == working.start && native.height == working.height && native.width == working.width;
    int result = features_of_both(is_same ? small : turned(native, turn), small, taken);
    free(memory);
    return result;
}
