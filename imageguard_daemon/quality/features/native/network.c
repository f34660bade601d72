#include "pixels.h"

/* So many eights of outputs, from the first one on, are summed up in registers as the inputs come by. */
static inline __attribute__((always_inline)) void add_inputs(const float *inputs, ptrdiff_t count, const float *weights,
                                                             ptrdiff_t outputs, int eights, float *found)
{
    Eight sums[8], factors;
    memcpy(sums, found, (size_t)eights * sizeof *sums);
    for (ptrdiff_t i = 0; i < count; i++)
#pragma GCC unroll 8
        for (int k = 0; k < eights; k++) {
            memcpy(&factors, weights + i * outputs + 8 * k, sizeof factors);
            sums[k] += inputs[i] * factors;
        }
    memcpy(found, sums, (size_t)eights * sizeof *sums);
}

/* The weights, input x output, and behind them what is added to each output; gives where the next layer begins. */
static const float *layer(const float *weights, const float *inputs, ptrdiff_t count, ptrdiff_t outputs, float *found)
{
    const float *added = weights + count * outputs;
    ptrdiff_t at = 0;
    memcpy(found, added, (size_t)outputs * sizeof *found);
    for (; at + 64 <= outputs; at += 64) add_inputs(inputs, count, weights + at, outputs, 8, found + at);
    for (; at + 8 <= outputs; at += 8) add_inputs(inputs, count, weights + at, outputs, 1, found + at);
    for (; at < outputs; at++)
        for (ptrdiff_t i = 0; i < count; i++) found[at] += inputs[i] * weights[i * outputs + at];
    return added + outputs;
}

/* Leaves the inputs cut to their range and scaled; gives where the first layer begins. */
static const float *scaled(const float *ranges, ptrdiff_t count, const float *features, float *found)
{
    const float *low = ranges, *high = low + count, *mean = high + count, *spread = mean + count;
    for (ptrdiff_t i = 0; i < count; i++) found[i] = (lower(higher(features[i], low[i]), high[i]) - mean[i]) / spread[i];
    return spread + count;
}

const float *network_outputs(const float *network, const ptrdiff_t *widths, int layers, const float *features, float *scratch,
                             ptrdiff_t widest, float *found)
{
    float *values = scratch, *next = scratch + widest;
    network = scaled(network, widths[0], features, values);
    for (int at = 0; at < layers; at++) {
        int is_last = at + 1 == layers;
        network = layer(network, values, widths[at], widths[at + 1], is_last ? found : next);
        float *before = values;
        values = next, next = before;
        for (ptrdiff_t i = 0; !is_last && i < widths[at + 1]; i++) values[i] = higher(values[i], 0.01f * values[i]);
    }
    return network;
}
