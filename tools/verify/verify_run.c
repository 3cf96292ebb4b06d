// SPDX-License-Identifier: Apache-2.0
#include "verify_run.h"
#include "cache_readback.h"
#include "outlier_layer.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

// What a run owns. Lengths: B sequences, S = min(chunk, tokens) tokens of each at most in a step.
typedef struct run {
    const session *session;
    const reference_case *reference;
    clmla_layer **layers; // [layer_count]
    clmla_cache *cache;
    clmla_plan *plan;
    clmla_sequence *sequences; // [B]
    uint32_t *query_tokens;    // [B]
    int32_t *positions;        // [B·S]
    float *stage;              // [B·S][hidden]
    cl_mem input, output;      // [B·S][hidden]
    float *results;            // [layer_count][B][tokens][hidden]
    uint64_t reconstructed;    // tokens
} run;

static const struct {
    double output, rows;
} bars[CLMLA_ROW_FORMAT_COUNT] = {
    [CLMLA_ROWS_F32] = {2e-6, 2e-6},    [CLMLA_ROWS_F16] = {1e-3, 5e-4},      [CLMLA_ROWS_BF16] = {5e-3, 3e-3},
    [CLMLA_ROWS_FP8] = {4e-2, 4e-2},    [CLMLA_ROWS_FP8_FLAT] = {4e-2, 4e-2}, [CLMLA_ROWS_FP8_PAGED] = {4e-2, 4e-2},
    [CLMLA_ROWS_Q8] = {1.5e-2, 1.5e-2}, [CLMLA_ROWS_Q6] = {4e-2, 4e-2},       [CLMLA_ROWS_Q5] = {6.5e-2, 6.5e-2},
    [CLMLA_ROWS_Q4] = {0.15, 0.15},
};

// What plan.h allows fast compute in cosine difference, as rel_l2, on top of the format's own: 1e-5, of q8 rows 2e-4.
double verify_output_bar(clmla_row_format format, clmla_compute compute) {
    double own = bars[format].output;
    if (compute != CLMLA_COMPUTE_FAST) return own;
    return sqrt(own * own + 2 * (format == CLMLA_ROWS_Q8 ? 2e-4 : 1e-5));
}

double verify_rows_bar(clmla_row_format format) {
    return bars[format].rows;
}

uint32_t verify_step_tokens(const reference_case *reference, const verify_choice *choice) {
    bool all = choice->chunk == 0 || choice->chunk > reference->token_count;
    return all ? reference->token_count : choice->chunk;
}

static void close_run(run *r) {
    for (uint32_t i = 0; r->layers && i < r->reference->layer_count; i++) clmla_layer_destroy(&r->layers[i]);
    clmla_plan_destroy(&r->plan);
    clmla_cache_destroy(&r->cache);
    if (r->input) clReleaseMemObject(r->input);
    if (r->output) clReleaseMemObject(r->output);
    free(r->layers);
    free(r->sequences);
    free(r->query_tokens);
    free(r->positions);
    free(r->stage);
    free(r->results);
}

static bool open_cache(run *r, const verify_choice *choice, uint32_t step_tokens, failure *failure) {
    const reference_case *reference = r->reference;
    uint32_t page_tokens = choice->page_tokens ? choice->page_tokens : reference->token_count;
    uint64_t pages_each = ((uint64_t)reference->token_count + page_tokens - 1) / page_tokens;
    clmla_cache_params params = {.format = choice->format,
                                 .rope_order = choice->rope_order,
                                 .rope_order_given = true,
                                 .layer_count = reference->layer_count,
                                 .page_tokens = page_tokens,
                                 .page_count = pages_each * reference->sequence_count};
    if (clmla_cache_create(&r->cache, r->session->context, &reference->config, &params) != CLMLA_OK)
        return failure_library(failure);
    if (!session_plan(&r->plan, r->session, &reference->config, r->cache, step_tokens, choice->compute, choice->prefill,
                      choice->attend_variant, failure))
        return false;
    for (uint32_t i = 0; i < reference->sequence_count; i++)
        if (clmla_cache_sequence_create(&r->sequences[i], r->cache) != CLMLA_OK) return failure_library(failure);
    return true;
}

static bool load_layer(run *r, const clmla_checkpoint *checkpoint, uint32_t layer, const verify_choice *choice,
                       failure *failure) {
    const clmla_config *config = &r->reference->config;
    clmla_context *context = r->session->context;
    clmla_layer_params params = {.weights = choice->weights};
    if (choice->outlier_seed)
        return outlier_layer_create(&r->layers[layer], context, config, checkpoint, layer, choice->outlier_seed,
                                    failure);
    return clmla_layer_load_from(&r->layers[layer], context, config, checkpoint, layer, &params) == CLMLA_OK ||
           failure_library(failure);
}

static bool load_layers(run *r, const verify_choice *choice, failure *failure) {
    const reference_case *reference = r->reference;
    clmla_checkpoint *checkpoint;
    if (clmla_checkpoint_open(&checkpoint, reference->weights_path, NULL) != CLMLA_OK) return failure_library(failure);
    bool loaded = true;
    for (uint32_t i = 0; i < reference->layer_count && loaded; i++)
        loaded = load_layer(r, checkpoint, i, choice, failure);
    clmla_checkpoint_close(&checkpoint);
    return loaded;
}

static bool open_run(run *r, const verify_choice *choice, uint32_t step_tokens, failure *failure) {
    const reference_case *reference = r->reference;
    size_t batch = reference->sequence_count, rows = batch * step_tokens, width = reference->config.hidden_size;
    r->layers = calloc(reference->layer_count, sizeof *r->layers);
    r->sequences = calloc(batch, sizeof *r->sequences);
    r->query_tokens = calloc(batch, sizeof *r->query_tokens);
    r->positions = calloc(rows, sizeof *r->positions);
    r->stage = calloc(rows, width * sizeof(float));
    r->results = calloc(batch * reference->token_count * reference->layer_count, width * sizeof(float));
    if (!r->layers || !r->sequences || !r->query_tokens || !r->positions || !r->stage || !r->results)
        return failure_memory(failure);
    return session_buffer(&r->input, r->session, rows * width * sizeof(float), NULL, failure) &&
           session_buffer(&r->output, r->session, rows * width * sizeof(float), NULL, failure) &&
           load_layers(r, choice, failure) && open_cache(r, choice, step_tokens, failure);
}

// Gathers tokens first .. first+count of every sequence, and makes the library ready for them.
static bool begin_step(run *r, uint32_t first, uint32_t count, failure *failure) {
    const reference_case *reference = r->reference;
    size_t width = reference->config.hidden_size, bytes = count * width * sizeof(float);
    for (uint32_t b = 0; b < reference->sequence_count; b++) {
        size_t from = (size_t)b * reference->token_count + first;
        memcpy(r->stage + b * count * width, reference->hidden_states + from * width, bytes);
        memcpy(r->positions + (size_t)b * count, reference->positions + from, count * sizeof *r->positions);
        r->query_tokens[b] = count;
    }
    cl_command_queue queue = r->session->queue;
    cl_int code =
        clEnqueueWriteBuffer(queue, r->input, CL_TRUE, 0, bytes * reference->sequence_count, r->stage, 0, NULL, NULL);
    if (code != CL_SUCCESS) return failure_opencl(failure, "clEnqueueWriteBuffer", code);
    clmla_batch batch = {reference->sequence_count, r->sequences, r->query_tokens, r->positions};
    if (clmla_cache_reserve(r->cache, &batch) != CLMLA_OK ||
        clmla_plan_update(r->plan, r->cache, &batch, queue, 0, NULL, NULL) != CLMLA_OK)
        return failure_library(failure);
    r->reconstructed += clmla_plan_facts_get(r->plan).reconstructed_tokens;
    return true;
}

static bool run_layer(run *r, uint32_t layer, uint32_t first, uint32_t count, failure *failure) {
    const reference_case *reference = r->reference;
    size_t width = reference->config.hidden_size, bytes = count * width * sizeof(float);
    cl_command_queue queue = r->session->queue;
    if (clmla_layer_enqueue(r->layers[layer], r->plan, r->cache, (clmla_buffer){r->input, 0},
                            (clmla_buffer){r->output, 0}, queue, 0, NULL, NULL) != CLMLA_OK)
        return failure_library(failure);
    cl_int code =
        clEnqueueReadBuffer(queue, r->output, CL_TRUE, 0, bytes * reference->sequence_count, r->stage, 0, NULL, NULL);
    if (code != CL_SUCCESS) return failure_opencl(failure, "clEnqueueReadBuffer", code);
    for (uint32_t b = 0; b < reference->sequence_count; b++) {
        size_t row = ((size_t)layer * reference->sequence_count + b) * reference->token_count + first;
        memcpy(r->results + row * width, r->stage + b * count * width, bytes);
    }
    return true;
}

static bool run_steps(run *r, uint32_t step_tokens, failure *failure) {
    const reference_case *reference = r->reference;
    for (uint32_t first = 0; first < reference->token_count; first += step_tokens) {
        uint32_t left = reference->token_count - first, count = left < step_tokens ? left : step_tokens;
        if (!begin_step(r, first, count, failure)) return false;
        for (uint32_t layer = 0; layer < reference->layer_count; layer++)
            if (!run_layer(r, layer, first, count, failure)) return false;
    }
    return true;
}

static bool compare_output(difference *out, const run *r, uint32_t layer, failure *failure) {
    const reference_case *reference = r->reference;
    size_t count = (size_t)reference->sequence_count * reference->token_count * reference->config.hidden_size;
    float *expected = NULL;
    if (!reference_case_output(&expected, reference, layer, failure)) return false;
    *out = difference_of(r->results + layer * count, expected, count);
    free(expected);
    return true;
}

static bool compare_rows(verify_layer *out, const run *r, uint32_t layer, clmla_rope_order order, failure *failure) {
    const reference_case *reference = r->reference;
    size_t tokens = reference->token_count, rows = reference->sequence_count * tokens;
    size_t latent_width = reference->config.kv_lora_rank, rope_width = reference->config.qk_rope_head_dim;
    float *expected_latent = NULL, *expected_k_pe = NULL;
    float *latent = calloc(rows, latent_width * sizeof(float)), *k_pe = calloc(rows, (rope_width + 1) * sizeof(float));
    bool read = (latent && k_pe) || failure_memory(failure);
    read = read && reference_case_latent(&expected_latent, reference, layer, failure) &&
           (rope_width == 0 || reference_case_k_pe(&expected_k_pe, reference, layer, order, failure));
    for (uint32_t b = 0; read && b < reference->sequence_count; b++)
        read = cache_read_back(latent + b * tokens * latent_width, k_pe + b * tokens * rope_width, r->cache, layer,
                               r->sequences[b], reference->token_count, r->session, failure);
    if (read) {
        out->latent = difference_of(latent, expected_latent, rows * latent_width);
        out->k_pe = difference_of(k_pe, expected_k_pe, rows * rope_width);
    }
    free(latent);
    free(k_pe);
    free(expected_latent);
    free(expected_k_pe);
    return read;
}

bool verify_run(verify_layer *layers, verify_way *way, const session *session, const reference_case *reference,
                const verify_choice *choice, failure *failure) {
    run r = {.session = session, .reference = reference};
    uint32_t step_tokens = verify_step_tokens(reference, choice);
    bool done = open_run(&r, choice, step_tokens, failure) && run_steps(&r, step_tokens, failure);
    for (uint32_t i = 0; done && i < reference->layer_count; i++)
        done = compare_output(&layers[i].output, &r, i, failure) &&
               (choice->outputs_only || compare_rows(&layers[i], &r, i, choice->rope_order, failure));
    if (way) *way = (verify_way){clmla_plan_facts_get(r.plan).attend_variant, r.reconstructed};
    close_run(&r);
    return done;
}
