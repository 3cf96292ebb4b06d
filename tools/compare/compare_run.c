// SPDX-License-Identifier: Apache-2.0
#include "compare.h"
#include <math.h>

static const char *const names[COMPARE_ATTENTION_COUNT] = {"mha", "gqa8", "mqa", "mla_naive", "mla_unfused", "mla"};

const char *compare_attention_name(compare_attention attention) {
    return names[attention];
}

// Formats clmla_attend takes at this shape.
static bool formats_of(bool *taken, const compare_task *task, failure *failure) {
    clmla_variant variants[16];
    for (int f = 0; f < CLMLA_ROW_FORMAT_COUNT; f++) {
        size_t count = 0;
        const clmla_shape shape = {.format = (clmla_row_format)f,
                                   .latent_dim = task->shape.latent_dim,
                                   .rope_dim = task->shape.rope_dim,
                                   .head_count = task->shape.heads,
                                   .compute = task->compute};
        if (clmla_variant_list(variants, 16, &count, clmla_context_facts(task->session->context), CLMLA_OP_ATTEND,
                               &shape) != CLMLA_OK)
            return failure_library(failure);
        taken[f] = false;
        bool asked = !task->formats || (task->formats & 1u << f);
        for (size_t i = 0; i < count && i < 16; i++) taken[f] = taken[f] || (asked && variants[i].accepted);
    }
    return true;
}

static bool measure(compare_report *out, const compare_task *task, const latent_data *data, compare_attention attention,
                    clmla_row_format format, failure *failure) {
    if (out->count == COMPARE_MOST_ROWS) return failure_set(failure, "more than %d rows", COMPARE_MOST_ROWS);
    compare_row *row = &out->rows[out->count++];
    *row = (compare_row){.attention = attention, .format = format, .cos_diff = NAN};
    struct failure why = {0};
    if (attention < COMPARE_MLA_NAIVE ? compare_heads(row, task, &why) : compare_latent(row, data, &why)) return true;
    return failure_set(failure, "%s %s: %s", compare_attention_name(attention), clmla_row_format_name(format),
                       why.sentence);
}

static bool measure_all(compare_report *out, const compare_task *task, const latent_data *data, uint32_t wanted,
                        failure *failure) {
    bool taken[CLMLA_ROW_FORMAT_COUNT];
    if (!formats_of(taken, task, failure)) return false;
    for (int a = 0; a < COMPARE_MLA; a++)
        if ((wanted & 1u << a) && !measure(out, task, data, (compare_attention)a, CLMLA_ROWS_F16, failure))
            return false;
    for (int f = 0; f < CLMLA_ROW_FORMAT_COUNT && (wanted & 1u << COMPARE_MLA); f++)
        if (taken[f] && !measure(out, task, data, COMPARE_MLA, (clmla_row_format)f, failure)) return false;
    return true;
}

bool compare_run(compare_report *out, const compare_task *task, uint32_t wanted, failure *failure) {
    bench_limits limits = {0};
    latent_data *data = NULL;
    *out = (compare_report){.shape = task->shape, .tokens = task->tokens};
    if (!task->attention_alone && !bench_limits_measure_read(&limits, task->session, BENCH_LIMIT_SECONDS, failure))
        return false;
    out->device = clmla_context_facts(task->session->context)->name;
    out->read_rate = limits.read.rate;
    bool latent = wanted >> COMPARE_MLA_NAIVE;
    bool done = (!latent || latent_data_open(&data, task, failure)) && measure_all(out, task, data, wanted, failure);
    latent_data_close(&data);
    return done;
}

const compare_row *compare_find(const compare_report *report, compare_attention attention, clmla_row_format format) {
    for (size_t i = 0; i < report->count; i++) {
        const compare_row *row = &report->rows[i];
        if (row->attention == attention && (attention != COMPARE_MLA || row->format == format)) return row;
    }
    return NULL;
}

const compare_row *compare_best(const compare_report *report) {
    const compare_row *best = NULL;
    for (size_t i = 0; i < report->count; i++) {
        const compare_row *row = &report->rows[i];
        if (row->attention == COMPARE_MLA && row->cos_diff < COMPARE_KEPT &&
            (!best || row->attention_seconds < best->attention_seconds))
            best = row;
    }
    return best;
}
