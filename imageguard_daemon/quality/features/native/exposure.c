#include "pixels.h"

enum { SMALL_LONG_SIDE = 256, LEVELS = 256, QUANTILES = 11, ENDS = 8, CELLS = 12 };
static const double TONE_SHARES[QUANTILES] = {0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999};
static const int DARKER[ENDS] = {2, 8, 16, 24, 32, 48, 64, 96}, BRIGHTER[ENDS] = {160, 192, 208, 224, 236, 244, 249, 253};
enum { BLACK = 4, WHITE = 251 };
static const float ROUNDING = 1e-6f; /* of single precision, which must not look like contrast */
enum { BLOWN = 250, CRUSHED = 6, REACH = 4, WINDOW = 2 * REACH + 1, AREA_COUNT = 6, SPREAD_COUNT = 3, BEHIND = 8, USUAL = 3 };

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

/* The level and the local contrast at each place of a row, from the sums around it. */
static void contrasts(const int32_t *sums, const int32_t *squares, ptrdiff_t width, float *levels, float *found)
{
    enum { PIXELS = WINDOW * WINDOW };
    const float whole = 1.0f / (PIXELS * 255), squared = whole * whole;
    for (ptrdiff_t x = 0; x < width; x++) {
        float variance = (float)(PIXELS * squares[x] - sums[x] * sums[x]) * squared - ROUNDING;
        levels[x] = (float)sums[x] * whole;
        found[x] = sqrtf(variance > 0 ? variance : 0);
    }
    for (ptrdiff_t x = width; x < width + BEHIND; x++) levels[x] = 0.5f, found[x] = 0; /* neither dark nor bright */
}

/* Add up contrast and places of one row: everywhere, where it is dark, where it is bright; eight side by side. */
static void add_contrast(const float *levels, const float *contrast, ptrdiff_t width, double *totals, double *counts)
{
    Eight local[SPREAD_COUNT] = {{0}}, here, level;
    EightPlaces dark = {0}, bright = {0};
    for (ptrdiff_t x = 0; x < width; x += BEHIND) {
        memcpy(&here, contrast + x, sizeof here), memcpy(&level, levels + x, sizeof level);
        EightPlaces is_dark = level < 0.2f, is_bright = level > 0.8f;
        local[0] += here;
        local[1] += (Eight)((EightPlaces)here & is_dark), dark -= is_dark;
        local[2] += (Eight)((EightPlaces)here & is_bright), bright -= is_bright;
    }
    for (int i = 0; i < SPREAD_COUNT; i++) totals[i] += (double)sum_of(local[i]);
    counts[0] += (double)width, counts[1] += total(dark), counts[2] += total(bright);
}

/* The spread of levels within 9 x 9 px, the picture reflected at its borders; all sums are whole numbers.
 * `scratch` has seven rows and their borders. */
static void local_contrast(Grey small, int32_t *scratch, float *found)
{
    ptrdiff_t height = small.height, width = small.width;
    int32_t *sums = scratch, *squares = sums + width, *nine = squares + width, *nine_squares = nine + width;
    int32_t *wide = nine_squares + width;
    float *levels = (float *)(wide + width + 2 * REACH), *contrast = levels + width + BEHIND;
    double totals[SPREAD_COUNT] = {0}, counts[SPREAD_COUNT] = {0};
    memset(sums, 0, (size_t)(2 * width) * sizeof *sums);
    for (ptrdiff_t y = -REACH; y < REACH; y++) /* against a row of zeros, which `nine` is for now */
        exchange_rows(small.start + reflected(y, height) * width, memset(nine, 0, (size_t)width), width, sums, squares);
    for (ptrdiff_t y = 0; y < height; y++) {
        const uint8_t *in = small.start + reflected(y + REACH, height) * width;
        const uint8_t *out = y ? small.start + reflected(y - REACH - 1, height) * width : memset(nine, 0, (size_t)width);
        exchange_rows(in, out, width, sums, squares);
        sum_nine(sums, width, wide, nine), sum_nine(squares, width, wide, nine_squares);
        contrasts(nine, nine_squares, width, levels, contrast);
        add_contrast(levels, contrast, width, totals, counts);
    }
    for (int i = 0; i < SPREAD_COUNT; i++) found[i] = counts[i] > 0 ? (float)sqrt(totals[i] / counts[i]) : 0;
}

/* Pixels of one value that follow one another in a row, up to `end`, and a run that they are in one piece with. */
typedef struct {
    int32_t end, piece;
} Run;

/* What a mask falls into, corners touching: the pieces of either value, and the pixels of the largest of ones. */
typedef struct {
    ptrdiff_t count[2], largest, runs;
    int32_t *parents, *sizes; /* of each run */
} Pieces;

static int32_t root_of(int32_t *parents, int32_t at)
{
    while (parents[at] != at) at = parents[at] = parents[parents[at]];
    return at;
}

static void join(Pieces *pieces, int32_t a, int32_t b, int value)
{
    a = root_of(pieces->parents, a), b = root_of(pieces->parents, b);
    if (a == b) return;
    pieces->parents[larger(a, b)] = (int32_t)smaller(a, b);
    pieces->sizes[smaller(a, b)] += pieces->sizes[larger(a, b)];
    pieces->count[value]--;
    if (value) pieces->largest = larger(pieces->largest, pieces->sizes[smaller(a, b)]);
}

/* Take in one row, whose runs are joined with those of the row above that they touch; gives how many runs it has. */
static ptrdiff_t add_row(Pieces *pieces, const uint8_t *row, int32_t width, const Run *above, int above_value, Run *runs)
{
    ptrdiff_t count = 0, seen = 0;
    for (int32_t start = 0, value = row[0]; start < width; value = !value) {
        const uint8_t *next = memchr(row + start, !value, (size_t)(width - start));
        int32_t end = next ? (int32_t)(next - row) : width, piece = (int32_t)pieces->runs++;
        pieces->parents[piece] = piece, pieces->sizes[piece] = end - start, pieces->count[value]++;
        if (value) pieces->largest = larger(pieces->largest, end - start);
        if (above) {
            while (above[seen].end < start) seen++; /* one that ends where this begins touches it by a corner */
            for (ptrdiff_t at = seen; !at || above[at - 1].end <= end; at++) {
                if ((above_value ^ (at & 1)) == value) join(pieces, piece, above[at].piece, value);
                if (above[at].end >= width) break;
            }
        }
        runs[count++] = (Run){end, piece};
        start = end;
    }
    return count;
}

/* Find the pieces of a mask of zeros and ones; `runs` has room for those of two rows. Gives the changes along rows. */
static ptrdiff_t find_pieces(const uint8_t *mask, ptrdiff_t height, ptrdiff_t width, Run *runs, Pieces *pieces)
{
    ptrdiff_t changes = 0;
    for (ptrdiff_t y = 0; y < height; y++) {
        const uint8_t *row = mask + y * width;
        const Run *above = y ? runs + (y + 1) % 2 * width : NULL;
        changes += add_row(pieces, row, (int32_t)width, above, y ? row[-width] : 0, runs + y % 2 * width) - 1;
    }
    return changes;
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
static void area(const uint8_t *mask, Grey small, int is_bright, Run *runs, int32_t *scratch, float *found)
{
    ptrdiff_t height = small.height, width = small.width, size = height * width, count = 0, border = 0;
    Pieces pieces = {.parents = scratch, .sizes = scratch + size};
    for (ptrdiff_t i = 0; i < size; i++) count += mask[i];
    float nothing[AREA_COUNT] = {(float)sqrt((double)count / (double)size), 0, 0, 1, 0, 0};
    memcpy(found, nothing, sizeof nothing);
    if ((double)count < 0.002 * (double)size) return;
    ptrdiff_t changes = find_pieces(mask, height, width, runs, &pieces);
    for (ptrdiff_t i = width; i < size; i++) changes += mask[i] != mask[i - width];
    for (ptrdiff_t x = 0; x < width; x++) border += mask[x] + mask[size - width + x];
    for (ptrdiff_t y = 0; y < height; y++) border += mask[y * width] + mask[y * width + width - 1];
    found[1] = (float)log((double)changes / (double)count + 0.003);
    found[2] = (float)border / (float)(2 * (height + width));
    found[3] = (float)pieces.largest / (float)count;
    found[4] = (float)log((double)pieces.count[0] / sqrt((double)count) + 0.003);
    ptrdiff_t rest = size - count;
    found[5] = rest > 30 ? (float)(quantile_of_rest(mask, small, rest, is_bright ? 0.1 : 0.9) / 255) : 0.5f;
}

static int look_at_light(Grey small, float *found)
{
    size_t size = (size_t)(small.height * small.width);
    int32_t *scratch = malloc((2 * size + 7 * (size_t)small.width + 2 * REACH + 2 * BEHIND) * sizeof *scratch);
    Run *runs = malloc(2 * (size_t)small.width * sizeof *runs);
    uint8_t *mask = calloc(size, 1);
    int result = scratch && runs && mask ? 0 : OUT_OF_MEMORY;
    if (!result) {
        local_contrast(small, scratch, found);
        for (size_t i = 0; i < size; i++) mask[i] = small.start[i] >= BLOWN;
        area(mask, small, 1, runs, scratch, found + SPREAD_COUNT);
        for (size_t i = 0; i < size; i++) mask[i] = small.start[i] <= CRUSHED;
        area(mask, small, 0, runs, scratch, found + SPREAD_COUNT + AREA_COUNT);
    }
    free(scratch), free(runs), free(mask);
    return result;
}

/* How much of each pixel of a line lies in each cell of a coarser one: the first pixel, and the weights of as many from
 * there on for each cell. */
typedef struct {
    ptrdiff_t count, *first;
    float *weights;
} Cells;

static int cells_of(ptrdiff_t pixels, ptrdiff_t count, Cells *cells)
{
    double scale = (double)pixels / (double)count;
    ptrdiff_t most = smaller((ptrdiff_t)ceil(scale) + 1, pixels);
    *cells = (Cells){most, malloc((size_t)count * sizeof *cells->first), calloc((size_t)(count * most), sizeof *cells->weights)};
    if (!cells->first || !cells->weights) return OUT_OF_MEMORY;
    for (ptrdiff_t i = 0; i < count; i++) {
        double start = (double)i * scale, end = fmin((double)(i + 1) * scale, (double)pixels);
        ptrdiff_t at = (ptrdiff_t)(start + 1e-9), first = smaller(at, pixels - most);
        cells->first[i] = first;
        for (; (double)at < end - 1e-9; at++) {
            double part = fmin(end, (double)(at + 1)) - fmax(start, (double)at);
            cells->weights[i * most + at - first] = (float)(part / (end - start));
        }
    }
    return 0;
}

static void free_cells(Cells cells) { free(cells.first), free(cells.weights); }

static inline __attribute__((always_inline)) Eight average_of(const uint8_t *start, ptrdiff_t next, const float *weights, ptrdiff_t count)
{
    Eight sum = {0}, levels;
    for (ptrdiff_t i = 0; i < count; i++) {
        uint64_t eight;
        memcpy(&eight, start + i * next, sizeof eight);
        to_numbers(eight, &levels);
        sum += weights[i] * levels;
    }
    return sum;
}

/* Average eight rows of cells over their rows of pixels, and turn them: one row in each place of `columns`. The last
 * columns are taken once more, rather than fewer. */
static inline __attribute__((always_inline)) void average_down(Grey from, Cells down, ptrdiff_t count, ptrdiff_t top, ptrdiff_t height,
                                                               Eight *columns)
{
    for (ptrdiff_t x = 0; x < from.width; x += 8) {
        ptrdiff_t left = smaller(x, from.width - 8);
        Eight rows[8];
#pragma GCC unroll 8
        for (ptrdiff_t row = 0; row < 8; row++) { /* unrolled, the rows stay in registers */
            ptrdiff_t y = smaller(top + row, height - 1);
            rows[row] = average_of(from.start + down.first[y] * from.width + left, from.width, down.weights + y * count, count);
        }
        transpose(rows);
        memcpy(columns + left, rows, sizeof rows);
    }
}

/* Average eight rows, given one in each place of `columns`, over areas to fewer columns; those that are wanted. */
static inline __attribute__((always_inline)) void average_along(const Eight *columns, Cells right, ptrdiff_t number, ptrdiff_t width,
                                                                ptrdiff_t wanted, float *found)
{
    for (ptrdiff_t first = 0; first < width; first += 8) {
        Eight sums[8];
        ptrdiff_t count = smaller(8, width - first);
#pragma GCC unroll 8
        for (ptrdiff_t k = 0; k < 8; k++) {
            ptrdiff_t x = smaller(first + k, width - 1);
            const Eight *column = columns + right.first[x];
            const float *weights = right.weights + x * number;
            Eight sum = {0};
            for (ptrdiff_t i = 0; i < number; i++) sum += weights[i] * column[i];
            sums[k] = sum;
        }
        transpose(sums);
        for (ptrdiff_t row = 0; row < wanted; row++)
            if (count == 8) memcpy(found + row * width + first, sums + row, sizeof sums[row]);
            else memcpy(found + row * width + first, sums + row, (size_t)count * sizeof(float));
    }
}

/* Average over areas to fewer rows and columns, eight rows at a time; quickest where each area lies within three. */
static int average(Grey from, ptrdiff_t height, ptrdiff_t width, float *found)
{
    Cells down = {0}, right = {0};
    Eight *columns = aligned_alloc(sizeof *columns, (size_t)from.width * sizeof *columns);
    int result = columns && !cells_of(from.height, height, &down) && !cells_of(from.width, width, &right) ? 0 : OUT_OF_MEMORY;
    for (ptrdiff_t top = 0; !result && top < height; top += 8) {
        ptrdiff_t wanted = smaller(8, height - top);
        if (down.count == USUAL) average_down(from, down, USUAL, top, height, columns);
        else average_down(from, down, down.count, top, height, columns);
        if (right.count == USUAL) average_along(columns, right, USUAL, width, wanted, found + top * width);
        else average_along(columns, right, right.count, width, wanted, found + top * width);
    }
    free_cells(down), free_cells(right), free(columns);
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
    for (ptrdiff_t y = 0; y < small.height; y++) {
        const uint8_t *row = small.start + y * small.width;
        uint32_t of_row = 0, squares_of_row = 0; /* of at most 256 px */
        for (ptrdiff_t x = 0; x < small.width; x++) of_row += row[x], squares_of_row += (uint32_t)row[x] * row[x];
        sum += of_row, squares += squares_of_row;
    }
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
    uint32_t counts[8][LEVELS] = {{0}}; /* eight, so that one count need not wait for the one before */
    ptrdiff_t size = grey.height * grey.width, i = 0;
    for (; i + 8 <= size; i += 8)
        for (int k = 0; k < 8; k++) counts[k][grey.start[i + k]]++;
    for (; i < size; i++) counts[0][grey.start[i]]++;
    for (int level = 0; level < LEVELS; level++) {
        uint32_t count = 0;
        for (int k = 0; k < 8; k++) count += counts[k][level];
        histogram[level] = (double)count / (double)size;
    }
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

int exposure_features(Grey working, double *facts, float *found)
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
