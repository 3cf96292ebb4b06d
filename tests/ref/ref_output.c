// SPDX-License-Identifier: Apache-2.0
#include "tests/ref/ref_output.h"
#include <stdlib.h>

static void multiply(double *out, const double *weights, size_t rows, size_t columns, const double *input) {
    for (size_t r = 0; r < rows; r++) {
        out[r] = 0;
        for (size_t c = 0; c < columns; c++) out[r] += weights[r * columns + c] * input[c];
    }
}

void ref_output(double *out, double *head_values, const ref_matrix *kv_b, const ref_matrix *o_proj,
                const float *attended, const ref_output_dims *dims) {
    size_t latent = kv_b->columns, pairs = dims->tokens * dims->heads;
    double *up = ref_matrix_decode(kv_b), *last = ref_matrix_decode(o_proj),
           *input = malloc((latent + 1) * sizeof *input);
    if (!up || !last || !input) abort();
    for (size_t pair = 0; pair < pairs; pair++) {
        size_t first_row = pair % dims->heads * (dims->nope + dims->value) + dims->nope;
        for (size_t l = 0; l < latent; l++) input[l] = (double)attended[pair * latent + l];
        multiply(head_values + pair * dims->value, up + first_row * latent, dims->value, latent, input);
    }
    for (size_t t = 0; t < dims->tokens; t++) {
        double *row = out + t * o_proj->rows;
        multiply(row, last, o_proj->rows, o_proj->columns, head_values + t * o_proj->columns);
        for (size_t i = 0; o_proj->bias && i < o_proj->rows; i++) row[i] += (double)o_proj->bias[i];
    }
    free(up);
    free(last);
    free(input);
}
