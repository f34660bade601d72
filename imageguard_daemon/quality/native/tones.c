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

FOR_ALL_PROCESSORS
static void add_row(const float *from, ptrdiff_t width, float *to)
{
    for (ptrdiff_t x = 0; x < width; x++) to[x] += from[x];
}

/* Means over 9 x 9 px, the picture reflected at its borders. `sums` has one picture, `wide` a row and its borders. */
static void blur(const float *pixels, ptrdiff_t height, ptrdiff_t width, float *sums, float *wide, float *found)
{
    memset(sums, 0, (size_t)(height * width) * sizeof *sums);
    memset(found, 0, (size_t)(height * width) * sizeof *found);
    for (ptrdiff_t y = 0; y < height; y++) {
        memcpy(wide + REACH, pixels + y * width, (size_t)width * sizeof *wide);
        for (ptrdiff_t i = 1; i <= REACH; i++) {
            wide[REACH - i] = pixels[y * width + reflected(-i, width)];
            wide[REACH + width - 1 + i] = pixels[y * width + reflected(width - 1 + i, width)];
        }
        for (ptrdiff_t i = 0; i < WINDOW; i++) add_row(wide + i, width, sums + y * width);
    }
    for (ptrdiff_t y = 0; y < height; y++) {
        for (ptrdiff_t i = y - REACH; i <= y + REACH; i++)
            add_row(sums + reflected(i, height) * width, width, found + y * width);
        for (ptrdiff_t x = 0; x < width; x++) found[y * width + x] *= 1.0f / (WINDOW * WINDOW);
    }
}

/* Add up local contrast and pixels of one row: everywhere, where it is dark, where it is bright. */
FOR_ALL_PROCESSORS
static void add_contrast(const float *smooth, const float *squares, ptrdiff_t width, double *totals, double *counts)
{
    float sums[SPREAD_COUNT] = {0};
    int dark = 0, bright = 0;
    for (ptrdiff_t x = 0; x < width; x++) {
        float variance = squares[x] - smooth[x] * smooth[x] - ROUNDING, local = sqrtf(variance > 0 ? variance : 0);
        int is_dark = smooth[x] < 0.2f, is_bright = smooth[x] > 0.8f;
        sums[0] += local;
        sums[1] += is_dark ? local : 0, dark += is_dark;
        sums[2] += is_bright ? local : 0, bright += is_bright;
    }
    for (int i = 0; i < SPREAD_COUNT; i++) totals[i] += sums[i];
    counts[0] += (double)width, counts[1] += dark, counts[2] += bright;
}

/* `scratch` has four pictures and a row with its borders. */
static void local_contrast(Grey small, float *scratch, float *found)
{
    ptrdiff_t height = small.height, width = small.width, size = height * width;
    float *pixels = scratch, *sums = pixels + size, *smooth = sums + size, *squares = smooth + size, *wide = squares + size;
    for (ptrdiff_t i = 0; i < size; i++) pixels[i] = (float)small.start[i] * (1.0f / 255);
    blur(pixels, height, width, sums, wide, smooth);
    for (ptrdiff_t i = 0; i < size; i++) pixels[i] *= pixels[i];
    blur(pixels, height, width, sums, wide, squares);
    double totals[SPREAD_COUNT] = {0}, counts[SPREAD_COUNT] = {0};
    for (ptrdiff_t y = 0; y < height; y++) add_contrast(smooth + y * width, squares + y * width, width, totals, counts);
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
    float *scratch = malloc((4 * size + (size_t)small.width + 2 * REACH) * sizeof *scratch);
    uint8_t *mask = calloc(size, 1);
    int result = scratch && mask ? 0 : OUT_OF_MEMORY;
    if (!result) {
        int32_t *parents = (int32_t *)scratch, *sizes = parents + size;
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

FOR_ALL_PROCESSORS
static void add_weighted(const uint8_t *row, ptrdiff_t width, float weight, float *to)
{
    for (ptrdiff_t x = 0; x < width; x++) to[x] += weight * row[x];
}

/* Average over areas to fewer rows and columns. */
static int average(Grey from, ptrdiff_t height, ptrdiff_t width, float *found)
{
    Cell *down = cells_of(from.height, height), *right = cells_of(from.width, width);
    float *sums = malloc((size_t)from.width * sizeof *sums);
    int result = down && right && sums ? 0 : OUT_OF_MEMORY;
    for (ptrdiff_t y = 0; !result && y < height; y++) {
        memset(sums, 0, (size_t)from.width * sizeof *sums);
        for (ptrdiff_t i = 0; i < down[y].count; i++)
            add_weighted(from.start + (down[y].first + i) * from.width, from.width, down[y].weights[i], sums);
        for (ptrdiff_t x = 0; x < width; x++) {
            float sum = 0;
            for (ptrdiff_t i = 0; i < right[x].count; i++) sum += right[x].weights[i] * sums[right[x].first + i];
            found[y * width + x] = sum;
        }
    }
    free(down), free(right), free(sums);
    return result;
}

FOR_ALL_PROCESSORS
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
    for (ptrdiff_t i = 0; i < height * width; i++) pixels[i] = (uint8_t)rintf(averaged[i]);
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
