#include "pixels.h"

enum { TILE = 24, LEVELS = 4, SCALES = 5, WAYS = 4, REACHES = 4, BEHIND = 8 };
static const double RATIO_SHARES[] = {0.03, 0.1, 0.25, 0.5, 0.8}, EDGE_SHARES[] = {0.5, 0.8, 0.93, 0.98};
static const int DOWN[WAYS] = {0, 1, 1, 1}, RIGHT[WAYS] = {1, 0, 1, -1};
static const float SQUARED_LENGTHS[WAYS] = {1, 1, 2, 2}, NOISE_AT_SCALE[SCALES] = {1, 1, 0.25f, 0.0625f, 0.015625f};

/* Squared differences of one row of tiles, added up for each column, eight at a time: way x column. */
static void sum_squares(const float *pixels, ptrdiff_t stride, int distance, ptrdiff_t tile, ptrdiff_t width, float *sums)
{
    ptrdiff_t end[WAYS];
    for (int way = 0; way < WAYS; way++) end[way] = distance * (DOWN[way] * stride + larger(0, RIGHT[way]));
    for (ptrdiff_t x = 0; x < width; x += 8) {
        Eight found[WAYS] = {{0}};
        for (ptrdiff_t y = 0; y < tile; y++) {
            const float *at = pixels + y * stride + x;
            Eight here, turned, there;
            memcpy(&here, at, sizeof here), memcpy(&turned, at + distance, sizeof turned);
            for (int way = 0; way < WAYS; way++) {
                memcpy(&there, at + end[way], sizeof there);
                Eight change = (RIGHT[way] < 0 ? turned : here) - there;
                found[way] += change * change;
            }
        }
        for (int way = 0; way < WAYS; way++) memcpy(sums + way * width + x, found + way, (size_t)smaller(8, width - x) * sizeof *sums);
    }
}

/* Mean squared differences of one scale: way x tile. Up to 7 px behind the last are read, and not used. */
static void energies_at(const float *pixels, ptrdiff_t stride, int distance, ptrdiff_t tile, ptrdiff_t rows,
                        ptrdiff_t columns, float *sums, float *found)
{
    ptrdiff_t width = columns * tile, tiles = rows * columns;
    for (ptrdiff_t row = 0; row < rows; row++) {
        sum_squares(pixels + row * tile * stride, stride, distance, tile, width, sums);
        for (int way = 0; way < WAYS; way++)
            for (ptrdiff_t column = 0; column < columns; column++) {
                float sum = 0;
                for (ptrdiff_t x = 0; x < tile; x++) sum += sums[way * width + column * tile + x];
                found[way * tiles + row * columns + column] = sum / ((float)(tile * tile) * SQUARED_LENGTHS[way]);
            }
    }
}

static int all_energies(Grey grey, ptrdiff_t rows, ptrdiff_t columns, float *found)
{
    ptrdiff_t height = grey.height, width = grey.width, tiles = rows * columns;
    float *pixels = malloc(((size_t)(height * width) + BEHIND) * sizeof *pixels);
    float *half = malloc(((size_t)((height / 2) * (width / 2)) + BEHIND) * sizeof *half);
    float *sums = malloc((size_t)(WAYS * columns * TILE) * sizeof *sums);
    int result = pixels && half && sums ? 0 : OUT_OF_MEMORY;
    if (!result) {
        to_floats(grey.start, height * width, pixels);
        memset(pixels + height * width, 0, BEHIND * sizeof *pixels);
        energies_at(pixels, width, 1, TILE, rows, columns, sums, found);
        for (int level = 0, scale = 1; level < LEVELS; level++, scale++) {
            energies_at(pixels, width, level == 0 ? 2 : 1, TILE >> level, rows, columns, sums,
                        found + scale * WAYS * tiles);
            half_size(pixels, height, width, half);
            height /= 2, width /= 2;
            memset(half + height * width, 0, BEHIND * sizeof *half);
            float *kept = pixels;
            pixels = half, half = kept;
        }
    }
    free(pixels), free(half), free(sums);
    return result;
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
        float ratio = logf(far_total / near_total);
        if (strong[t]) strongest[bold++] = ratio;
        if (!kept[t]) continue;
        float most = -INFINITY;
        for (int way = 0; way < WAYS; way++) {
            most = higher(most, far[way * tiles + t] / near[way * tiles + t]);
            /* Each tile counts alike: one strong edge must not speak for the picture. */
            pooled_far[way] += far[way * tiles + t] / far_total;
            pooled_near[way] += near[way * tiles + t] / far_total;
        }
        together[keep] = ratio, softest[keep++] = logf(most);
    }
    quantiles_of(together, keep, RATIO_SHARES, 5, found), found += 5;
    quantiles_of(softest, keep, RATIO_SHARES, 5, found), found += 5;
    *found++ = interpolated_of(strongest, bold, 0.5);
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

static void largest_changes(const uint8_t *start, const uint8_t *end, ptrdiff_t width, uint8_t *most)
{
    for (ptrdiff_t x = 0; x < width; x++) {
        uint8_t change = start[x] > end[x] ? (uint8_t)(start[x] - end[x]) : (uint8_t)(end[x] - start[x]);
        most[x] = change > most[x] ? change : most[x];
    }
}

/* The largest change in each tile over `reach` px to the right or downwards. */
static void steepest(Grey grey, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t offset, uint8_t *by_column, float *found)
{
    ptrdiff_t width = columns * TILE;
    for (ptrdiff_t row = 0; row < rows; row++) {
        memset(by_column, 0, (size_t)width);
        for (ptrdiff_t y = row * TILE; y < (row + 1) * TILE; y++) {
            const uint8_t *start = grey.start + y * grey.width;
            largest_changes(start, start + offset, width, by_column);
        }
        for (ptrdiff_t column = 0; column < columns; column++) {
            uint8_t most = 0;
            for (ptrdiff_t x = 0; x < TILE; x++)
                if (by_column[column * TILE + x] > most) most = by_column[column * TILE + x];
            found[row * columns + column] = most;
        }
    }
}

static int edges(Grey grey, ptrdiff_t rows, ptrdiff_t columns, float *found)
{
    enum { LEAST_LEVELS = 16, PAIRS = REACHES - 1, SHARES = 4 };
    ptrdiff_t tiles = rows * columns;
    float *changes = malloc((size_t)((2 * REACHES + 2) * tiles) * sizeof *changes);
    uint8_t *by_column = malloc((size_t)(columns * TILE));
    if (!changes || !by_column) {
        free(changes), free(by_column);
        return OUT_OF_MEMORY;
    }
    for (int way = 0; way < 2; way++)
        for (int i = 0; i < REACHES; i++)
            steepest(grey, rows, columns, way ? (grey.width << i) : (1 << i), by_column,
                     changes + (way * REACHES + i) * tiles);
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
    for (ptrdiff_t t = 0; t < tiles; t++) scratch[t] = logf(coarse[t]);
    *next++ = quantile_of(scratch, tiles, 0.5);
    *next++ = quantile_of(scratch, tiles, 0.98);
    *next++ = logf(noise + 0.01f);
    free(energies), free(kept);
    return result;
}
