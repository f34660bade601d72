#include "pixels.h"

enum { TILE = 16, LEVELS = 3, SHARES = 4, COPIED = TILE + 3, BEHIND = 2 * TILE, DARKEST = 6, BRIGHTEST = 249, STILL = 1 };
static const double NOISE_SHARES[SHARES] = {0.02, 0.1, 0.3, 0.6};

static const Sixteen ONES = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

typedef struct {
    float key;
    ptrdiff_t tile, rank; /* among all tiles, and among the usable ones */
} Flatness;

/* What is taken of one tile on the way, besides its power. */
typedef struct {
    float level, clipped; /* the mean level; the share of clipped pixels in steps of 1 / 255 */
    int32_t still;
} Tile;

static float log_of(double variance) { return (float)(log(variance + 0.02) / 2); }

/* Sixteen pixels from here on: levels, or sums of 4 or 16 of them. */
static inline __attribute__((always_inline)) Sixteen sixteen(const void *pixels, ptrdiff_t at, int is_coarse)
{
    Sixteen found;
    if (!is_coarse) return sixteen_levels((const uint8_t *)pixels + at);
    memcpy(&found, (const int16_t *)pixels + at, sizeof found);
    return found;
}

static inline __attribute__((always_inline)) Sixteen bend(const void *pixels, ptrdiff_t at, int is_coarse)
{
    return sixteen(pixels, at - 1, is_coarse) - 2 * sixteen(pixels, at, is_coarse) + sixteen(pixels, at + 1, is_coarse);
}

/* The response to Immerkaer's kernel, but six times as large, of 16 columns of one row; of the rows before, `bends` keeps
 * what the next one needs. Whole numbers fit: the largest are 2040 times the pixels in a sum, 32640. */
static inline __attribute__((always_inline)) Sixteen response(const void *pixels, ptrdiff_t next, int is_coarse, Sixteen *bends)
{
    Sixteen below = bend(pixels, next, is_coarse), found = bends[0] - 2 * bends[1] + below;
    bends[0] = bends[1], bends[1] = below;
    return found;
}

/* The squares of the response of so many rows of 16 px, added up by pairs of columns; a border of one px is read. */
static inline __attribute__((always_inline)) Eight squares(const void *pixels, ptrdiff_t start, ptrdiff_t stride, int rows,
                                                           int is_coarse, Tile *tile)
{
    Sixteen bends[2] = {bend(pixels, start - stride, is_coarse), bend(pixels, start, is_coarse)};
    Sixteen levels = {0}, unclipped = {0}, still = {0};
    Eight sums = {0};
    for (ptrdiff_t y = 0; y < rows; y++) {
        Sixteen found = response(pixels, start + (y + 1) * stride, is_coarse, bends);
        sums += __builtin_convertvector(products(found, found), Eight); /* twice the largest square is below 2^31 */
        if (is_coarse) continue;
        Sixteen level = sixteen(pixels, start + y * stride, 0);
        levels += level, unclipped -= (level >= DARKEST) & (level <= BRIGHTEST), still -= (found <= STILL) & (found >= -STILL);
    }
    if (!is_coarse) {
        int32_t level = total(products(levels, ONES)), count = total(products(unclipped, ONES));
        tile->level = (float)level / (TILE * TILE);
        tile->clipped = 1 - rintf(255.0f * (float)count / (TILE * TILE)) / 255;
        tile->still = total(products(still, ONES));
    }
    return sums;
}

/* Copy a tile and the pixels around it, where the picture is reflected at its upper or its left border. */
static void with_border(const void *pixels, ptrdiff_t width, ptrdiff_t top, ptrdiff_t left, ptrdiff_t rows, size_t size,
                        void *found)
{
    for (ptrdiff_t y = 0; y < rows + 2; y++) {
        const char *row = (const char *)pixels + labs(top + y - 1) * width * (ptrdiff_t)size;
        char *copy = (char *)found + (size_t)y * COPIED * size;
        memcpy(copy, row + labs(left - 1) * (ptrdiff_t)size, size);
        memcpy(copy + size, row + left * (ptrdiff_t)size, (COPIED - 1) * size);
    }
}

static inline __attribute__((always_inline)) Eight squares_at(const void *pixels, ptrdiff_t width, ptrdiff_t top, ptrdiff_t left,
                                                              int rows, int is_coarse, Tile *tile)
{
    int16_t copy[COPIED * (TILE + 2)];
    if (top && left) return squares(pixels, top * width + left, width, rows, is_coarse, tile);
    with_border(pixels, width, top, left, rows, is_coarse ? sizeof(int16_t) : 1, copy);
    return squares(copy, COPIED + 1, COPIED, rows, is_coarse, tile);
}

/* The mean square of the response in each tile, and of levels what else is taken of a tile. */
static void level_power(const void *pixels, ptrdiff_t width, int level, ptrdiff_t rows, ptrdiff_t columns, Tile *tiles,
                        float *power)
{
    int side = TILE >> level, beside = 1 << level; /* as many tiles lie in 16 columns */
    float size = 36.0f * (float)(side * side << 4 * level);
    for (ptrdiff_t row = 0; row < rows; row++)
        for (ptrdiff_t column = 0; column < columns; column += beside, tiles += !level) {
            Eight sums = level ? squares_at(pixels, width, row * side, column * side, side, 1, NULL)
                               : squares_at(pixels, width, row * side, column * side, TILE, 0, tiles);
            for (int i = 0, k = 0; i < beside && column + i < columns; i++) {
                float sum = 0;
                for (int end = k + 8 / beside; k < end; k++) sum += sums[k];
                power[row * columns + column + i] = sum / size;
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
static void texture(Grey grey, ptrdiff_t columns, const Flatness *order, ptrdiff_t count, double *size, double *along,
                    double *still)
{
    int64_t size_total = 0, with_next = 0, quiet = 0;
    for (ptrdiff_t i = 0; i < count; i++) {
        uint8_t copy[COPIED * (TILE + 2)];
        Sixteen bends[2][2], size_sums = {0}, still_sums = {0};
        EightPlaces product_sums = {0};
        with_border(grey.start, grey.width, order[i].tile / columns * TILE, order[i].tile % columns * TILE, TILE, 1, copy);
        for (int x = 0; x < 2; x++)
            for (int y = 0; y < 2; y++) bends[x][y] = bend(copy, y * COPIED + 1 + x, 0);
        for (ptrdiff_t y = 2; y < TILE + 2; y++) {
            Sixteen here = response(copy, y * COPIED + 1, 0, bends[0]), next = response(copy, y * COPIED + 2, 0, bends[1]);
            Sixteen there = sizes(here);
            size_sums += there, still_sums -= there <= STILL, product_sums += products(here, next);
        }
        size_total += total(products(size_sums, ONES)), quiet += total(products(still_sums, ONES)), with_next += total(product_sums);
    }
    double pixels = (double)count * TILE * TILE;
    *size = (double)size_total / 6 / pixels, *along = (double)with_next / 36 / pixels, *still = (double)quiet / pixels;
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

static void summarise(Grey grey, const Tile *seen, float *powers, ptrdiff_t rows, ptrdiff_t columns, Flatness *order,
                      float *scratch, float *found)
{
    ptrdiff_t tiles = rows * columns, count = 0, all_still = 0;
    float *clipped = scratch, *level = scratch + tiles, *sorted = scratch + 2 * tiles;
    for (ptrdiff_t t = 0; t < tiles; t++) clipped[t] = seen[t].clipped, level[t] = seen[t].level, all_still += seen[t].still;
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
    texture(grey, columns, order, flattest, &size, &along, &still);
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
    ptrdiff_t half_px = (height / 2) * (width / 2), quarter_px = (height / 4) * (width / 4);
    int16_t *half = malloc((size_t)(half_px + quarter_px + 2 * BEHIND) * sizeof *half);
    float *powers = malloc((size_t)((LEVELS + 3) * tiles) * sizeof *powers);
    Flatness *order = malloc((size_t)tiles * sizeof *order);
    Tile *seen = malloc((size_t)tiles * sizeof *seen);
    int result = half && powers && order && seen ? 0 : OUT_OF_MEMORY;
    if (!result) {
        int16_t *quarter = half + half_px + BEHIND;
        half_size(working.start, height, width, half);
        quarter_size(half, height / 2, width / 2, quarter);
        memset(half + half_px, 0, BEHIND * sizeof *half), memset(quarter + quarter_px, 0, BEHIND * sizeof *half);
        level_power(working.start, width, 0, rows, columns, seen, powers);
        level_power(half, width / 2, 1, rows, columns, NULL, powers + tiles);
        level_power(quarter, width / 4, 2, rows, columns, NULL, powers + 2 * tiles);
        summarise(working, seen, powers, rows, columns, order, powers + LEVELS * tiles, found);
    }
    free(half), free(powers), free(order), free(seen);
    return result;
}
