// SPDX-License-Identifier: Apache-2.0
#include "tests/ref/ref_layer.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static double *numbers(size_t count) {
    double *out = calloc(count + 1, sizeof *out);
    if (!out) abort();
    return out;
}

static void multiply(double *out, const double *weights, size_t rows, size_t columns, const double *input,
                     const float *bias) {
    for (size_t r = 0; r < rows; r++) {
        out[r] = bias ? (double)bias[r] : 0.0;
        for (size_t c = 0; c < columns; c++) out[r] += weights[r * columns + c] * input[c];
    }
}

static void normalise(double *values, const float *weight, size_t width, double epsilon) {
    double squares = 0;
    for (size_t i = 0; i < width; i++) squares += values[i] * values[i];
    double root = sqrt(squares / (double)width + epsilon);
    for (size_t i = 0; i < width; i++) values[i] *= (double)weight[i] / root;
}

// As complex numbers: (a + bi)(cos + i sin).
static void rotate(double *values, const float *table, size_t dim, bool halves) {
    for (size_t i = 0; i < dim / 2; i++) {
        double *a = values + (halves ? i : 2 * i), *b = values + (halves ? i + dim / 2 : 2 * i + 1);
        double x = *a, y = *b;
        *a = x * (double)table[2 * i] - y * (double)table[2 * i + 1];
        *b = x * (double)table[2 * i + 1] + y * (double)table[2 * i];
    }
}

static double *widen(const float *input, size_t count) {
    double *out = numbers(count);
    for (size_t i = 0; i < count; i++) out[i] = (double)input[i];
    return out;
}

void ref_layer_row(double *out, const ref_layer *layer, const float *input, const float *table) {
    double *x = widen(input, layer->hidden);
    multiply(out, layer->kv_a, layer->latent + layer->rope, layer->hidden, x, layer->kv_a_bias);
    normalise(out, layer->kv_a_norm, layer->latent, layer->epsilon);
    rotate(out + layer->latent, table, layer->rope, layer->halves);
    free(x);
}

static double *make_queries(const ref_layer *layer, const float *input, const float *table) {
    size_t width = layer->nope + layer->rope, rows = layer->heads * width;
    double *x = widen(input, layer->hidden), *q = numbers(rows);
    if (layer->q_lora) {
        double *low = numbers(layer->q_lora);
        multiply(low, layer->q_a, layer->q_lora, layer->hidden, x, layer->q_a_bias);
        normalise(low, layer->q_a_norm, layer->q_lora, layer->epsilon);
        multiply(q, layer->q, rows, layer->q_lora, low, NULL);
        free(low);
    } else {
        multiply(q, layer->q, rows, layer->hidden, x, NULL);
    }
    for (size_t h = 0; h < layer->heads; h++) rotate(q + h * width + layer->nope, table, layer->rope, layer->halves);
    free(x);
    return q;
}

// One head over all rows: key j = [W_UK · c_j | k_pe_j], value j = W_UV · c_j.
static void attend_head(double *out, const ref_layer *layer, size_t head, const double *query, const double *rows,
                        size_t visible) {
    size_t width = layer->latent + layer->rope;
    const double *up_key = layer->kv_b + head * (layer->nope + layer->value) * layer->latent;
    const double *up_value = up_key + layer->nope * layer->latent;
    double *key = numbers(layer->nope), *value = numbers(layer->value), *scores = numbers(visible);
    double top = -(double)INFINITY, total = 0;
    for (size_t j = 0; j < visible; j++) {
        const double *row = rows + j * width;
        multiply(key, up_key, layer->nope, layer->latent, row, NULL);
        for (size_t n = 0; n < layer->nope; n++) scores[j] += query[n] * key[n];
        for (size_t r = 0; r < layer->rope; r++) scores[j] += query[layer->nope + r] * row[layer->latent + r];
        scores[j] *= layer->scale;
        top = fmax(top, scores[j]);
    }
    memset(out, 0, layer->value * sizeof *out);
    for (size_t j = 0; j < visible; j++) {
        double weight = exp(scores[j] - top);
        multiply(value, up_value, layer->value, layer->latent, rows + j * width, NULL);
        total += weight;
        for (size_t v = 0; v < layer->value; v++) out[v] += weight * value[v];
    }
    for (size_t v = 0; visible && v < layer->value; v++) out[v] /= total;
    free(key);
    free(value);
    free(scores);
}

void ref_layer_token(double *out, const ref_layer *layer, const float *input, const float *table, const double *rows,
                     size_t visible) {
    double *q = make_queries(layer, input, table), *values = numbers(layer->heads * layer->value);
    for (size_t h = 0; h < layer->heads; h++)
        attend_head(values + h * layer->value, layer, h, q + h * (layer->nope + layer->rope), rows, visible);
    multiply(out, layer->o, layer->hidden, layer->heads * layer->value, values, layer->o_bias);
    free(q);
    free(values);
}
