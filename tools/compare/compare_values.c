// SPDX-License-Identifier: Apache-2.0
#include "compare_values.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

// splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators").
static double uniform(compare_random *random) {
    uint64_t z = random->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

double compare_normal(compare_random *random) {
    // Box and Muller.
    double radius = sqrt(-2.0 * log(1.0 - uniform(random)));
    return radius * cos(6.283185307179586 * uniform(random));
}

float compare_value(compare_random *random) {
    return (float)fmax(-1.0, fmin(1.0, 0.1 * compare_normal(random)));
}

// The code of a multiple of 2^-10 up to 1 in magnitude: exact and not subnormal.
static uint16_t half_code(float value) {
    int exponent;
    if (value == 0.0f) return 0;
    float fraction = frexpf(fabsf(value), &exponent); // [0.5, 1)
    uint32_t mantissa = (uint32_t)((fraction * 2.0f - 1.0f) * 1024.0f);
    return (uint16_t)((value < 0 ? 0x8000u : 0u) | (uint32_t)(exponent + 14) << 10 | mantissa);
}

bool compare_block_make(compare_block *out, compare_random *random, failure *failure) {
    out->values = malloc(COMPARE_BLOCK * sizeof *out->values);
    out->codes = malloc(COMPARE_BLOCK * sizeof *out->codes);
    if (!out->values || !out->codes) return failure_memory(failure);
    for (size_t i = 0; i < COMPARE_BLOCK; i++) {
        out->values[i] = roundf(compare_value(random) * 1024.0f) / 1024.0f;
        out->codes[i] = half_code(out->values[i]);
    }
    return true;
}

void compare_block_free(compare_block *block) {
    free(block->values);
    free(block->codes);
    *block = (compare_block){0};
}

bool compare_block_write(const compare_block *block, const session *session, cl_mem memory, uint64_t count,
                         failure *failure) {
    for (uint64_t at = 0; at < count; at += COMPARE_BLOCK) {
        uint64_t piece = count - at < COMPARE_BLOCK ? count - at : COMPARE_BLOCK;
        cl_int code = clEnqueueWriteBuffer(session->queue, memory, CL_TRUE, (size_t)(at * sizeof *block->codes),
                                           (size_t)(piece * sizeof *block->codes), block->codes, 0, NULL, NULL);
        if (code != CL_SUCCESS) return failure_opencl(failure, "clEnqueueWriteBuffer", code);
    }
    return true;
}

bool compare_project(const session *session, const clmla_matrix *matrix, cl_mem input, cl_mem output,
                     failure *failure) {
    const clmla_project_params params = {.matrix = *matrix,
                                         .row_count = 1,
                                         .input = {input, 0},
                                         .input_stride = matrix->columns,
                                         .output = {output, 0},
                                         .output_stride = matrix->rows};
    return clmla_project(session->context, &params, session->queue, 0, NULL, NULL) == CLMLA_OK ||
           failure_library(failure);
}

// --- the reference. Rows are the innermost index, so that compilers can keep several in a vector.
// ---------------------

typedef struct reference_state {
    double *query;           // [width][rows]
    double *top, *total, *p; // [rows]
    double *sums;            // [value_width][rows]
    float *key, *value;      // of the key at hand
} reference_state;

static void scores(double *out, const reference_state *s, uint32_t rows, uint32_t width, double scale) {
    for (uint32_t r = 0; r < rows; r++) out[r] = 0.0;
    for (uint32_t d = 0; d < width; d++) {
        const double k = s->key[d] * scale, *q = s->query + (size_t)d * rows;
        for (uint32_t r = 0; r < rows; r++) out[r] += k * q[r];
    }
}

// Turns scores into weights under the largest score so far; older sums shrink where that grows.
static void soften(const reference_state *s, uint32_t rows, uint32_t value_width) {
    for (uint32_t r = 0; r < rows; r++) {
        if (s->p[r] > s->top[r]) {
            double factor = exp(s->top[r] - s->p[r]);
            s->top[r] = s->p[r];
            s->total[r] *= factor;
            for (uint32_t d = 0; d < value_width; d++) s->sums[(size_t)d * rows + r] *= factor;
        }
        s->p[r] = exp(s->p[r] - s->top[r]);
        s->total[r] += s->p[r];
    }
}

static void attend(const reference_state *s, uint32_t rows, const compare_keys *keys, double scale) {
    for (uint64_t j = 0; j < keys->count; j++) {
        keys->read(keys->payload, j, s->key, s->value);
        scores(s->p, s, rows, keys->width, scale);
        soften(s, rows, keys->value_width);
        for (uint32_t d = 0; d < keys->value_width; d++) {
            const double v = s->value[d];
            double *sum = s->sums + (size_t)d * rows;
            for (uint32_t r = 0; r < rows; r++) sum[r] += v * s->p[r];
        }
    }
}

bool compare_reference(double *out, const float *queries, uint32_t rows, const compare_keys *keys, double scale,
                       failure *failure) {
    size_t count = (size_t)rows * (keys->width + keys->value_width + 3);
    double *room = calloc(count, sizeof *room);
    float *at_hand = malloc(((size_t)keys->width + keys->value_width) * sizeof *at_hand);
    if (!room || !at_hand) {
        free(room);
        free(at_hand);
        return failure_memory(failure);
    }
    reference_state s = {.query = room, .key = at_hand, .value = at_hand + keys->width};
    s.sums = s.query + (size_t)rows * keys->width;
    s.top = s.sums + (size_t)rows * keys->value_width;
    s.total = s.top + rows;
    s.p = s.total + rows;
    for (uint32_t r = 0; r < rows; r++) {
        s.top[r] = -INFINITY;
        for (uint32_t d = 0; d < keys->width; d++) s.query[(size_t)d * rows + r] = queries[(size_t)r * keys->width + d];
    }
    attend(&s, rows, keys, scale);
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t d = 0; d < keys->value_width; d++)
            out[(size_t)r * keys->value_width + d] = s.sums[(size_t)d * rows + r] / s.total[r];
    free(room);
    free(at_hand);
    return true;
}

double compare_cos_diff(const float *found, const double *expected, uint64_t count) {
    double both = 0.0, squares = 0.0;
    for (uint64_t i = 0; i < count; i++) {
        double x = found[i], y = expected[i];
        both += x * y;
        squares += x * x + y * y;
    }
    return isfinite(squares) ? 1.0 - 2.0 * both / squares : NAN;
}
