#include "pixels.h"

enum { TILE = 16, LEVELS = 3, SHARES = 4 };
static const double NOISE_SHARES[SHARES] = {0.02, 0.1, 0.3, 0.6};
static const float STILL = 0.2f, SIXTH = 1.0f / 6;

typedef struct {
    float key;
    ptrdiff_t tile, rank; /* among all tiles, and among the usable ones */
} Flatness;

static float log_of(double variance) { return (float)(log(variance + 0.02) / 2); }

static ptrdiff_t reflected(ptrdiff_t at, ptrdiff_t size) { return at < 0 ? -at : at >= size ? 2 * size - 2 - at : at; }

/* Immerkaer's kernel along one row, the picture reflected at its borders. */
static void respond(const float *above, const float *row, const float *below, ptrdiff_t width, float *upright,
                    float *found)
{
    for (ptrdiff_t x = 0; x < width; x++) upright[x] = above[x] - 2 * row[x] + below[x];
    for (ptrdiff_t x = 1; x + 1 < width; x++) found[x] = (upright[x - 1] - 2 * upright[x] + upright[x + 1]) * SIXTH;
    found[0] = (upright[reflected(-1, width)] - 2 * upright[0] + upright[1]) * SIXTH;
    found[width - 1] = (upright[width - 2] - 2 * upright[width - 1] + upright[reflected(width, width)]) * SIXTH;
}

static void add_powers(const float *response, ptrdiff_t width, float *sums)
{
    for (ptrdiff_t x = 0; x < width; x++) sums[x] += response[x] * response[x];
}

/* Fill `response`, and the mean square of it in each tile. `scratch` has two rows. */
static void level_power(const float *pixels, ptrdiff_t height, ptrdiff_t width, ptrdiff_t tile, ptrdiff_t rows,
                        ptrdiff_t columns, float *scratch, float *response, float *power)
{
    float *sums = scratch + width;
    for (ptrdiff_t row = 0; row < rows; row++) {
        memset(sums, 0, (size_t)width * sizeof *sums);
        for (ptrdiff_t y = row * tile; y < (row + 1) * tile; y++) {
            respond(pixels + reflected(y - 1, height) * width, pixels + y * width,
                    pixels + reflected(y + 1, height) * width, width, scratch, response + y * width);
            add_powers(response + y * width, columns * tile, sums);
        }
        for (ptrdiff_t column = 0; column < columns; column++) {
            float sum = 0;
            for (ptrdiff_t x = 0; x < tile; x++) sum += sums[column * tile + x];
            power[row * columns + column] = sum / (float)(tile * tile);
        }
    }
}

/* Add levels, and how many are not clipped, of one row to sums for each column. */
static void add_levels(const uint8_t *row, ptrdiff_t width, int32_t *levels, int32_t *unclipped)
{
    for (ptrdiff_t x = 0; x < width; x++) {
        levels[x] += row[x];
        unclipped[x] += (uint8_t)(row[x] - 6) <= 243;
    }
}

/* The mean level of each tile, and its share of clipped pixels in steps of 1 / 255. `scratch` has two rows. */
static void look_at_levels(Grey grey, ptrdiff_t rows, ptrdiff_t columns, int32_t *scratch, float *level, float *clipped)
{
    ptrdiff_t width = columns * TILE;
    for (ptrdiff_t row = 0; row < rows; row++) {
        memset(scratch, 0, (size_t)(2 * width) * sizeof *scratch);
        for (ptrdiff_t y = row * TILE; y < (row + 1) * TILE; y++)
            add_levels(grey.start + y * grey.width, width, scratch, scratch + width);
        for (ptrdiff_t column = 0; column < columns; column++) {
            int32_t sum = 0, unclipped = 0;
            for (ptrdiff_t x = column * TILE; x < (column + 1) * TILE; x++)
                sum += scratch[x], unclipped += scratch[width + x];
            level[row * columns + column] = (float)sum / (TILE * TILE);
            clipped[row * columns + column] = 1 - rintf(255.0f * (float)unclipped / (TILE * TILE)) / 255;
        }
    }
}

/* Move the `wanted` tiles with the lowest keys to the front, of equals the first; `keys` is room for all keys. */
static void flattest_first(Flatness *tiles, ptrdiff_t count, ptrdiff_t wanted, float *keys)
{
    for (ptrdiff_t i = 0; i < count; i++) keys[i] = tiles[i].key;
    float last = nth_value(keys, count, wanted - 1);
    ptrdiff_t below = 0, found = 0;
    for (ptrdiff_t i = 0; i < count; i++) below += tiles[i].key < last;
    ptrdiff_t equals = wanted - below;
    for (ptrdiff_t i = 0; i < count && found < wanted; i++)
        if (tiles[i].key < last || (tiles[i].key == last && equals-- > 0)) tiles[found++] = tiles[i];
}

/* The size of the response in the flattest tiles, its product with the next pixel's, the share of none. */
static void texture(const float *response, ptrdiff_t width, ptrdiff_t columns, const Flatness *order, ptrdiff_t count,
                    double *size, double *along, double *still)
{
    *size = *along = *still = 0;
    for (ptrdiff_t i = 0; i < count; i++) {
        const float *corner = response + order[i].tile / columns * TILE * width + order[i].tile % columns * TILE;
        Eight sizes = {0}, products = {0}, here, next;
        EightPlaces quiet = {0};
        for (ptrdiff_t y = 0; y < TILE; y++)
            for (ptrdiff_t x = 0; x < TILE; x += 8) {
                memcpy(&here, corner + y * width + x, sizeof here), memcpy(&next, corner + y * width + x + 1, sizeof next);
                Eight there = (Eight)((EightPlaces)here & INT32_MAX);
                sizes += there, products += here * next, quiet -= there < STILL;
            }
        for (int k = 0; k < 8; k++) *size += sizes[k], *along += products[k], *still += quiet[k];
    }
    double pixels = (double)count * TILE * TILE;
    *size /= pixels, *along /= pixels, *still /= pixels;
}

static ptrdiff_t still_pixels(const float *response, ptrdiff_t width)
{
    int32_t count = 0;
    for (ptrdiff_t x = 0; x < width; x++) count += fabsf(response[x]) <= STILL;
    return count;
}

/* The noise of the flattest tiles of the darker and of the brighter half. */
static void by_brightness(const float *variance, const float *level, ptrdiff_t count, float *scratch, float *found)
{
    memcpy(scratch, level, (size_t)count * sizeof *scratch);
    float median = interpolated_of(scratch, count, 0.5);
    for (int bright = 0; bright < 2; bright++) {
        ptrdiff_t half = 0;
        for (ptrdiff_t i = 0; i < count; i++)
            if ((level[i] > median) == bright) scratch[half++] = variance[i];
        if (half) found[bright] = log_of(quantile_of(scratch, half, 0.1));
        else found[bright] = found[0];
    }
}

static void summarise(Grey grey, const float *response, float *powers, ptrdiff_t rows, ptrdiff_t columns,
                      Flatness *order, int32_t *sums, float *scratch, float *found)
{
    ptrdiff_t tiles = rows * columns, count = 0;
    float *clipped = scratch, *level = scratch + tiles, *sorted = scratch + 2 * tiles;
    look_at_levels(grey, rows, columns, sums, level, clipped);
    memcpy(sorted, clipped, (size_t)tiles * sizeof *sorted);
    ptrdiff_t usable = 0;
    for (ptrdiff_t t = 0; t < tiles; t++) usable += clipped[t] < 0.05f;
    float least = usable < 4 ? nth_value(sorted, tiles, smaller(3, tiles - 1)) : 0;
    for (ptrdiff_t t = 0; t < tiles; t++) {
        if (usable < 4 ? clipped[t] > least : !(clipped[t] < 0.05f)) continue;
        level[count] = level[t];
        order[count].tile = t, order[count].rank = count;
        /* What is usable moves to the front of each level's powers; `count` never passes `t`. */
        for (int i = 0; i < LEVELS; i++) powers[i * tiles + count] = powers[i * tiles + t];
        order[count].key = powers[count] + 2 * powers[tiles + count] + 4 * powers[2 * tiles + count];
        count++;
    }
    ptrdiff_t flattest = smaller(count, larger(4, count / 10));
    float brightness = 0, fine = 0;
    flattest_first(order, count, flattest, sorted);
    float *next = found + LEVELS * SHARES;
    for (int i = 0; i < LEVELS; i++) {
        for (ptrdiff_t k = 0; k < flattest; k++) sorted[k] = powers[i * tiles + order[k].rank];
        *next++ = log_of(interpolated_of(sorted, flattest, 0.5));
    }
    for (ptrdiff_t k = 0; k < flattest; k++) {
        ptrdiff_t i = order[k].rank;
        fine += powers[i] / (float)flattest, brightness += level[i] / (float)flattest;
    }
    double size, along, still;
    texture(response, grey.width, columns, order, flattest, &size, &along, &still);
    ptrdiff_t all_still = 0;
    for (ptrdiff_t y = 0; y < rows * TILE; y++) all_still += still_pixels(response + y * grey.width, columns * TILE);
    *next++ = (float)((size * size + 1e-3) / (fine + 1e-3));
    *next++ = (float)(along / (fine + 1e-2));
    *next++ = brightness / 255;
    *next++ = (float)still;
    *next++ = (float)all_still / (float)(tiles * TILE * TILE);
    *next++ = (float)count / (float)tiles;
    by_brightness(powers, level, count, sorted, next);
    for (int i = 0; i < LEVELS; i++) {
        quantiles_of(powers + i * tiles, count, NOISE_SHARES, SHARES, found + i * SHARES);
        for (int share = 0; share < SHARES; share++) found[i * SHARES + share] = log_of(found[i * SHARES + share]);
    }
}

int noise_features(Grey working, float *found)
{
    ptrdiff_t height = working.height, width = working.width;
    ptrdiff_t rows = (height - 8) / TILE, columns = (width - 8) / TILE, tiles = rows * columns;
    float *pixels = malloc((size_t)(height * width) * sizeof *pixels);
    float *half = malloc((size_t)(height * width / 4 + 1) * sizeof *half);
    float *responses = malloc((size_t)(height * width) * 5 / 4 * sizeof *responses + sizeof *responses);
    float *scratch = malloc((size_t)(2 * width + (LEVELS + 3) * tiles) * sizeof *scratch);
    Flatness *order = malloc((size_t)tiles * sizeof *order);
    int32_t *sums = malloc((size_t)(2 * width) * sizeof *sums);
    int result = pixels && half && responses && scratch && order && sums ? 0 : OUT_OF_MEMORY;
    if (!result) {
        float *powers = scratch + 2 * width, *coarse = responses + height * width;
        to_floats(working.start, height * width, pixels);
        level_power(pixels, height, width, TILE, rows, columns, scratch, responses, powers);
        for (int level = 1; level < LEVELS; level++) {
            half_size(pixels, height, width, half);
            height /= 2, width /= 2;
            float *kept = pixels;
            pixels = half, half = kept;
            level_power(pixels, height, width, TILE >> level, rows, columns, scratch, coarse, powers + level * tiles);
        }
        summarise(working, responses, powers, rows, columns, order, sums, powers + LEVELS * tiles, found);
    }
    free(pixels), free(half), free(responses), free(scratch), free(order), free(sums);
    return result;
}
