// SPDX-License-Identifier: Apache-2.0
// clmla compare: one decode step of multi-head, grouped-query and multi-query attention, of MLA in the ways that others
// run it, and of clmla, at equal head counts and dimensions, in one run on one device.
#ifndef TOOLS_COMPARE_H
#define TOOLS_COMPARE_H

#include "bench_limits.h"
#include "bench_time.h"
#include "session.h"
#include <stdint.h>
#include <stdio.h>

typedef struct compare_shape {
    uint32_t heads;                // H of all attentions
    uint32_t nope_dim, value_dim;  // N, V: also the key and the value dimension of the attentions that are not MLA
    uint32_t latent_dim, rope_dim; // L, R
    uint32_t hidden, q_lora;       // of the layer step; q_lora 0 = MLA's queries are one product
} compare_shape;

typedef enum compare_attention {
    COMPARE_MHA = 0,
    COMPARE_GQA8,
    COMPARE_MQA,
    COMPARE_MLA_NAIVE,   // keys and values rebuilt from the rows
    COMPARE_MLA_UNFUSED, // absorbed; scores, softmax and values as kernels of their own
    COMPARE_MLA,         // clmla_attend
    COMPARE_ATTENTION_COUNT
} compare_attention;

const char *compare_attention_name(compare_attention attention);

typedef struct compare_row {
    compare_attention attention;
    clmla_row_format format;                // f16 for all but COMPARE_MLA
    double bytes_per_token;                 // of cache, in one layer
    double attention_seconds, step_seconds; // shortest of the runs; step 0 = not measured
    double cos_diff;  // of the attention's output against double precision over unrounded rows; NaN = not computed
    char reason[256]; // why it was not run: then there are bytes alone; "" = it was
} compare_row;

typedef struct compare_task {
    const session *session;
    compare_shape shape;
    uint32_t tokens; // cached, the step's own included
    bench_effort effort;
    bool attention_alone;  // no step and no cos_diff
    clmla_compute compute; // of COMPARE_MLA
    uint32_t formats;      // of COMPARE_MLA, a bit each; 0 = all that clmla_attend takes
} compare_task;

// compare_heads.c: mha, gqa8, mqa.
bool compare_heads(compare_row *out, const compare_task *task, failure *failure);

// compare_latent.c: the three forms of MLA. They share rows and queries, which are made once.
typedef struct latent_data latent_data;
bool latent_data_open(latent_data **out, const compare_task *task, failure *failure);
void latent_data_close(latent_data **data);
bool compare_latent(compare_row *out, const latent_data *data, failure *failure);

// compare_run.c
#define COMPARE_MOST_ROWS 64
typedef struct compare_report {
    const char *device;
    compare_shape shape;
    uint32_t tokens;
    double read_rate; // GB/s
    compare_row rows[COMPARE_MOST_ROWS];
    size_t count;
} compare_report;

// `wanted` has a bit for each attention. Everything is measured in this order: limits, then rows.
// task.attention_alone leaves the read rate out, too.
bool compare_run(compare_report *out, const compare_task *task, uint32_t wanted, failure *failure);
// The first row of an attention and format; NULL if there is none. Formats of others than COMPARE_MLA do not matter.
const compare_row *compare_find(const compare_report *report, compare_attention attention, clmla_row_format format);

// clmla's row of cos_diff < COMPARE_KEPT that is fastest; NULL if there is none.
#define COMPARE_KEPT 1e-4
const compare_row *compare_best(const compare_report *report);

// compare_plot.c: measures attention alone at shorter contexts, too, and draws time and bytes against context length.
// `report` is compare_run's of the same task; `path` for a sentence.
// Of COMPARE_PLOT_TOKENS or more.
#define COMPARE_PLOT_LENGTHS 5 // the task's, and half of the next one, four times
#define COMPARE_PLOT_TOKENS (1u << (COMPARE_PLOT_LENGTHS - 1))
bool compare_plot(FILE *out, const char *path, const compare_report *report, const compare_task *task, uint32_t wanted,
                  failure *failure);

// compare_report.c
void compare_print(const compare_report *report);
bool compare_print_json(const compare_report *report, failure *failure);

#endif
