#include "pixels.h"

enum { BINS = 4096, HALF_BINS = BINS / 2 + 1, BLOCK = 8, AROUND = 8, NEARBY = 9, ROWS = 96, BANDS = 16, REACHES = 4, REACH = 8, WIDE = 16, LONGEST = 256 };
typedef double Four __attribute__((vector_size(32)));
static const double PI = 3.14159265358979323846, EXACTLY = 0.001, ROUGHLY = 0.3001, LOWEST = 0.105, HIGHEST = 0.47, EQUAL = 1e-4;
static const double NO_RHYTHM = 1e-3; /* less is rounding */

/* Filled at first use, while Python's lock is held. */
static int is_ready;
static double cosine[BINS], sine[BINS]; /* those that steps of `half` need begin at `half` */
static float single_cosine[LONGEST], single_sine[LONGEST];

static void prepare(void)
{
    if (is_ready) return;
    for (int half = 1; half < BINS; half *= 2)
        for (int k = 0; k < half; k++) cosine[half + k] = cos(PI * k / half), sine[half + k] = -sin(PI * k / half);
    for (int k = 0; k < LONGEST; k++) single_cosine[k] = (float)cosine[k], single_sine[k] = (float)sine[k];
    is_ready = 1;
}

/* One step of Cooley and Tukey's transform for two places, of any kind of vector: it changes all four. */
#define COMBINE(low, low_i, high, high_i, c, s)                          \
    do {                                                                 \
        x = high * c - high_i * s, y = high * s + high_i * c;            \
        high = low - x, high_i = low_i - y, low += x, low_i += y;        \
    } while (0)

/* The transform of as many signals at once as a vector has places, of a power of two numbers in reversed order before.
 * Two steps are taken at a time, so that the numbers between them stay in registers. */
#define TRANSFORM(Vector, real, imaginary, size, cosine, sine)                                                              \
    do {                                                                                                                    \
        Vector x, y;                                                                                                        \
        int half = 1;                                                                                                       \
        if (__builtin_ctz((unsigned)size) % 2) {                                                                            \
            for (int k = 0; k < size; k += 2)                                                                               \
                COMBINE(real[k], imaginary[k], real[k + 1], imaginary[k + 1], cosine[1], sine[1]);                          \
            half = 2;                                                                                                       \
        }                                                                                                                   \
        for (; half < size; half *= 4)                                                                                      \
            for (int start = 0; start < size; start += 4 * half)                                                            \
                for (int k = 0; k < half; k++) {                                                                            \
                    Vector *re = real + start + k, *im = imaginary + start + k;                                             \
                    Vector a = re[0], b = re[half], c = re[2 * half], d = re[3 * half];                                     \
                    Vector e = im[0], f = im[half], g = im[2 * half], h = im[3 * half];                                     \
                    COMBINE(a, e, b, f, cosine[half + k], sine[half + k]);                                                  \
                    COMBINE(c, g, d, h, cosine[half + k], sine[half + k]);                                                  \
                    COMBINE(a, e, c, g, cosine[2 * half + k], sine[2 * half + k]);                                          \
                    COMBINE(b, f, d, h, cosine[3 * half + k], sine[3 * half + k]);                                          \
                    re[0] = a, re[half] = b, re[2 * half] = c, re[3 * half] = d;                                            \
                    im[0] = e, im[half] = f, im[2 * half] = g, im[3 * half] = h;                                            \
                }                                                                                                           \
    } while (0)

static void fourier_of_four(Four *real, Four *imaginary, int size) { TRANSFORM(Four, real, imaginary, size, cosine, sine); }

/* Turn so many places of a signal, the first of each four signals by nothing and the others by a bin more each, for the
 * bins from `bin` on, into the order that the transform wants. */
static void turn_signal(const double *real, const double *imaginary, int count, int bin, const int16_t *order, Four *found,
                        Four *found_i)
{
    Four c = {1, 1, 1, 1}, s = {0}, along, across;
    for (int i = 0; i < 4; i++) along[i] = cos(2 * PI * (bin + i) / BINS), across[i] = -sin(2 * PI * (bin + i) / BINS);
    for (int x = 0; x < count; x++) {
        found[order[x]] = real[x] * c - imaginary[x] * s, found_i[order[x]] = real[x] * s + imaginary[x] * c;
        Four next = c * along - s * across;
        s = s * along + c * across, c = next;
    }
}

/* The transform in place of a complex signal of which only the first `count` of BINS places are not 0: every so manyth
 * bin is the transform of so many places alone, turned before. */
static int fourier(double *real, double *imaginary, int count)
{
    int size = 64, parts;
    while (size < count) size *= 2;
    parts = BINS / size;
    Four *turned = aligned_alloc(sizeof *turned, 2 * (size_t)size * sizeof *turned), *turned_i = turned + size;
    double *found = malloc(2 * BINS * sizeof *found);
    int16_t order[LONGEST_LINE] = {0};
    for (int x = 1; x < size; x++) order[x] = (int16_t)(order[x / 2] / 2 | (x % 2 ? size / 2 : 0));
    for (int bin = 0; turned && found && bin < parts; bin += 4) {
        memset(turned, 0, 2 * (size_t)size * sizeof *turned);
        turn_signal(real, imaginary, count, bin, order, turned, turned_i);
        fourier_of_four(turned, turned_i, size);
        for (int k = 0; k < size; k++)
            for (int i = 0; i < 4 && bin + i < parts; i++)
                found[k * parts + bin + i] = turned[k][i], found[BINS + k * parts + bin + i] = turned_i[k][i];
    }
    int result = turned && found ? 0 : OUT_OF_MEMORY;
    if (!result) memcpy(real, found, BINS * sizeof *real), memcpy(imaginary, found + BINS, BINS * sizeof *imaginary);
    free(turned), free(found);
    return result;
}

/* Hann's window over so many places, each cosine from the one before. */
static void hann(ptrdiff_t size, float *window)
{
    const double turn = 2 * PI / (double)(size - 1), along = cos(turn), across = sin(turn);
    double c = 1, d = 0;
    for (ptrdiff_t at = 0; at < size; at++) {
        double next = c * along - d * across;
        window[at] = (float)(0.5 - 0.5 * c);
        d = d * along + c * across, c = next;
    }
}

/* What is added up of 16 neighbouring columns over some lines: the sizes of first, second and third differences in
 * unsigned 16 bits, and squared differences over 1, 2, 4 and 8 px by pairs of columns. */
typedef struct {
    Sixteen change, bend, step;
    EightPlaces squares[REACHES];
} Differences;

static inline __attribute__((always_inline)) void add_differences(const uint8_t *at, const Sixteen *within, Differences *sums)
{
    Sixteen here = sixteen_levels(at), first = sixteen_levels(at + 1), second = sixteen_levels(at + 2), third = sixteen_levels(at + 3);
    Sixteen far[REACHES] = {first - here, second - here, sixteen_levels(at + 4) - here, sixteen_levels(at + 8) - here};
    Sixteen bend = second - first - far[0], next = third - second - (second - first);
    sums->change += sizes(far[0]), sums->bend += sizes(bend), sums->step += sizes(next - bend);
    for (int i = 0; i < REACHES; i++) {
        if (within) far[i] &= within[i];
        sums->squares[i] += products(far[i], far[i]);
    }
}

/* Differences of so many lines, 16 columns wide. Of those at the end of lines some are with px of the next line, which are
 * not within it and not asked for; of the last lines, whose memory ends, copies are read. */
static inline __attribute__((always_inline)) Differences differences_of(const uint8_t *start, ptrdiff_t next, ptrdiff_t lines,
                                                                        const uint8_t *end, const Sixteen *within)
{
    Differences sums = {.change = {0}};
    uint8_t copy[WIDE + REACH] = {0};
    for (ptrdiff_t y = 0; y < lines; y++, start += next)
        if (!within) __builtin_prefetch(start + 64), add_differences(start, NULL, &sums);
        else if (end - start >= WIDE + REACH) add_differences(start, within, &sums);
        else memcpy(copy, start, (size_t)(end - start)), add_differences(copy, within, &sums);
    return sums;
}

static void add_sizes(Sixteen sizes, int32_t *sums)
{
    typedef uint16_t Unsigned __attribute__((vector_size(32)));
    typedef int32_t Wide __attribute__((vector_size(64)));
    Wide before;
    memcpy(&before, sums, sizeof before);
    before += __builtin_convertvector((Unsigned)sizes, Wide);
    memcpy(sums, &before, sizeof before);
}

/* Add up the sizes of first, second and third differences, each for `room` places, and the squares of those over 1, 2, 4
 * and 8 px: column by column, so that sums stay in the processor's registers, and so many lines that they stay in its
 * cache. */
static void sum_changes(Grey lines, ptrdiff_t room, int32_t *sums, int64_t squares[REACHES])
{
    enum { FITTING = 64 }; /* as many third differences, of at most 1020, fit into 16 bits */
    memset(sums, 0, (size_t)(3 * room) * sizeof *sums);
    for (ptrdiff_t first = 0; first < lines.height; first += FITTING)
        for (ptrdiff_t x = 0; x < lines.width; x += WIDE) {
            const uint8_t *start = lines.start + first * lines.width + x, *end = lines.start + lines.height * lines.width;
            ptrdiff_t count = smaller(FITTING, lines.height - first), left = lines.width - x;
            Differences found;
            if (left >= WIDE + REACH) found = differences_of(start, lines.width, count, end, NULL);
            else {
                Sixteen within[REACHES];
                for (int i = 0; i < REACHES; i++)
                    for (int k = 0; k < WIDE; k++) within[i][k] = k + (1 << i) < left ? -1 : 0;
                found = differences_of(start, lines.width, count, end, within);
            }
            add_sizes(found.change, sums + x), add_sizes(found.bend, sums + room + x), add_sizes(found.step, sums + 2 * room + x);
            for (int i = 0; i < REACHES; i++) squares[i] += total(found.squares[i]);
        }
}

/* Where the first block border lies along lines, and how much borders of 8 and of 4 px stand out. */
static void find_grid(const int32_t *step, ptrdiff_t count, double lines, double *found)
{
    double whole[BLOCK] = {0}, sorted[BLOCK];
    ptrdiff_t blocks = count / BLOCK;
    int phase = 0;
    for (ptrdiff_t i = 0; i < blocks * BLOCK; i++) whole[i % BLOCK] += step[i];
    for (int i = 0; i < BLOCK; i++) {
        whole[i] /= lines * (double)blocks;
        if (whole[i] > whole[phase] + EQUAL) phase = i; /* of equals the first, whatever rounding makes of them */
        int at = i;
        for (; at > 0 && sorted[at - 1] > whole[i]; at--) sorted[at] = sorted[at - 1];
        sorted[at] = whole[i];
    }
    double usual = fmax((sorted[3] + sorted[4]) / 2, 0.05);
    found[0] = (phase + 2) % BLOCK, found[1] = whole[phase] / usual, found[2] = whole[(phase + 4) % BLOCK] / usual;
}

/* The largest of so many places up to this one, at each place. */
static void widen(int32_t *most, ptrdiff_t count, ptrdiff_t by)
{
    for (ptrdiff_t x = count - 1; x >= by; x--) most[x] = most[x] > most[x - by] ? most[x] : most[x - by];
}

/* The shares of places that differ from the next by next to nothing, and by little, of what places nearby do. */
static void repeated_shares(const int32_t *change, ptrdiff_t count, double *exactly, double *roughly)
{
    ptrdiff_t exact = 0, rough = 0;
    int32_t most[LONGEST_LINE + NEARBY] = {0};
    memcpy(most, change, (size_t)count * sizeof *most);
    for (int by = 1; by <= NEARBY - 1; by *= 2) widen(most, count + NEARBY, by); /* 2, 4, 8, 16 places */
    widen(most, count + NEARBY, 2 * NEARBY + 1 - 16);
    for (ptrdiff_t x = 0; x < count; x++) {
        double highest = most[x + NEARBY];
        exact += change[x] < EXACTLY * highest, rough += change[x] < ROUGHLY * highest;
    }
    *exactly = fmin(*exactly, (double)exact / (double)count), *roughly = fmin(*roughly, (double)rough / (double)count);
}

/* The profile relative to its surroundings, windowed; gives the square root of the window's power. */
static double windowed(const int32_t *bend, ptrdiff_t count, double lines, double *found)
{
    double mean = 0, power = 0;
    float window[LONGEST_LINE];
    int32_t wide[LONGEST_LINE + 2 * AROUND + 1], nearby[LONGEST_LINE], sum = 0; /* mirrored at both ends */
    for (ptrdiff_t x = 0; x < AROUND; x++) wide[AROUND - 1 - x] = bend[x], wide[AROUND + count + x] = bend[count - 1 - x];
    memcpy(wide + AROUND, bend, (size_t)count * sizeof *wide);
    for (ptrdiff_t x = 0; x < 2 * AROUND; x++) sum += wide[x];
    for (ptrdiff_t x = 0; x < count; x++) {
        nearby[x] = sum += wide[x + 2 * AROUND];
        sum -= wide[x];
    }
    for (ptrdiff_t x = 0; x < count; x++) found[x] = bend[x] / lines / (nearby[x] / lines / (2 * AROUND + 1) + 0.05);
    for (ptrdiff_t x = 0; x < count; x++) {
        found[x] = found[x] < 4 ? found[x] : 4;
        mean += found[x] / (double)count;
    }
    hann(count, window);
    for (ptrdiff_t x = 0; x < count; x++) {
        found[x] = (found[x] - mean) * window[x];
        power += (double)window[x] * window[x];
    }
    return sqrt(power);
}

/* The log of the squared difference of near pixels relative to that of far ones: over 1 and 4 px, and 2 and 8. */
static void fineness(Grey lines, const int64_t squares[REACHES], double *near, double *far)
{
    double powers[REACHES];
    for (int i = 0; i < REACHES; i++)
        powers[i] = (double)squares[i] / (double)(lines.height * (lines.width - (1 << i))) + 0.01;
    *near = log(powers[0] / powers[2]), *far = log(powers[1] / powers[3]);
}

static void fourier_of_eight(Eight *real, Eight *imaginary, int size)
{
    TRANSFORM(Eight, real, imaginary, size, single_cosine, single_sine);
}

static void add_power(const Eight *real, const Eight *imaginary, int length, Eight *power)
{
    for (int k = 0; k <= length / 2; k++) {
        int other = (length - k) % length;
        power[k] += real[k] * real[k] + imaginary[k] * imaginary[k] + real[other] * real[other] + imaginary[other] * imaginary[other];
    }
}

/* Eight lines, their means taken away, windowed, in the order that the transform wants; fewer leave zeros. */
static void take_lines(const uint8_t *first, ptrdiff_t next, int count, int length, const float *window,
                       const uint8_t *order, Eight *found)
{
    Eight part[8], means = {0};
    for (int i = 0; i < count; i++) {
        int32_t sum = 0;
        for (int x = 0; x < length; x++) sum += first[i * next + x];
        means[i] = (float)sum / (float)length;
    }
    for (int x = 0; x < length; x += 8) {
        for (int i = 0; i < 8; i++) {
            uint64_t levels = 0;
            if (i < count) memcpy(&levels, first + i * next + x, sizeof levels);
            to_numbers(levels, part + i);
        }
        transpose(part);
        for (int i = 0; i < 8; i++) found[order[x + i]] = (part[i] - means) * window[x + i];
    }
}

/* The power of each frequency, added up over every so manyth line from its middle on. */
static void powers_of(Grey lines, ptrdiff_t every, int length, const float *window, double *power)
{
    Eight real[LONGEST], imaginary[LONGEST], powers[LONGEST / 2 + 1] = {{0}};
    uint8_t order[LONGEST] = {0};
    for (int x = 1, bits = length / 2; x < length; x++) order[x] = (uint8_t)(order[x / 2] / 2 | (x % 2 ? bits : 0));
    const uint8_t *middle = lines.start + (lines.width - length) / 2;
    for (ptrdiff_t y = 0; y < lines.height; y += 16 * every) { /* two lines make one complex signal */
        ptrdiff_t left = (lines.height - y + every - 1) / every, next = every * lines.width;
        const uint8_t *first = middle + y * lines.width;
        take_lines(first, next, (int)smaller(8, left), length, window, order, real);
        take_lines(first + 8 * next, next, (int)larger(0, smaller(8, left - 8)), length, window, order, imaginary);
        fourier_of_eight(real, imaginary, length);
        add_power(real, imaginary, length, powers);
    }
    for (int k = 0; k <= length / 2; k++) {
        power[k] = 0;
        for (int i = 0; i < 8; i++) power[k] += (double)powers[k][i] / 2;
    }
}

/* The log power in bands of frequency along lines, relative to the lowest. */
static void bands(Grey lines, double *found)
{
    static const double FIRST = 0.015, SECOND = 0.04, WIDTH = 0.03, LAST = 0.501;
    float window[LONGEST];
    double power[LONGEST / 2 + 1], edges[BANDS + 1] = {FIRST}, window_power = 0;
    int length = LONGEST;
    while (length > lines.width) length /= 2;
    hann(length, window);
    for (int x = 0; x < length; x++) window_power += (double)window[x] * window[x];
    ptrdiff_t every = larger(1, lines.height / ROWS);
    powers_of(lines, every, length, window, power);
    int values = length / 2 + 1, width = length / 32 > 1 ? length / 32 : 1;
    double logs[LONGEST / 2 + 1], smooth[LONGEST / 2 + 1];
    ptrdiff_t taken = (lines.height + every - 1) / every;
    for (int k = 0; k < values; k++) logs[k] = log(power[k] / ((double)taken * window_power) + 0.05);
    for (int k = 0; k < values; k++) {
        smooth[k] = 0;
        for (int i = 0; i < width; i++) {
            int at = k + i - width / 2;
            smooth[k] += logs[at < 0 ? 0 : at >= values ? values - 1 : at] / width;
        }
    }
    for (int i = 1; i < BANDS; i++) edges[i] = SECOND + (i - 1) * WIDTH;
    edges[BANDS] = LAST;
    for (int i = 0; i < BANDS; i++) {
        double at = (edges[i] + edges[i + 1]) / 2 * length;
        int below = (int)at < values - 1 ? (int)at : values - 2;
        found[i] = smooth[below] + (smooth[below + 1] - smooth[below]) * fmin(at - below, 1);
    }
    for (int i = BANDS - 1; i >= 0; i--) found[i] -= found[0];
}

static float strongest(const float *spectrum, int eighths)
{
    int middle = eighths * BINS / 8;
    float most = 0;
    for (int k = middle - 3; k <= middle + 3 && k < HALF_BINS; k++) most = higher(most, spectrum[k]);
    return most;
}

/* The geometric mean of the amplitudes of two real signals that were transformed as one complex signal. */
static void common_spectrum(const double *real, const double *imaginary, const double norms[2], float *spectrum)
{
    float first_norm = (float)(1 / (4 * norms[0] * norms[0])), second_norm = (float)(1 / (4 * norms[1] * norms[1]));
    const float least = (float)(NO_RHYTHM * NO_RHYTHM);
    for (int k = 0; k < HALF_BINS; k++) {
        int other = k ? BINS - k : 0;
        float a = (float)(real[k] + real[other]), b = (float)(imaginary[k] - imaginary[other]);
        float c = (float)(imaginary[k] + imaginary[other]), d = (float)(real[other] - real[k]);
        float first = higher((a * a + b * b) * first_norm, least), second = higher((c * c + d * d) * second_norm, least);
        spectrum[k] = sqrtf(sqrtf(first * second));
    }
}

/* The rhythm of two profiles: where it is strongest, and how strong there and at the block grid's frequencies. */
static void rhythm(const double *real, const double *imaginary, const double norms[2], float *spectrum, float *searched,
                   float *found)
{
    int count = 0, peak = 0;
    float most = 0;
    common_spectrum(real, imaginary, norms, spectrum);
    for (int k = 0; k < HALF_BINS; k++) {
        double frequency = (double)k / BINS, off_grid = fabs(frequency * 8 - rint(frequency * 8)) / 8;
        if (frequency <= LOWEST || frequency >= HIGHEST) continue;
        searched[count++] = spectrum[k];
        if (off_grid >= 0.006 && spectrum[k] > most) most = spectrum[k], peak = k;
    }
    float median = higher(interpolated_of(searched, count, 0.5), 1e-6f);
    *found++ = (float)peak / BINS;
    *found++ = logf(spectrum[peak] / median + 0.1f);
    *found++ = spectrum[peak];
    *found++ = logf(strongest(spectrum, 2) / median + 0.1f);
    *found++ = logf(strongest(spectrum, 4) / median + 0.1f);
    *found++ = logf(higher(strongest(spectrum, 1), strongest(spectrum, 3)) / median + 0.1f);
}

int line_features(Grey across, Grey down, double *grids, double *repeated, float *found)
{
    prepare();
    const Grey both[2] = {across, down};
    ptrdiff_t room = larger(across.width, down.width) + WIDE;
    int32_t *sums = malloc((size_t)(3 * room) * sizeof *sums);
    double *real = calloc(2 * BINS, sizeof *real), *imaginary = real + BINS;
    float *spectrum = malloc(2 * HALF_BINS * sizeof *spectrum);
    int result = sums && real && spectrum ? 0 : OUT_OF_MEMORY;
    if (!result) {
        double exactly = 1, roughly = 1, norms[2], near[2], far[2], strengths[2][BANDS];
        for (int way = 0; way < 2; way++) {
            Grey lines = both[way];
            ptrdiff_t width = lines.width;
            int64_t squares[REACHES] = {0};
            sum_changes(lines, room, sums, squares);
            find_grid(sums + 2 * room, width - 3, (double)lines.height, grids + 3 * way);
            repeated_shares(sums, width - 1, &exactly, &roughly);
            norms[way] = windowed(sums + room, width - 2, (double)lines.height, way ? imaginary : real);
            fineness(lines, squares, &near[way], &far[way]);
            bands(lines, strengths[way]);
        }
        result = fourier(real, imaginary, (int)larger(across.width, down.width));
        rhythm(real, imaginary, norms, spectrum, spectrum + HALF_BINS, found);
        *repeated = 1 / (1 - exactly);
        found[6] = (float)roughly;
        found[7] = (float)log(fmin(1 / fmax(1 - roughly, 1e-3), 10));
        found[8] = (float)fmin(near[0], near[1]), found[9] = (float)fmax(near[0], near[1]);
        found[10] = (float)((far[0] + far[1]) / 2);
        for (int i = 0; i < BANDS; i++) found[11 + i] = (float)((strengths[0][i] + strengths[1][i]) / 2);
        for (int i = 0; i < BANDS; i += 3) found[11 + BANDS + i / 3] = (float)fabs(strengths[0][i] - strengths[1][i]);
    }
    free(sums), free(real), free(spectrum);
    return result;
}
