#include "pixels.h"

enum { SIDE = 8, PIXELS = SIDE * SIDE, COEFFICIENTS = 15, LARGEST = 512, LONGEST_STEP = 255, FEWEST = 40, MAX_BLOCKS = 2048, MAX_LOOKED_AT = 768 };
enum { WORST_QUALITY = 3, QUALITIES = 86, BANDS = 4, SAMPLE = 1024 };
static const double CERTAIN = 0.8;
/* Some coefficients are whole eighths: rounding errors must not decide. */
static const float HALF = 0.501f, ONE = 0.999f;
static const int BAND_EDGES[BANDS + 1] = {1, 6, 15, 36, 64};
static const uint8_t ZIGZAG[PIXELS] = {
    0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,  12, 19, 26, 33, 40, 48,
    41, 34, 27, 20, 13, 6,  7,  14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23,
    30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63};
/* ITU-T T.81, table K.1: the first coefficients after the mean, in zigzag order. */
static const int STANDARD_LUMA[COEFFICIENTS] = {11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40};

/* Filled at first use, while Python's lock is held. */
static int is_ready;
static float basis[SIDE][SIDE], turned[SIDE][SIDE]; /* frequency x pixel, and the other way */
static float cosines[LONGEST_STEP + 1][LARGEST]; /* step x level; 0 for levels that are rounded to 0 */
static int steps[COEFFICIENTS][QUALITIES];

static void prepare(void)
{
    if (is_ready) return;
    const double pi = 3.14159265358979323846;
    for (int k = 0; k < SIDE; k++)
        for (int n = 0; n < SIDE; n++)
            basis[k][n] = turned[n][k] = (float)((k ? 0.5 : sqrt(0.125)) * cos((2 * n + 1) * k * pi / 16));
    for (int c = 0; c < COEFFICIENTS; c++)
        for (int q = 0; q < QUALITIES; q++) {
            int quality = WORST_QUALITY + q, percent = quality < 50 ? 5000 / quality : 200 - 2 * quality;
            int step = (STANDARD_LUMA[c] * percent + 50) / 100;
            steps[c][q] = step < 1 ? 1 : step > LONGEST_STEP ? LONGEST_STEP : step;
        }
    for (int step = 1; step <= LONGEST_STEP; step++)
        for (int level = step / 2 + 1; level < LARGEST; level++)
            cosines[step][level] = (float)cos(2 * pi * (level % step) / step);
    is_ready = 1;
}

/* The orthonormal DCT-II of 8 x 8 px, rows of eight frequencies. */
FOR_ALL_PROCESSORS
static void transform(const float *block, float *found)
{
    Eight rows[SIDE], by_pixel[SIDE];
    memcpy(by_pixel, turned, sizeof by_pixel);
    for (int y = 0; y < SIDE; y++) {
        Eight sum = block[y * SIDE] * by_pixel[0];
        for (int x = 1; x < SIDE; x++) sum += block[y * SIDE + x] * by_pixel[x];
        rows[y] = sum;
    }
    for (int k = 0; k < SIDE; k++) {
        Eight sum = basis[k][0] * rows[0];
        for (int y = 1; y < SIDE; y++) sum += basis[k][y] * rows[y];
        memcpy(found + k * SIDE, &sum, sizeof sum);
    }
}

/* Read a block; false when it has blown or crushed pixels, which were clipped after decoding. */
static int read_block(Grey grey, ptrdiff_t top, ptrdiff_t left, float *block)
{
    uint8_t levels[PIXELS], is_clipped = 0;
    copy_pixels(grey, top, left, SIDE, SIDE, levels);
    for (int i = 0; i < PIXELS; i++) is_clipped |= (uint8_t)((uint8_t)(levels[i] - 1) > 253);
    for (int i = 0; i < PIXELS; i++) block[i] = levels[i];
    return !is_clipped;
}

typedef void (*Take)(const float *coefficients, void *into);

/* Hand over the DCT of each block in rows of blocks all over, so that not many more than `most` are looked at. */
static void each_block(Grey grey, ptrdiff_t most, Take take, void *into)
{
    ptrdiff_t rows = larger(0, grey.height / SIDE), columns = larger(0, grey.width / SIDE);
    ptrdiff_t every = larger(1, rows * columns / most);
    for (ptrdiff_t row = 0; row < rows; row += every)
        for (ptrdiff_t column = 0; column < columns; column++) {
            float block[PIXELS], coefficients[PIXELS];
            if (!read_block(grey, row * SIDE, column * SIDE, block)) continue;
            transform(block, coefficients);
            take(coefficients, into);
        }
}

static Grey part_of(Grey grey, ptrdiff_t top, ptrdiff_t left)
{
    Grey part = {grey.start + top * grey.down + left * grey.right, grey.height - top, grey.width - left, grey.down,
                 grey.right};
    return part;
}

typedef struct {
    float of_level[COEFFICIENTS][LARGEST];
} Counts;

static void count_levels(const float *coefficients, void *into)
{
    Counts *counts = into;
    for (int c = 0; c < COEFFICIENTS; c++)
        counts->of_level[c][(int)lower(fabsf(coefficients[ZIGZAG[c + 1]]) + HALF, LARGEST - 1)]++;
}

/* The sum of products of the first `count` numbers, a multiple of eight. */
FOR_ALL_PROCESSORS
static float product_of(const float *a, const float *b, int count)
{
    Eight sum = {0}, left, right;
    for (int i = 0; i < count; i += 8) {
        memcpy(&left, a + i, sizeof left), memcpy(&right, b + i, sizeof right);
        sum += left * right;
    }
    return ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
}

typedef struct {
    double quality, fit, evidence;
} Fit;

/* The libjpeg quality whose steps the coefficients lie on; of those that fit nearly as well, the worst. */
static Fit best_fit(Grey grey, Counts *counts)
{
    float sums[QUALITIES] = {0}, fits[QUALITIES], evidence[QUALITIES] = {0}, best = -INFINITY;
    memset(counts, 0, sizeof *counts);
    each_block(grey, MAX_BLOCKS, count_levels, counts);
    for (int c = 0; c < COEFFICIENTS; c++) {
        float *of_level = counts->of_level[c];
        int levels = LARGEST;
        while (levels > 8 && product_of(of_level + levels - 8, of_level + levels - 8, 8) == 0) levels -= 8;
        for (int q = 0; q < QUALITIES; q++) sums[q] += product_of(of_level, cosines[steps[c][q]], levels);
        for (int level = LARGEST - 2; level >= 0; level--) of_level[level] += of_level[level + 1];
        for (int q = 0; q < QUALITIES; q++) evidence[q] += of_level[steps[c][q] / 2 + 1];
    }
    for (int q = 0; q < QUALITIES; q++) {
        fits[q] = sums[q] / higher(evidence[q], FEWEST);
        best = higher(best, fits[q]);
    }
    int worst = 0;
    while (worst < QUALITIES && !(fits[worst] >= 0.85f * best)) worst++;
    worst %= QUALITIES;
    while (worst + 1 < QUALITIES && fits[worst + 1] > fits[worst]) worst++;
    return (Fit){WORST_QUALITY + worst, fits[worst], floor(evidence[worst])};
}

typedef struct {
    float power[PIXELS], silent[PIXELS], silent_busy[PIXELS];
    ptrdiff_t blocks, busy, still;
} Spectrum;

FOR_ALL_PROCESSORS
static void add_to_spectrum(const float *coefficients, void *into)
{
    Spectrum *spectrum = into;
    float sizes[PIXELS], most = 0, low = 0;
    for (int i = 0; i < PIXELS; i++) sizes[i] = fabsf(coefficients[i]);
    for (int i = 1; i < PIXELS; i++) most = sizes[i] > most ? sizes[i] : most;
    for (int i = 1; i < 6; i++) low += sizes[ZIGZAG[i]];
    float is_busy = low > 8;
    spectrum->blocks++, spectrum->busy += low > 8, spectrum->still += most < ONE;
    for (int i = 0; i < PIXELS; i++) {
        float is_silent = sizes[i] < 0.8f;
        spectrum->power[i] += sizes[i] * sizes[i];
        spectrum->silent[i] += is_silent, spectrum->silent_busy[i] += is_silent * is_busy;
    }
}

/* Four bands' energies, how often each is silent where there is detail, and the share of blocks with none. */
static void describe(Grey sample, float *bands, float *still)
{
    Spectrum spectrum = {0};
    each_block(sample, MAX_LOOKED_AT, add_to_spectrum, &spectrum);
    const float *silent = spectrum.busy >= 4 ? spectrum.silent_busy : spectrum.silent;
    double looked_at = (double)(spectrum.busy >= 4 ? spectrum.busy : spectrum.blocks), blocks = (double)spectrum.blocks;
    *still = spectrum.blocks ? (float)((double)spectrum.still / blocks) : 0;
    for (int band = 0; band < BANDS; band++) {
        double power = 0, share = 0, size = BAND_EDGES[band + 1] - BAND_EDGES[band];
        for (int i = BAND_EDGES[band]; i < BAND_EDGES[band + 1]; i++)
            power += spectrum.power[ZIGZAG[i]], share += silent[ZIGZAG[i]];
        bands[band] = spectrum.blocks < 4 ? 0 : (float)log(power / blocks / size + 0.02);
        bands[BANDS + band] = spectrum.blocks < 4 ? 1 : (float)(share / looked_at / size);
    }
}

/* A piece from the middle, cut at the grid that was found. */
static Grey middle_of(Grey grey, ptrdiff_t top, ptrdiff_t left)
{
    ptrdiff_t height = smaller(grey.height - 8, SAMPLE) / 8 * 8 + 4, width = smaller(grey.width - 8, SAMPLE) / 8 * 8 + 4;
    ptrdiff_t down = (grey.height - height) / 2 / 8 * 8 + top, right = (grey.width - width) / 2 / 8 * 8 + left;
    Grey part = part_of(grey, down, right);
    part.height = smaller(part.height, height), part.width = smaller(part.width, width);
    return part;
}

int compression_features(Grey native, ptrdiff_t row, ptrdiff_t column, double *fit, float *found)
{
    prepare();
    Counts *counts = malloc(sizeof *counts);
    Grey middle;
    if (!counts) return OUT_OF_MEMORY;
    Fit best = best_fit(part_of(native, row, column), counts);
    if ((row || column) && best.fit <= CERTAIN) {
        Fit from_corner = best_fit(native, counts);
        if (best.fit <= from_corner.fit) best = from_corner, row = column = 0;
    }
    free(counts);
    double told[FIT_COUNT] = {best.quality, best.fit, best.evidence, (double)row, (double)column};
    memcpy(fit, told, sizeof told);
    middle = middle_of(native, row, column);
    uint8_t *pixels = malloc((size_t)(middle.height * middle.width));
    if (!pixels) return OUT_OF_MEMORY;
    copy_pixels(middle, 0, 0, middle.height, middle.width, pixels);
    Grey sample = {pixels, middle.height, middle.width, middle.width, 1};
    describe(sample, found, found + 4 * BANDS);
    describe(part_of(sample, 4, 4), found + 2 * BANDS, found + 4 * BANDS + 1);
    ptrdiff_t unchanged = 0, little = 0, pairs = sample.height * (sample.width - 1);
    for (ptrdiff_t y = 0; y < sample.height; y++)
        for (ptrdiff_t x = 0; x + 1 < sample.width; x++) {
            int change = abs(pixels[y * sample.width + x + 1] - pixels[y * sample.width + x]);
            unchanged += change == 0, little += change <= 2;
        }
    free(pixels);
    found[4 * BANDS + 2] = (float)unchanged / (float)pairs;
    found[4 * BANDS + 3] = (float)little / (float)pairs;
    return 0;
}
