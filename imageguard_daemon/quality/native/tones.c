#include "pixels.h"

enum { SMALL_LONG_SIDE = 256, LEVELS = 256, QUANTILES = 11, ENDS = 8, CELLS = 12 };
static const double TONE_SHARES[QUANTILES] = {0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999};
static const int DARKER[ENDS] = {2, 8, 16, 24, 32, 48, 64, 96}, BRIGHTER[ENDS] = {160, 192, 208, 224, 236, 244, 249, 253};
enum { BLACK = 4, WHITE = 251 };
static const float ROUNDING = 1e-6f; /* of single precision, which must not look like contrast */
enum { BLOWN = 250, CRUSHED = 6, REACH = 4, WINDOW = 2 * REACH + 1, AREA_COUNT = 6, SPREAD_COUNT = 3 };

static ptrdiff_t reflected(ptrdiff_t at, ptrdiff_t size)
{
    while (at < 0 || at >= size) at = size == 1 ? 0 : at < 0 ? -at : 2 * size - 2 - at;
    return at;
}

/* Let one row into the sums of levels and of their squares for each column, and another out of them. */
static void exchange_rows(const uint8_t *in, const uint8_t *out, ptrdiff_t width, int32_t *sums, int32_t *squares)
{
    for (ptrdiff_t x = 0; x < width; x++) {
        sums[x] += in[x] - out[x];
        squares[x] += in[x] * in[x] - out[x] * out[x];
    }
}

/* Sums over nine neighbours of a row, reflected at its ends; `wide` has room for the row and 8 more. */
static void sum_nine(const int32_t *row, ptrdiff_t width, int32_t *wide, int32_t *found)
{
    memcpy(wide + REACH, row, (size_t)width * sizeof *wide);
    for (ptrdiff_t i = 1; i <= REACH; i++) {
        wide[REACH - i] = row[reflected(-i, width)];
        wide[REACH + width - 1 + i] = row[reflected(width - 1 + i, width)];
    }
    for (ptrdiff_t i = 0; i < width + 6; i++) wide[i] += wide[i + 1] + wide[i + 2];
    for (ptrdiff_t x = 0; x < width; x++) found[x] = wide[x] + wide[x + 3] + wide[x + 6];
}

/* Add up local contrast and pixels of one row: everywhere, where it is dark, where it is bright. */
static void add_contrast(const int32_t *sums, const int32_t *squares, ptrdiff_t width, double *totals, double *counts)
{
    enum { PIXELS = WINDOW * WINDOW };
    const float whole = 1.0f / (PIXELS * 255), squared = whole * whole;
    float local[SPREAD_COUNT] = {0};
    int dark = 0, bright = 0;
    for (ptrdiff_t x = 0; x < width; x++) {
        float level = (float)sums[x] * whole, variance = (float)(PIXELS * squares[x] - sums[x] * sums[x]) * squared - ROUNDING;
        float contrast = sqrtf(variance > 0 ? variance : 0);
        int is_dark = level < 0.2f, is_bright = level > 0.8f;
        local[0] += contrast;
        local[1] += is_dark ? contrast : 0, dark += is_dark;
        local[2] += is_bright ? contrast : 0, bright += is_bright;
    }
    for (int i = 0; i < SPREAD_COUNT; i++) totals[i] += local[i];
    counts[0] += (double)width, counts[1] += dark, counts[2] += bright;
}

/* The spread of levels within 9 x 9 px, the picture reflected at its borders; all sums are whole numbers.
 * `scratch` has five rows and their borders. */
static void local_contrast(Grey small, int32_t *scratch, float *found)
{
    ptrdiff_t height = small.height, width = small.width;
    int32_t *sums = scratch, *squares = sums + width, *nine = squares + width, *nine_squares = nine + width;
    int32_t *wide = nine_squares + width;
    double totals[SPREAD_COUNT] = {0}, counts[SPREAD_COUNT] = {0};
    memset(sums, 0, (size_t)(2 * width) * sizeof *sums);
    for (ptrdiff_t y = -REACH; y < REACH; y++) /* against a row of zeros, which `nine` is for now */
        exchange_rows(small.start + reflected(y, height) * width, memset(nine, 0, (size_t)width), width, sums, squares);
    for (ptrdiff_t y = 0; y < height; y++) {
        const uint8_t *in = small.start + reflected(y + REACH, height) * width;
        const uint8_t *out = y ? small.start + reflected(y - REACH - 1, height) * width : memset(nine, 0, (size_t)width);
        exchange_rows(in, out, width, sums, squares);
        sum_nine(sums, width, wide, nine), sum_nine(squares, width, wide, nine_squares);
        add_contrast(nine, nine_squares, width, totals, counts);
    }
    for (int i = 0; i < SPREAD_COUNT; i++) found[i] = counts[i] > 0 ? (float)sqrt(totals[i] / counts[i]) : 0;
}

static int32_t root_of(int32_t *parents, int32_t at)
{
    while (parents[at] != at) at = parents[at] = parents[parents[at]];
    return at;
}

static void join(int32_t *parents, int32_t a, int32_t b)
{
    a = root_of(parents, a), b = root_of(parents, b);
    if (a < b) parents[b] = a;
    else parents[a] = b;
}

/* Count the pieces, corners touching, of the pixels that have one value in a mask, and the pixels of the largest. */
static ptrdiff_t pieces(const uint8_t *mask, uint8_t value, ptrdiff_t height, ptrdiff_t width, int32_t *parents,
                        int32_t *sizes, ptrdiff_t *largest)
{
    for (ptrdiff_t y = 0; y < height; y++)
        for (ptrdiff_t x = 0; x < width; x++) {
            int32_t at = (int32_t)(y * width + x);
            parents[at] = at, sizes[at] = 0;
            if (mask[at] != value) continue;
            if (x && mask[at - 1] == value) join(parents, at, at - 1);
            if (!y) continue;
            for (ptrdiff_t side = x ? -1 : 0; side <= (x + 1 < width ? 1 : 0); side++) {
                int32_t above = (int32_t)(at - width + side);
                if (mask[above] == value) join(parents, at, above);
            }
        }
    ptrdiff_t count = 0;
    *largest = 0;
    for (int32_t at = 0; at < height * width; at++) {
        if (mask[at] != value) continue;
        count += parents[at] == at;
        *largest = larger(*largest, ++sizes[root_of(parents, at)]);
    }
    return count;
}

/* The interpolated quantile of the levels that are not in the mask. */
static double quantile_of_rest(const uint8_t *mask, Grey small, ptrdiff_t rest, double share)
{
    ptrdiff_t histogram[256] = {0}, below = (ptrdiff_t)(share * (double)(rest - 1)), seen = 0;
    double part = share * (double)(rest - 1) - (double)below;
    for (ptrdiff_t i = 0; i < small.height * small.width; i++)
        if (!mask[i]) histogram[small.start[i]]++;
    int low = -1, high = -1;
    for (int level = 0; level < 256 && high < 0; level++) {
        seen += histogram[level];
        if (low < 0 && seen > below) low = level;
        if (seen > smaller(below + 1, rest - 1)) high = level;
    }
    return low + (high - low) * part;
}

/* What is blown or crushed: area, outline, border, largest piece, islands, the other end. */
static void area(const uint8_t *mask, Grey small, int is_bright, int32_t *parents, int32_t *sizes, float *found)
{
    ptrdiff_t height = small.height, width = small.width, size = height * width, count = 0, changes = 0, border = 0;
    for (ptrdiff_t i = 0; i < size; i++) count += mask[i];
    float nothing[AREA_COUNT] = {(float)sqrt((double)count / (double)size), 0, 0, 1, 0, 0};
    memcpy(found, nothing, sizeof nothing);
    if ((double)count < 0.002 * (double)size) return;
    for (ptrdiff_t y = 0; y < height; y++)
        for (ptrdiff_t x = 0; x < width; x++) {
            ptrdiff_t at = y * width + x;
            if (y) changes += mask[at] != mask[at - width];
            if (x) changes += mask[at] != mask[at - 1];
        }
    for (ptrdiff_t x = 0; x < width; x++) border += mask[x] + mask[size - width + x];
    for (ptrdiff_t y = 0; y < height; y++) border += mask[y * width] + mask[y * width + width - 1];
    ptrdiff_t largest, ignored;
    pieces(mask, 1, height, width, parents, sizes, &largest);
    ptrdiff_t islands = pieces(mask, 0, height, width, parents, sizes, &ignored);
    found[1] = (float)log((double)changes / (double)count + 0.003);
    found[2] = (float)border / (float)(2 * (height + width));
    found[3] = (float)largest / (float)count;
    found[4] = (float)log((double)islands / sqrt((double)count) + 0.003);
    ptrdiff_t rest = size - count;
    found[5] = rest > 30 ? (float)(quantile_of_rest(mask, small, rest, is_bright ? 0.1 : 0.9) / 255) : 0.5f;
}

static int look_at_light(Grey small, float *found)
{
    size_t size = (size_t)(small.height * small.width);
    int32_t *scratch = malloc((2 * size + 5 * (size_t)small.width + 2 * REACH) * sizeof *scratch);
    uint8_t *mask = calloc(size, 1);
    int result = scratch && mask ? 0 : OUT_OF_MEMORY;
    if (!result) {
        int32_t *parents = scratch, *sizes = parents + size;
        local_contrast(small, scratch, found);
        for (size_t i = 0; i < size; i++) mask[i] = small.start[i] >= BLOWN;
        area(mask, small, 1, parents, sizes, found + SPREAD_COUNT);
        for (size_t i = 0; i < size; i++) mask[i] = small.start[i] <= CRUSHED;
        area(mask, small, 0, parents, sizes, found + SPREAD_COUNT + AREA_COUNT);
    }
    free(scratch), free(mask);
    return result;
}

/* How much of each pixel of a line lies in each cell of a coarser one: the first pixel, how many, and their weights. */
typedef struct {
    ptrdiff_t first, count;
    float *weights;
} Cell;

static Cell *cells_of(ptrdiff_t pixels, ptrdiff_t count)
{
    double scale = (double)pixels / (double)count;
    ptrdiff_t most = (ptrdiff_t)ceil(scale) + 2;
    Cell *cells = malloc((size_t)count * (sizeof *cells + (size_t)most * sizeof(float)));
    if (!cells) return NULL;
    float *weights = (float *)(cells + count);
    for (ptrdiff_t i = 0; i < count; i++, weights += most) {
        double start = (double)i * scale, end = fmin((double)(i + 1) * scale, (double)pixels);
        cells[i] = (Cell){(ptrdiff_t)(start + 1e-9), 0, weights};
        for (ptrdiff_t at = cells[i].first; (double)at < end - 1e-9; at++) {
            double part = fmin(end, (double)(at + 1)) - fmax(start, (double)at);
            weights[cells[i].count++] = (float)(part / (end - start));
        }
    }
    return cells;
}

static void add_weighted(const uint8_t *row, ptrdiff_t width, float weight, float *to)
{
    for (ptrdiff_t x = 0; x < width; x++) to[x] += weight * row[x];
}

/* Average eight rows, given one in each place of `columns`, over areas to fewer columns; `found` has eight rows. */
static void average_along(const Eight *columns, const Cell *cells, ptrdiff_t width, float *const found[8])
{
    for (ptrdiff_t first = 0; first < width; first += 8) {
        Eight sums[8] = {{0}};
        for (ptrdiff_t x = first; x < smaller(first + 8, width); x++) {
            const Eight *column = columns + cells[x].first;
            for (ptrdiff_t i = 0; i < cells[x].count; i++) sums[x - first] += cells[x].weights[i] * column[i];
        }
        transpose(sums);
        for (int row = 0; row < 8; row++)
            if (first + 8 <= width) memcpy(found[row] + first, sums + row, sizeof sums[row]);
            else memcpy(found[row] + first, sums + row, (size_t)(width - first) * sizeof(float));
    }
}

/* `width` is a multiple of eight. */
static void turn_rows(const float *rows, ptrdiff_t width, Eight *columns)
{
    for (ptrdiff_t first = 0; first < width; first += 8) {
        Eight part[8];
        for (int row = 0; row < 8; row++) memcpy(part + row, rows + row * width + first, sizeof part[row]);
        transpose(part);
        memcpy(columns + first, part, sizeof part);
    }
}

/* Average over areas to fewer rows and columns, eight rows at a time. */
static int average(Grey from, ptrdiff_t height, ptrdiff_t width, float *found)
{
    Cell *down = cells_of(from.height, height), *right = cells_of(from.width, width);
    ptrdiff_t whole = (from.width + 7) / 8 * 8;
    float *sums = malloc((size_t)(8 * whole + width) * sizeof *sums), *unwanted = sums + 8 * whole;
    Eight *columns = aligned_alloc(sizeof *columns, (size_t)whole * sizeof *columns);
    int result = down && right && sums && columns ? 0 : OUT_OF_MEMORY;
    for (ptrdiff_t top = 0; !result && top < height; top += 8) {
        float *rows[8];
        memset(sums, 0, (size_t)(8 * whole) * sizeof *sums);
        for (int row = 0; row < 8; row++) {
            ptrdiff_t y = top + row;
            rows[row] = y < height ? found + y * width : unwanted;
            for (ptrdiff_t i = 0; y < height && i < down[y].count; i++)
                add_weighted(from.start + (down[y].first + i) * from.width, from.width, down[y].weights[i],
                             sums + row * whole);
        }
        turn_rows(sums, whole, columns);
        average_along(columns, right, width, rows);
    }
    free(down), free(right), free(sums), free(columns);
    return result;
}

static void round_levels(const float *levels, ptrdiff_t count, uint8_t *found)
{
    for (ptrdiff_t i = 0; i < count; i++) found[i] = (uint8_t)(int)rintf(levels[i]);
}

static void half_row(const uint8_t *upper, const uint8_t *lower, ptrdiff_t width, uint8_t *half)
{
    for (ptrdiff_t x = 0; x < width; x++)
        half[x] = (uint8_t)((upper[2 * x] + upper[2 * x + 1] + lower[2 * x] + lower[2 * x + 1] + 2) >> 2);
}

/* Reduce to a long side of at most 256 px, into memory that holds the picture itself and as much in floats. */
static int reduce(Grey grey, uint8_t *pixels, float *averaged, Grey *small)
{
    *small = grey;
    while (larger(small->height, small->width) >= 2 * SMALL_LONG_SIDE && smaller(small->height, small->width) >= 2) {
        ptrdiff_t height = small->height / 2, width = small->width / 2;
        for (ptrdiff_t y = 0; y < height; y++) /* what is written lies before what is still to be read */
            half_row(small->start + 2 * y * small->width, small->start + (2 * y + 1) * small->width, width, pixels + y * width);
        *small = (Grey){pixels, height, width, width, 1};
    }
    double scale = (double)SMALL_LONG_SIDE / (double)larger(small->height, small->width);
    if (scale >= 1) return 0;
    ptrdiff_t height = larger(1, (ptrdiff_t)rint((double)small->height * scale));
    ptrdiff_t width = larger(1, (ptrdiff_t)rint((double)small->width * scale));
    if (average(*small, height, width, averaged)) return OUT_OF_MEMORY;
    round_levels(averaged, height * width, pixels);
    *small = (Grey){pixels, height, width, width, 1};
    return 0;
}

/* How the light is spread: over the picture, over its cells, between middle and border. */
static int spread(Grey small, float *found)
{
    ptrdiff_t size = small.height * small.width;
    int64_t sum = 0, squares = 0;
    float cells[CELLS * CELLS];
    if (average(small, CELLS, CELLS, cells)) return OUT_OF_MEMORY;
    for (ptrdiff_t i = 0; i < size; i++) sum += small.start[i], squares += small.start[i] * small.start[i];
    double mean = (double)sum / (double)size, total = 0, total_squares = 0, middle = 0;
    found[0] = (float)(sqrt(fmax((double)squares / (double)size - mean * mean, 0)) / 255);
    for (int y = 0; y < CELLS; y++)
        for (int x = 0; x < CELLS; x++) {
            double level = cells[y * CELLS + x] / 255;
            total += level, total_squares += level * level;
            if (x >= 3 && x < CELLS - 3 && y >= 3 && y < CELLS - 3) middle += level;
        }
    mean = total / (CELLS * CELLS);
    found[1] = (float)sqrt(fmax(total_squares / (CELLS * CELLS) - mean * mean, 0));
    found[2] = (float)(middle / 36 - (total - middle) / 108);
    return 0;
}

static void count_levels(Grey grey, double *histogram)
{
    uint32_t counts[4][LEVELS] = {{0}}; /* four, so that one count need not wait for the one before */
    ptrdiff_t size = grey.height * grey.width, i = 0;
    for (; i + 4 <= size; i += 4)
        for (int k = 0; k < 4; k++) counts[k][grey.start[i + k]]++;
    for (; i < size; i++) counts[0][grey.start[i]]++;
    for (int level = 0; level < LEVELS; level++)
        histogram[level] = (double)(counts[0][level] + counts[1][level] + counts[2][level] + counts[3][level]) / (double)size;
}

static float *tone_curve(const double *histogram, double *facts, float *found)
{
    double cumulative[LEVELS], sum = 0, most = 0;
    int levels[QUANTILES], tallest = 0, used = 0;
    for (int level = 0; level < LEVELS; level++) {
        cumulative[level] = sum += histogram[level];
        if (histogram[level] > most) most = histogram[level], tallest = level;
    }
    cumulative[LEVELS - 1] = 1;
    for (int i = 0; i < QUANTILES; i++) {
        levels[i] = 0;
        while (cumulative[levels[i]] < TONE_SHARES[i]) levels[i]++;
        *found++ = (float)levels[i] / 255;
    }
    double told[FACT_COUNT] = {cumulative[BLACK], fmax(0, 1 - cumulative[WHITE - 1]), levels[1], levels[5], levels[9]};
    memcpy(facts, told, sizeof told);
    for (int i = 0; i < ENDS; i++) *found++ = (float)sqrt(cumulative[DARKER[i]]);
    for (int i = 0; i < ENDS; i++) *found++ = (float)sqrt(fmax(0, 1 - cumulative[BRIGHTER[i]]));
    for (int level = levels[1]; level <= levels[9]; level++) used += histogram[level] > 0.02 / 256;
    *found++ = (float)used / (float)(levels[9] - levels[1] + 1);
    *found++ = (float)sqrt(most);
    *found++ = (float)tallest / 255;
    return found;
}

int tonal_features(Grey working, double *facts, float *found)
{
    size_t size = (size_t)(working.height * working.width);
    double histogram[LEVELS];
    uint8_t *pixels = malloc(size);
    float *averaged = malloc(size * sizeof *averaged);
    Grey small;
    count_levels(working, histogram);
    found = tone_curve(histogram, facts, found);
    int result = pixels && averaged ? reduce(working, pixels, averaged, &small) : OUT_OF_MEMORY;
    if (!result) result = spread(small, found);
    if (!result) result = look_at_light(small, found + 3);
    free(pixels), free(averaged);
    return result;
}
