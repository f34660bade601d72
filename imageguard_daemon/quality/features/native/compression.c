#include "pixels.h"

enum { SIDE = 8, PIXELS = SIDE * SIDE, COEFFICIENTS = 15, LOW = 6, LARGEST = 512, LONGEST_STEP = 255, FEWEST = 40, MAX_BLOCKS = 2048, MAX_LOOKED_AT = 768 };
enum { WORST_QUALITY = 3, QUALITIES = 86, BANDS = 4, SAMPLE = 1024 };
static const double CERTAIN = 0.8;
/* Some coefficients are whole eighths: rounding errors must not decide. */
static const float HALF = 0.501f, ONE = 0.999f, SILENT = 0.8f;
static const int BAND_EDGES[BANDS + 1] = {1, 6, 15, 36, 64};
/* Coefficients lie here column by column. */
static const uint8_t ZIGZAG[PIXELS] = {
     0,  8,  1,  2,  9, 16, 24, 17, 10,  3,  4, 11, 18, 25, 32, 40,
    33, 26, 19, 12,  5,  6, 13, 20, 27, 34, 41, 48, 56, 49, 42, 35,
    28, 21, 14,  7, 15, 22, 29, 36, 43, 50, 57, 58, 51, 44, 37, 30,
    23, 31, 38, 45, 52, 59, 60, 53, 46, 39, 47, 54, 61, 62, 55, 63};
/* ITU-T T.81, table K.1: the first coefficients after the mean, in zigzag order. */
static const int STANDARD_LUMA[COEFFICIENTS] = {11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40};

/* Filled at first use, while Python's lock is held. */
static int is_ready;
static float cosines[LONGEST_STEP + 1][LARGEST]; /* step x level; 0 for levels that are rounded to 0 */
static int steps[COEFFICIENTS][QUALITIES];

static void prepare(void)
{
    if (is_ready) return;
    const double pi = 3.14159265358979323846;
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

/* Whether a block has pixels that are black or white. */
static inline int is_clipped(const uint8_t *start, ptrdiff_t next)
{
    typedef uint64_t Two __attribute__((vector_size(16)));
    typedef uint8_t Rows __attribute__((vector_size(16)));
    Rows found = {0};
    for (int y = 0; y < SIDE; y += 2) {
        uint64_t upper, lower;
        memcpy(&upper, start + y * next, sizeof upper), memcpy(&lower, start + (y + 1) * next, sizeof lower);
        Two both = {upper, lower};
        found |= (Rows)((Rows)both + 1 <= 1); /* 255 and 1 more are 0 */
    }
    Two any = (Two)found;
    return (any[0] | any[1]) != 0;
}

/* Halves of the cosines of sixteenths of half a turn. */
static const float C1 = 0.490392640f, C2 = 0.461939766f, C3 = 0.415734806f, C4 = 0.353553391f, C5 = 0.277785117f, C6 = 0.191341716f,
                   C7 = 0.0975451610f;

/* Eight orthonormal DCT-IIs at once, one in each place of the vectors; even and odd parts need half the products. The
 * highest two frequencies are left out, or not. */
static inline __attribute__((always_inline)) void transform_columns(Eight rows[SIDE], int wanted)
{
    Eight sums[SIDE / 2], d[SIDE / 2];
    for (int n = 0; n < SIDE / 2; n++) sums[n] = rows[n] + rows[7 - n], d[n] = rows[n] - rows[7 - n];
    Eight outer = sums[0] + sums[3], inner = sums[1] + sums[2], first = sums[0] - sums[3], second = sums[1] - sums[2];
    rows[0] = C4 * (outer + inner);
    rows[1] = C1 * d[0] + C3 * d[1] + C5 * d[2] + C7 * d[3];
    rows[2] = C2 * first + C6 * second;
    rows[3] = C3 * d[0] - C7 * d[1] - C1 * d[2] - C5 * d[3];
    rows[4] = C4 * (outer - inner);
    rows[5] = C5 * d[0] - C1 * d[1] + C7 * d[2] + C3 * d[3];
    if (wanted == LOW) return;
    rows[6] = C6 * first - C2 * second;
    rows[7] = C7 * d[0] - C5 * d[1] + C3 * d[2] - C1 * d[3];
}

static inline __attribute__((always_inline)) int sizes_up_to(int wanted, const uint8_t *start, ptrdiff_t next, int is_turned, float *sizes)
{
    Eight rows[SIDE];
    if (is_clipped(start, next)) return 0;
    for (int y = 0; y < SIDE; y++) {
        uint64_t levels;
        memcpy(&levels, start + y * next, sizeof levels);
        to_numbers(levels, rows + y);
    }
    if (is_turned) transpose(rows);
    transform_columns(rows, wanted);
    transpose(rows);
    transform_columns(rows, wanted);
    for (int k = 0; k < SIDE; k++) {
        EightPlaces size = (EightPlaces)rows[k] & INT32_MAX;
        memcpy(sizes + k * SIDE, &size, sizeof size);
    }
    return 1;
}

static Grey part_of(Grey grey, ptrdiff_t top, ptrdiff_t left)
{
    Grey part = {grey.start + top * grey.down + left * grey.right, grey.height - top, grey.width - left, grey.down,
                 grey.right};
    return part;
}

/* The sizes of the coefficients of a block, column by column of frequencies; false when it has blown or crushed pixels,
 * which were clipped after decoding. Each row of pixels, or column when it is turned, starts `next` bytes after another. */
typedef int (*SizesOf)(const uint8_t *start, ptrdiff_t next, int is_turned, float *sizes);

static int sizes_of(const uint8_t *start, ptrdiff_t next, int is_turned, float *sizes)
{
    return sizes_up_to(SIDE, start, next, is_turned, sizes);
}

/* Of the lowest six frequencies only, among which are the first COEFFICIENTS; the rest is not filled with sense. */
static int low_sizes_of(const uint8_t *start, ptrdiff_t next, int is_turned, float *sizes)
{
    return sizes_up_to(LOW, start, next, is_turned, sizes);
}

typedef void (*Take)(const float *sizes, void *into);

static int is_turned(Grey grey) { return grey.right != 1 && grey.right != -1; }

static const uint8_t *lowest_address(Grey grey)
{
    return grey.start + smaller(0, (grey.height - 1) * grey.down) + smaller(0, (grey.width - 1) * grey.right);
}

/* Hand over the DCT of each block in rows of blocks all over, so that not many more than `most` are looked at.
 *
 * Blocks are read as they lie in memory: in mirror image the sizes of the coefficients are the same. */
static void each_block(Grey grey, ptrdiff_t most, SizesOf look, Take take, void *into)
{
    ptrdiff_t rows = larger(0, grey.height / SIDE), columns = larger(0, grey.width / SIDE);
    ptrdiff_t every = larger(1, rows * columns / most), next = is_turned(grey) ? grey.right : grey.down;
    for (ptrdiff_t row = 0; row < rows; row += every)
        for (ptrdiff_t column = 0; column < columns; column++) {
            float sizes[PIXELS];
            Grey block = part_of(grey, row * SIDE, column * SIDE);
            block.height = block.width = SIDE;
            if (look(lowest_address(block), next < 0 ? -next : next, is_turned(grey), sizes)) take(sizes, into);
        }
}

typedef struct {
    int32_t of_level[COEFFICIENTS][LARGEST];
} Counts;

static void count_levels(const float *sizes, void *into)
{
    Counts *counts = into;
    int32_t levels[LOW * SIDE];
    for (int i = 0; i < LOW * SIDE; i++) levels[i] = (int32_t)(sizes[i] + HALF);
    for (int i = 0; i < LOW * SIDE; i++) levels[i] = levels[i] < LARGEST - 1 ? levels[i] : LARGEST - 1;
    __asm__("" : "+m"(levels)); /* by way of memory: compilers take each out of its vector, with three times the work */
    for (int c = 0; c < COEFFICIENTS; c++) counts->of_level[c][levels[ZIGZAG[c + 1]]]++;
}

enum { GROUP = 32, GROUPS = LARGEST / GROUP };

/* Levels as floating point, and which groups of them occur at all: of high ones most do not. Gives how many groups do. */
static int levels_seen(const int32_t *counts, float *of_level, int *groups)
{
    int found = 0;
    for (int group = 0; group < GROUPS; group++) {
        int32_t any = 0;
        for (int i = group * GROUP; i < (group + 1) * GROUP; i++) any |= counts[i], of_level[i] = (float)counts[i];
        if (any) groups[found++] = group;
    }
    return found;
}

/* The sum of products of numbers in these groups; four sums, so that none waits for another. */
static float product_of(const float *a, const float *b, const int *groups, int count)
{
    Eight sums[4] = {{0}}, left, right;
    for (int i = 0; i < count; i++)
        for (int k = 0; k < 4; k++) {
            int at = groups[i] * GROUP + 8 * k;
            memcpy(&left, a + at, sizeof left), memcpy(&right, b + at, sizeof right);
            sums[k] += left * right;
        }
    return sum_of((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

/* Add to each quality's fit and evidence what one coefficient says of it: only levels that are not rounded to 0. */
static void add_evidence(const int32_t *counts, const int *steps, float *fits, float *evidence)
{
    float of_level[LARGEST], fit = 0;
    int groups[GROUPS], count = levels_seen(counts, of_level, groups), first = 0, last = 0;
    int32_t below[LONGEST_STEP / 2 + 2] = {0}, all = 0;
    for (int level = 0; level < LARGEST; level++) all += counts[level];
    for (int level = 0; level <= LONGEST_STEP / 2; level++) below[level + 1] = below[level] + counts[level];
    for (int q = QUALITIES - 1; q >= 0; q--) { /* from short steps to long ones; neighbouring qualities often share one */
        int lowest = steps[q] / 2 + 1;
        while (first < count && (groups[first] + 1) * GROUP <= lowest) first++;
        if (steps[q] != last) last = steps[q], fit = product_of(of_level, cosines[last], groups + first, count - first);
        fits[q] += fit, evidence[q] += (float)(all - below[lowest]);
    }
}

typedef struct {
    double quality, fit, evidence;
} Fit;

/* The libjpeg quality whose steps the coefficients lie on; of those that fit nearly as well, the worst. */
static Fit best_fit(Grey grey, Counts *counts)
{
    float sums[QUALITIES] = {0}, fits[QUALITIES], evidence[QUALITIES] = {0}, best = -INFINITY;
    memset(counts, 0, sizeof *counts);
    each_block(grey, MAX_BLOCKS, low_sizes_of, count_levels, counts);
    for (int c = 0; c < COEFFICIENTS; c++) add_evidence(counts->of_level[c], steps[c], sums, evidence);
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
    Eight power[SIDE];
    EightPlaces silent[SIDE], silent_busy[SIDE];
    ptrdiff_t blocks, busy, still;
} Spectrum;

static void add_to_spectrum(const float *sizes, void *into)
{
    typedef uint64_t Four __attribute__((vector_size(32)));
    Spectrum *spectrum = into;
    Eight size;
    EightPlaces heard = {0}, is_busy = {0};
    float low = 0;
    for (int i = 1; i < 6; i++) low += sizes[ZIGZAG[i]];
    is_busy -= low > 8; /* in place of a branch that no processor could foresee */
    for (int k = 0; k < SIDE; k++) {
        memcpy(&size, sizes + k * SIDE, sizeof size);
        if (k == 0) size[0] = 0; /* the mean, which is no detail */
        EightPlaces is_silent = size < SILENT;
        spectrum->power[k] += size * size;
        spectrum->silent[k] -= is_silent, spectrum->silent_busy[k] -= is_silent & is_busy;
        heard |= size >= ONE;
    }
    Four any = (Four)heard;
    spectrum->blocks++, spectrum->busy += low > 8, spectrum->still += !(any[0] | any[1] | any[2] | any[3]);
}

/* Four bands' energies, how often each is silent where there is detail, and the share of blocks with none. */
static void describe(Grey sample, float *bands, float *still)
{
    Spectrum spectrum = {.blocks = 0};
    each_block(sample, MAX_LOOKED_AT, sizes_of, add_to_spectrum, &spectrum);
    const EightPlaces *silent = spectrum.busy >= 4 ? spectrum.silent_busy : spectrum.silent;
    double looked_at = (double)(spectrum.busy >= 4 ? spectrum.busy : spectrum.blocks), blocks = (double)spectrum.blocks;
    *still = spectrum.blocks ? (float)((double)spectrum.still / blocks) : 0;
    for (int band = 0; band < BANDS; band++) {
        double power = 0, share = 0, size = BAND_EDGES[band + 1] - BAND_EDGES[band];
        for (int i = BAND_EDGES[band]; i < BAND_EDGES[band + 1]; i++)
            power += spectrum.power[ZIGZAG[i] / SIDE][ZIGZAG[i] % SIDE], share += silent[ZIGZAG[i] / SIDE][ZIGZAG[i] % SIDE];
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

/* Places where neighbours differ by nothing, and by no more than 2: as many as have been added up, and some in bytes. */
typedef struct {
    ptrdiff_t unchanged, little;
    Levels equal, near;
    int steps; /* that the bytes have taken, of 255 that they can */
} Small;

static void empty_bytes(Small *small)
{
    for (int i = 0; i < (int)sizeof(Levels); i++) small->unchanged += small->equal[i], small->little += small->near[i];
    small->equal = small->near = (Levels){0}, small->steps = 0;
}

/* Count such places of two rows, which are not much longer than SAMPLE. */
static void count_small(const uint8_t *a, const uint8_t *b, ptrdiff_t width, Small *small)
{
    enum { AT_ONCE = sizeof(Levels), MOST = SAMPLE / AT_ONCE + 1 };
    ptrdiff_t x = 0;
    if (small->steps + MOST > 255) empty_bytes(small);
    for (; x + AT_ONCE <= width; x += AT_ONCE, small->steps++) {
        Levels left, right;
        memcpy(&left, a + x, sizeof left), memcpy(&right, b + x, sizeof right);
        Levels change = apart(left, right);
        small->equal -= (Levels)(change == 0), small->near -= (Levels)(change <= 2);
    }
    for (; x < width; x++) small->unchanged += a[x] == b[x], small->little += abs(a[x] - b[x]) <= 2;
}

/* Count them among the neighbours of rows, wherever these lie in memory. */
static Small small_changes(Grey middle)
{
    Small small = {0};
    if (is_turned(middle))
        for (ptrdiff_t x = 0; x + 1 < middle.width; x++) {
            const uint8_t *column = lowest_address((Grey){middle.start + x * middle.right, middle.height, 1, middle.down, 0});
            count_small(column, column + middle.right, middle.height, &small);
        }
    else
        for (ptrdiff_t y = 0; y < middle.height; y++) {
            const uint8_t *row = lowest_address((Grey){middle.start + y * middle.down, 1, middle.width, 0, middle.right});
            count_small(row, row + 1, middle.width - 1, &small);
        }
    empty_bytes(&small);
    return small;
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
    describe(middle, found, found + 4 * BANDS);
    describe(part_of(middle, 4, 4), found + 2 * BANDS, found + 4 * BANDS + 1);
    Small small = small_changes(middle);
    float pairs = (float)(middle.height * (middle.width - 1));
    found[4 * BANDS + 2] = (float)small.unchanged / pairs;
    found[4 * BANDS + 3] = (float)small.little / pairs;
    return 0;
}
