#include "pixels.h"

enum { TILE = 24, LEVELS = 4, SCALES = 5, WAYS = 4, REACHES = 4, BEHIND = 32, RATIOS = 5 };
static const double RATIO_SHARES[RATIOS] = {0.03, 0.1, 0.25, 0.5, 0.8}, EDGE_SHARES[] = {0.5, 0.8, 0.93, 0.98};
static const float SQUARED_LENGTHS[WAYS] = {1, 1, 2, 2}, NOISE_AT_SCALE[SCALES] = {1, 1, 0.25f, 0.0625f, 0.015625f};

/* Sixteen pixels from here on: levels, or sums of levels. */
static inline __attribute__((always_inline)) Sixteen sixteen(const void *pixels, ptrdiff_t at, int is_coarse)
{
    Sixteen found;
    if (!is_coarse) return sixteen_levels((const uint8_t *)pixels + at);
    memcpy(&found, (const int16_t *)pixels + at, sizeof found);
    return found;
}

/* Squared differences to the right, down, and along both diagonals, of one row of tiles, added up for each two columns:
 * way x pair. All numbers are whole. Of levels the last columns are looked at once more, where there are fewer than 16;
 * of sums some behind the last are looked at, too. */
static inline __attribute__((always_inline)) void sum_squares(const void *pixels, ptrdiff_t start, ptrdiff_t stride,
                                                              int is_coarse, int distance, ptrdiff_t tile, ptrdiff_t width,
                                                              int32_t *sums, ptrdiff_t room)
{
    ptrdiff_t last = is_coarse ? width : (stride - distance - 16) / 2 * 2;
    for (ptrdiff_t x = 0; x < width; x += 16) {
        ptrdiff_t left = smaller(x, last), at = start + left;
        EightPlaces found[WAYS] = {{0}};
        Sixteen here[2], beside[2];
        for (int y = 0; y < distance; y++)
            here[y] = sixteen(pixels, at + y * stride, is_coarse), beside[y] = sixteen(pixels, at + y * stride + distance, is_coarse);
        for (ptrdiff_t y = 0; y < tile; y++) {
            ptrdiff_t next = at + (y + distance) * stride;
            Sixteen below = sixteen(pixels, next, is_coarse), across = sixteen(pixels, next + distance, is_coarse);
            Sixteen changes[WAYS] = {here[0] - beside[0], here[0] - below, here[0] - across, beside[0] - below};
            for (int way = 0; way < WAYS; way++) found[way] += products(changes[way], changes[way]);
            if (distance == 2) here[0] = here[1], beside[0] = beside[1];
            here[distance - 1] = below, beside[distance - 1] = across;
        }
        for (int way = 0; way < WAYS; way++) memcpy(sums + way * room + left / 2, found + way, sizeof found[way]);
    }
}

/* The same of tiles of three columns, which pairs do not fit into: way x column. */
static void sum_odd_squares(const int16_t *pixels, ptrdiff_t stride, ptrdiff_t width, int32_t *sums, ptrdiff_t room)
{
    const ptrdiff_t from[WAYS] = {0, 0, 0, 1}, to[WAYS] = {1, stride, stride + 1, stride};
    for (int way = 0; way < WAYS; way++) {
        memset(sums + way * room, 0, (size_t)width * sizeof *sums);
        for (ptrdiff_t y = 0; y < TILE >> 3; y++)
            for (ptrdiff_t x = 0; x < width; x++) {
                int change = pixels[y * stride + x + from[way]] - pixels[y * stride + x + to[way]];
                sums[way * room + x] += change * change; /* at most three times 255 x 64 squared */
            }
    }
}

/* Mean squared differences of one row of tiles from sums of so many columns each: way x tile. */
static inline __attribute__((always_inline)) void mean_squares(const int32_t *sums, ptrdiff_t room, int parts, float size,
                                                               ptrdiff_t columns, ptrdiff_t tiles, float *found)
{
    for (int way = 0; way < WAYS; way++)
        for (ptrdiff_t column = 0; column < columns; column++) {
            int32_t sum = 0;
            for (int i = 0; i < parts; i++) sum += sums[way * room + column * parts + i];
            found[way * tiles + column] = (float)sum / (size * SQUARED_LENGTHS[way]);
        }
}

/* Mean squared differences of all scales: scale x way x tile. `sums` has room for each way. */
static void energies_of(Grey grey, int16_t *const coarse[LEVELS], ptrdiff_t rows, ptrdiff_t columns, int32_t *sums,
                        ptrdiff_t room, float *found)
{
    enum { HALF = TILE / 2, QUARTER = TILE / 4, EIGHTH = TILE / 8 };
    ptrdiff_t width = grey.width, tiles = rows * columns;
    for (ptrdiff_t row = 0; row < rows; row++) {
        float *next = found + row * columns;
        sum_squares(grey.start, row * TILE * width, width, 0, 1, TILE, columns * TILE, sums, room);
        mean_squares(sums, room, TILE / 2, TILE * TILE, columns, tiles, next), next += WAYS * tiles;
        sum_squares(grey.start, row * TILE * width, width, 0, 2, TILE, columns * TILE, sums, room);
        mean_squares(sums, room, TILE / 2, TILE * TILE, columns, tiles, next), next += WAYS * tiles;
        sum_squares(coarse[1], row * HALF * (width / 2), width / 2, 1, 1, HALF, columns * HALF, sums, room);
        mean_squares(sums, room, HALF / 2, 16 * HALF * HALF, columns, tiles, next), next += WAYS * tiles;
        sum_squares(coarse[2], row * QUARTER * (width / 4), width / 4, 1, 1, QUARTER, columns * QUARTER, sums, room);
        mean_squares(sums, room, QUARTER / 2, 256 * QUARTER * QUARTER, columns, tiles, next), next += WAYS * tiles;
        sum_odd_squares(coarse[3] + row * EIGHTH * (width / 8), width / 8, columns * EIGHTH, sums, room);
        mean_squares(sums, room, EIGHTH, 4096 * EIGHTH * EIGHTH, columns, tiles, next);
    }
}

static int all_energies(Grey grey, ptrdiff_t rows, ptrdiff_t columns, float *found)
{
    ptrdiff_t height = grey.height, width = grey.width, room = width / 2 + BEHIND, sizes[LEVELS], most = 0;
    for (int level = 1; level < LEVELS; level++) most += sizes[level] = (height >> level) * (width >> level) + BEHIND;
    int16_t *coarse[LEVELS] = {NULL, calloc((size_t)most, sizeof(int16_t))};
    int32_t *sums = malloc((size_t)(WAYS * room) * sizeof *sums);
    int result = coarse[1] && sums ? 0 : OUT_OF_MEMORY;
    if (!result) {
        coarse[2] = coarse[1] + sizes[1], coarse[3] = coarse[2] + sizes[2];
        half_size(grey.start, height, width, coarse[1]);
        for (int level = 1; level + 1 < LEVELS; level++) quarter_size(coarse[level], height >> level, width >> level, coarse[level + 1]);
        energies_of(grey, coarse, rows, columns, sums, room, found);
    }
    free(coarse[1]), free(sums);
    return result;
}

/* The logarithms of quantiles, which are the quantiles of the logarithms. */
static float *log_quantiles(float *values, ptrdiff_t count, float *found)
{
    quantiles_of(values, count, RATIO_SHARES, RATIOS, found);
    for (int i = 0; i < RATIOS; i++) found[i] = logf(found[i]);
    return found + RATIOS;
}

static float median_log(float *values, ptrdiff_t count)
{
    float below = nth_value(values, count, (count - 1) / 2), above = count % 2 ? below : nth_value(values, count, count / 2);
    return (logf(below) + logf(above)) / 2;
}

/* How much more contrast there is at the longer of two distances. `near` and `far` are way x tile. */
static float *fading(const float *near, const float *far, ptrdiff_t tiles, const uint8_t *kept, const uint8_t *strong,
                     float *scratch, float *found)
{
    float *together = scratch, *softest = scratch + tiles, *strongest = scratch + 2 * tiles;
    double pooled_far[WAYS] = {0}, pooled_near[WAYS] = {0}, pooled[WAYS];
    ptrdiff_t keep = 0, bold = 0;
    for (ptrdiff_t t = 0; t < tiles; t++) {
        float near_total = 0, far_total = 0;
        for (int way = 0; way < WAYS; way++) near_total += near[way * tiles + t], far_total += far[way * tiles + t];
        float ratio = far_total / near_total;
        if (strong[t]) strongest[bold++] = ratio;
        if (!kept[t]) continue;
        float most = 0;
        for (int way = 0; way < WAYS; way++) {
            most = higher(most, far[way * tiles + t] / near[way * tiles + t]);
            /* Each tile counts alike: one strong edge must not speak for the picture. */
            pooled_far[way] += far[way * tiles + t] / far_total;
            pooled_near[way] += near[way * tiles + t] / far_total;
        }
        together[keep] = ratio, softest[keep++] = most;
    }
    found = log_quantiles(together, keep, found);
    found = log_quantiles(softest, keep, found);
    *found++ = median_log(strongest, bold);
    for (int way = 0; way < WAYS; way++) {
        double value = log(pooled_far[way] / pooled_near[way]);
        int at = way;
        for (; at > 0 && pooled[at - 1] > value; at--) pooled[at] = pooled[at - 1];
        pooled[at] = value;
    }
    *found++ = (float)pooled[3];
    *found++ = (float)((pooled[1] + pooled[2]) / 2);
    *found++ = (float)pooled[0];
    return found;
}

static float orientation(const float *energies, ptrdiff_t tiles, const uint8_t *kept)
{
    double across = 0, diagonal = 0;
    ptrdiff_t keep = 0;
    for (ptrdiff_t t = 0; t < tiles; t++) {
        if (!kept[t]) continue;
        const float *e = energies + t;
        double total = (double)e[0] + e[tiles] + e[2 * tiles] + e[3 * tiles];
        across += (e[0] - e[tiles]) / total, diagonal += (e[2 * tiles] - e[3 * tiles]) / total;
        keep++;
    }
    return (float)hypot(across / (double)keep, diagonal / (double)keep);
}

static inline Levels levels_at(const uint8_t *at)
{
    Levels found;
    memcpy(&found, at, sizeof found);
    return found;
}

/* The largest changes of 32 columns of one row of tiles over 1, 2, 4 and 8 px to the right, then downwards: way x
 * reach, `room` apart. */
static void steepest_of(const uint8_t *start, ptrdiff_t stride, uint8_t *found, ptrdiff_t room)
{
    Levels most[2 * REACHES] = {{0}};
    for (ptrdiff_t y = 0; y < TILE; y++, start += stride) {
        Levels here = levels_at(start);
        for (int i = 0; i < REACHES; i++) {
            most[i] = larger_levels(most[i], apart(here, levels_at(start + (1 << i))));
            most[REACHES + i] = larger_levels(most[REACHES + i], apart(here, levels_at(start + stride * (1 << i))));
        }
    }
    for (int i = 0; i < 2 * REACHES; i++) memcpy(found + i * room, most + i, sizeof most[i]);
}

/* The largest change in each tile: way x reach x tile. `by_column` has a row for each way and reach. */
static void steepest(Grey grey, ptrdiff_t rows, ptrdiff_t columns, uint8_t *by_column, float *found)
{
    for (ptrdiff_t row = 0; row < rows; row++) {
        for (ptrdiff_t x = 0; x < columns * TILE; x += 32) { /* the last columns once more, rather than fewer */
            ptrdiff_t left = smaller(x, grey.width - 8 - 32);
            steepest_of(grey.start + row * TILE * grey.width + left, grey.width, by_column + left, grey.width);
        }
        for (int i = 0; i < 2 * REACHES; i++)
            for (ptrdiff_t column = 0; column < columns; column++) {
                uint8_t most = 0;
                for (ptrdiff_t x = 0; x < TILE; x++) {
                    uint8_t change = by_column[i * grey.width + column * TILE + x];
                    most = change > most ? change : most;
                }
                found[(i * rows + row) * columns + column] = most;
            }
    }
}

static int edges(Grey grey, ptrdiff_t rows, ptrdiff_t columns, float *found)
{
    enum { LEAST_LEVELS = 16, PAIRS = REACHES - 1, SHARES = 4 };
    ptrdiff_t tiles = rows * columns;
    float *changes = malloc((size_t)((2 * REACHES + 2) * tiles) * sizeof *changes);
    uint8_t *by_column = malloc((size_t)(2 * REACHES * grey.width));
    if (!changes || !by_column) {
        free(changes), free(by_column);
        return OUT_OF_MEMORY;
    }
    steepest(grey, rows, columns, by_column, changes);
    const float *farthest[2] = {changes + (REACHES - 1) * tiles, changes + (2 * REACHES - 1) * tiles};
    float *contrast = changes + 2 * REACHES * tiles, *ratios = contrast + tiles;
    for (ptrdiff_t t = 0; t < tiles; t++) ratios[t] = contrast[t] = higher(farthest[0][t], farthest[1][t]);
    float least = higher(LEAST_LEVELS, 0.25f * interpolated_of(ratios, tiles, 0.9));
    ptrdiff_t seen = 0;
    for (ptrdiff_t t = 0; t < tiles; t++) seen += contrast[t] >= least;
    for (int pair = 0; pair < PAIRS; pair++) {
        float quantiles[2][SHARES];
        for (int way = 0; way < 2; way++) {
            const float *near = changes + (way * REACHES + pair) * tiles, *far = near + tiles;
            ptrdiff_t count = 0;
            for (ptrdiff_t t = 0; t < tiles; t++)
                if (contrast[t] >= least && farthest[way][t] >= LEAST_LEVELS)
                    ratios[count++] = lower(near[t] / higher(far[t], 1), 1.5f);
            for (int i = 0; i < SHARES; i++) quantiles[way][i] = 1;
            if (count) quantiles_of(ratios, count, EDGE_SHARES, SHARES, quantiles[way]);
        }
        for (int i = 0; i < SHARES; i++) {
            found[pair * 2 * SHARES + i] = higher(quantiles[0][i], quantiles[1][i]);
            found[pair * 2 * SHARES + SHARES + i] = lower(quantiles[0][i], quantiles[1][i]);
        }
    }
    found[PAIRS * 2 * SHARES] = (float)seen / (float)tiles;
    free(changes), free(by_column);
    return 0;
}

/* Which tiles have meaningful contrast, and which strong; gives how many are meaningful. */
static ptrdiff_t mark_tiles(const float *coarse, ptrdiff_t tiles, float *scratch, uint8_t *kept, uint8_t *strong)
{
    memcpy(scratch, coarse, (size_t)tiles * sizeof *scratch);
    float least = higher(1.0f, 0.03f * interpolated_of(scratch, tiles, 0.98));
    ptrdiff_t keep = 0;
    for (ptrdiff_t t = 0; t < tiles; t++) keep += kept[t] = coarse[t] > least;
    if (keep < 3) {
        least = nth_value(scratch, tiles, tiles - smaller(3, tiles));
        keep = 0;
        for (ptrdiff_t t = 0; t < tiles; t++) keep += kept[t] = coarse[t] >= least;
    }
    ptrdiff_t count = 0;
    for (ptrdiff_t t = 0; t < tiles; t++)
        if (kept[t]) scratch[count++] = coarse[t];
    least = interpolated_of(scratch, count, 0.85);
    for (ptrdiff_t t = 0; t < tiles; t++) strong[t] = coarse[t] >= least;
    return keep;
}

static float total_at(const float *energies, ptrdiff_t tiles, ptrdiff_t t)
{
    return energies[t] + energies[tiles + t] + energies[2 * tiles + t] + energies[3 * tiles + t];
}

int blur_features(Grey working, float *found)
{
    ptrdiff_t rows = (working.height - 8) / TILE, columns = (working.width - 8) / TILE, tiles = rows * columns;
    float *energies = malloc((size_t)((SCALES * WAYS + 4) * tiles) * sizeof *energies);
    uint8_t *kept = malloc((size_t)(2 * tiles));
    if (!energies || !kept || all_energies(working, rows, columns, energies)) {
        free(energies), free(kept);
        return OUT_OF_MEMORY;
    }
    float *coarse = energies + SCALES * WAYS * tiles, *scratch = coarse + tiles;
    for (ptrdiff_t t = 0; t < tiles; t++) scratch[t] = total_at(energies, tiles, t);
    float noise = interpolated_of(scratch, tiles, 0.03) / 4;
    for (int scale = 0; scale < SCALES; scale++)
        for (ptrdiff_t i = 0; i < WAYS * tiles; i++) {
            float *e = energies + scale * WAYS * tiles + i;
            *e = higher(*e - noise * NOISE_AT_SCALE[scale], 0.02f * *e) + 1e-2f;
        }
    for (ptrdiff_t t = 0; t < tiles; t++) coarse[t] = total_at(energies + 3 * WAYS * tiles, tiles, t);
    uint8_t *strong = kept + tiles;
    ptrdiff_t keep = mark_tiles(coarse, tiles, scratch, kept, strong);
    float *next = found;
    for (int scale = 0; scale + 1 < SCALES; scale++) {
        const float *near = energies + scale * WAYS * tiles;
        next = fading(near, near + WAYS * tiles, tiles, kept, strong, scratch, next);
    }
    for (int scale = 0; scale < SCALES; scale++) *next++ = orientation(energies + scale * WAYS * tiles, tiles, kept);
    int result = edges(working, rows, columns, next);
    next += 25;
    *next++ = (float)keep / (float)tiles;
    memcpy(scratch, coarse, (size_t)tiles * sizeof *scratch);
    *next++ = logf(quantile_of(scratch, tiles, 0.5));
    *next++ = logf(quantile_of(scratch, tiles, 0.98));
    *next++ = logf(noise + 0.01f);
    free(energies), free(kept);
    return result;
}
