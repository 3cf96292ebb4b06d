// SPDX-License-Identifier: Apache-2.0
// The proof of a variant of attend, by the plan's own specialisation and on the paths that it takes: causal or not,
// with a window, ranks, a capacity or several kv heads where the plan has them. Two sequences over shuffled pages of
// 16, one of them with several new tokens, in splits of two blocks, so that tiles, their edges, masks and the merge all
// take part. Over lists of slots, which are another program: each token its own, of two scopes, with slots that are
// negative, out of range, twice there or not counted. Rows are stored by append's naive variant; whatever lies beside
// them is NaN.
#include "host/error.h"
#include "host/event.h"
#include "lib/attend.h"
#include "lib/kernels.h"
#include "lib/proof_scene.h"
#include "lib/rows.h"
#include <math.h>
#include <stdio.h>

#define SEQUENCES 2
#define PAGE_TOKENS 16
#define PAGES 29 // a prime: multiples of another number reach all of them
#define TABLE_STRIDE 20
#define SPLIT_TOKENS 128
#define VALUES_MOST (1u << 20) // of a token's queries: heads beyond are left out
#define KV_HEADS 2             // of plans that have several
#define WINDOW 75              // where there is one: it cuts a block, and leaves some splits out
#define WHAT "a proof of attend"

static const uint32_t query_tokens[SEQUENCES] = {1, 3}, kv_tokens[SEQUENCES] = {309, 133};
#define TOKENS 4 // of queries
#define KEYS (309 + 133)

// Entries of a token's lists, and how many of the first count.
#define FIRST_LIST 201
#define SECOND_LIST 90
#define SECOND_PAGE 3 // the second scope's rows begin there
static const int32_t list_counts[TOKENS] = {FIRST_LIST, 130, 7, 198};

// What is tried: a variant for a plan's parameters, over pages or lists.
typedef struct attend_of {
    const clmla_plan_params *params; // of the trial's plans
    attend_tile tile;
    bool lists;
} attend_of;

typedef struct scene {
    proof_scene base;
    const clmla_plan_params *params; // of the trial's plans
    bool lists;
    uint32_t heads, kv_heads, width, value_dim;
    cl_mem latent, rope, slots, table, rows, query;
    cl_mem results; // values, then log-sum-exps, then largest scores
    cl_mem first_list, second_list, counts;
} scene;

static uint32_t page_of(uint32_t sequence, uint32_t index) {
    return (sequence * TABLE_STRIDE + index) * 11 % PAGES;
}

// As the plan's own, but for what a trial has otherwise: the same paths, at sizes of its own.
static clmla_plan_params trial_params(const clmla_plan_params *params, bool lists) {
    clmla_plan_params out = *params;
    uint32_t width = params->layout.latent_dim + params->layout.rope_dim;
    uint32_t kv_heads = params->kv_head_count > 1 ? KV_HEADS : 1, most = VALUES_MOST / width / kv_heads;
    out.head_count = params->head_count / (params->kv_head_count ? params->kv_head_count : 1);
    if (out.head_count > most) out.head_count = most ? most : 1;
    out.head_count *= kv_heads;
    out.kv_head_count = kv_heads;
    out.full = params->full && !lists; // a token alone sees all keys anyway
    out.window = params->window ? WINDOW : 0;
    out.parallel = params->parallel.world > 1 ? (clmla_context_parallel){1, 2, 8} : (clmla_context_parallel){0};
    out.capacity = (clmla_plan_capacity){0};
    if (params->capacity.sequences) out.capacity = (clmla_plan_capacity){lists ? TOKENS : SEQUENCES, TOKENS, KEYS};
    out.split_tokens = SPLIT_TOKENS;
    out.prefill = CLMLA_PREFILL_ABSORBED;
    out.attend_heads_variant = NULL;
    out.config = NULL;
    return out;
}

// The paths that a trial's plan takes: they are no options of a program.
#define PATHS_MAX 96
static void name_paths(char out[PATHS_MAX], const clmla_plan_params *params, bool lists) {
    snprintf(out, PATHS_MAX, "%s%s%s%s%s%s", lists ? ", lists" : "", params->kv_head_count > 1 ? ", kv heads" : "",
             params->full ? ", no mask" : "", params->window ? ", a window" : "",
             params->parallel.world > 1 ? ", ranks" : "", params->capacity.sequences ? ", a capacity" : "");
}

static uint64_t page_bytes(const scene *s) {
    return clmla_row_layout_page_bytes(&s->params->layout, PAGE_TOKENS);
}

// The pages from one on. Those of a kv head lie behind those of the one before.
static clmla_status view_rows(clmla_rows *rows, const scene *s, uint32_t first_page) {
    clmla_buffer memory = {s->rows, first_page * page_bytes(s)};
    STATUS_OR_RETURN(clmla_rows_from_tensor(rows, &s->params->layout, memory, PAGE_TOKENS, PAGES - first_page));
    rows->kv_head_count = s->kv_heads;
    if (s->kv_heads > 1)
        rows->latent_head_stride = rows->rope_head_stride = rows->scale_head_stride = PAGES * page_bytes(s);
    return CLMLA_OK;
}

// A token's list: keys spread over both sequences, and what is to be skipped.
static int32_t list_entry(const int64_t *slots, uint32_t token, uint32_t index, uint32_t first_page) {
    int32_t first = (int32_t)first_page * PAGE_TOKENS, past = PAGES * PAGE_TOKENS - first;
    uint32_t key = (index - (index % 13 == 5)) * 37 + token * 101; // some twice
    if (index % 17 == 3) return -1 - (int32_t)index;
    if (index % 19 == 7) return past + (int32_t)index;
    return (int32_t)slots[key % KEYS] - first; // the second scope has not all of them
}

static clmla_status make_lists(scene *s, const int64_t *slots) {
    int32_t first[TOKENS][FIRST_LIST], second[TOKENS][SECOND_LIST];
    for (uint32_t t = 0; t < TOKENS; t++) {
        for (uint32_t i = 0; i < FIRST_LIST; i++) first[t][i] = list_entry(slots, t, i, 0);
        for (uint32_t i = 0; i < SECOND_LIST; i++) second[t][i] = list_entry(slots, t + TOKENS, i, SECOND_PAGE);
    }
    STATUS_OR_RETURN(proof_scene_buffer(&s->counts, &s->base, sizeof list_counts, list_counts));
    STATUS_OR_RETURN(proof_scene_buffer(&s->first_list, &s->base, sizeof first, first));
    return proof_scene_buffer(&s->second_list, &s->base, sizeof second, second);
}

// Where the keys of both sequences are stored, one sequence after the other.
static clmla_status make_places(scene *s) {
    int64_t slots[KEYS];
    int32_t table[SEQUENCES * TABLE_STRIDE];
    uint32_t key = 0;
    for (uint32_t q = 0; q < SEQUENCES; q++)
        for (uint32_t k = 0; k < kv_tokens[q]; k++)
            slots[key++] = (int64_t)page_of(q, k / PAGE_TOKENS) * PAGE_TOKENS + k % PAGE_TOKENS;
    for (uint32_t i = 0; i < SEQUENCES * TABLE_STRIDE; i++)
        table[i] = i % TABLE_STRIDE * PAGE_TOKENS < kv_tokens[i / TABLE_STRIDE]
                       ? (int32_t)page_of(i / TABLE_STRIDE, i % TABLE_STRIDE)
                       : -1;
    STATUS_OR_RETURN(proof_scene_buffer(&s->slots, &s->base, sizeof slots, slots));
    if (s->lists) return make_lists(s, slots);
    return proof_scene_buffer(&s->table, &s->base, sizeof table, table);
}

static clmla_status store_rows(scene *s) {
    const clmla_row_layout *layout = &s->params->layout;
    clmla_append_params append = {.token_count = KEYS,
                                  .latent = {s->latent, 0},
                                  .latent_stride = layout->latent_dim,
                                  .latent_head_stride = (uint64_t)KEYS * layout->latent_dim,
                                  .rope = {s->rope, 0},
                                  .rope_stride = layout->rope_dim,
                                  .rope_head_stride = (uint64_t)KEYS * layout->rope_dim,
                                  .input_order = layout->rope_order,
                                  .places = {.slots = {s->slots, 0}},
                                  .variant = "naive"};
    clmla_context *context = s->base.trial->context;
    uint64_t bytes = page_bytes(s) * PAGES * s->kv_heads;
    clmla_status status = proof_scene_buffer(&s->rows, &s->base, bytes, NULL);
    if (status == CLMLA_OK) status = proof_scene_spoil(&s->base, s->rows, bytes);
    if (status == CLMLA_OK) status = view_rows(&append.rows, s, 0);
    if (status == CLMLA_OK) status = clmla_append(context, &append, s->base.trial->queue, 0, NULL, NULL);
    // The places are in a buffer of the driver's already; only what fails here must not be laid to the variant.
    return status == CLMLA_OK ? host_queue_finish(&context->host, s->base.trial->queue) : status;
}

static size_t result_floats(const scene *s) {
    return (size_t)TOKENS * s->heads * (s->value_dim + 2);
}

static clmla_status make_scene(scene *s, proof_trial *trial) {
    size_t keys = (size_t)KEYS * s->kv_heads, pairs = (size_t)TOKENS * s->heads;
    const clmla_row_layout *layout = &s->params->layout;
    size_t most = keys * s->width > pairs * s->width ? keys * s->width : pairs * s->width;
    if (2 * result_floats(s) > most) most = 2 * result_floats(s);
    STATUS_OR_RETURN(proof_scene_begin(&s->base, trial, WHAT, most));
    STATUS_OR_RETURN(proof_scene_values(&s->latent, &s->base, keys * layout->latent_dim, 1));
    STATUS_OR_RETURN(proof_scene_values(&s->rope, &s->base, keys * layout->rope_dim, 2));
    STATUS_OR_RETURN(proof_scene_values(&s->query, &s->base, pairs * s->width, 3));
    STATUS_OR_RETURN(make_places(s));
    STATUS_OR_RETURN(proof_scene_values(&s->results, &s->base, result_floats(s), 0));
    return store_rows(s);
}

static clmla_status read_result(proof_result *out, const scene *s, float *values) {
    size_t pairs = (size_t)TOKENS * s->heads;
    float *lse = values + pairs * s->value_dim, *largest = lse + pairs;
    *out = (proof_result){values, lse, largest};
    return proof_scene_read(&s->base, s->results, result_floats(s) * sizeof(float), values);
}

// Updates a plan with the scene's lengths, and adds its keys to the parameters; scopes: two.
static clmla_status give_keys(clmla_attend_params *params, clmla_attend_scope *scopes, clmla_plan *plan,
                              const scene *s) {
    static const uint32_t list_keys[TOKENS] = {FIRST_LIST + SECOND_LIST, FIRST_LIST + SECOND_LIST,
                                               FIRST_LIST + SECOND_LIST, FIRST_LIST + SECOND_LIST};
    const clmla_lengths pages = {SEQUENCES, query_tokens, kv_tokens}, lists = {TOKENS, NULL, list_keys};
    params->page_table = (clmla_buffer){s->table, 0};
    params->page_table_stride = TABLE_STRIDE;
    STATUS_OR_RETURN(view_rows(&params->rows, s, 0));
    if (s->lists) {
        *params = (clmla_attend_params){.scopes = scopes, .scope_count = 2};
        scopes[0] = (clmla_attend_scope){.indices = {s->first_list, 0},
                                         .index_stride = FIRST_LIST,
                                         .index_count = FIRST_LIST,
                                         .counts = {s->counts, 0}};
        scopes[1] = (clmla_attend_scope){
            .indices = {s->second_list, 0}, .index_stride = SECOND_LIST, .index_count = SECOND_LIST};
        STATUS_OR_RETURN(view_rows(&scopes[0].rows, s, 0));
        STATUS_OR_RETURN(view_rows(&scopes[1].rows, s, SECOND_PAGE));
    }
    return clmla_plan_update_lengths(plan, s->lists ? &lists : &pages, s->base.trial->queue, 0, NULL, NULL);
}

// NaN in the results and in the plan's workspace: another plan's, or another run's, may lie there.
static clmla_status spoil_results(const scene *s, const clmla_plan *plan) {
    STATUS_OR_RETURN(proof_scene_spoil(&s->base, plan->workspace[PLAN_WORKSPACE_ATTEND],
                                       plan->workspace_bytes[PLAN_WORKSPACE_ATTEND]));
    return proof_scene_spoil(&s->base, s->results, result_floats(s) * sizeof(float));
}

// Runs a plan over the scene.
static clmla_status attend_by(proof_result *out, scene *s, const plan_choice *choice, float *values) {
    clmla_attend_params params = {.output = {NULL, 0}};
    clmla_attend_scope scopes[2];
    clmla_plan *plan = NULL;
    clmla_status status = CLMLA_OK;
    cl_command_queue queue = s->base.trial->queue;
    uint64_t pairs = (uint64_t)TOKENS * s->heads;
    STATUS_OR_OUT(plan_make(&plan, s->base.trial->context, s->params, choice));
    STATUS_OR_OUT(give_keys(&params, scopes, plan, s));
    STATUS_OR_OUT(spoil_results(s, plan));
    params.query = (clmla_buffer){s->query, 0};
    params.softmax_scale = 3.0f / sqrtf((float)s->width); // scores spread by about 1
    params.output = (clmla_buffer){s->results, 0};
    params.lse = (clmla_buffer){s->results, pairs * s->value_dim * sizeof(float)};
    params.max_logit = (clmla_buffer){s->results, params.lse.offset + pairs * sizeof(float)};
    STATUS_OR_OUT(clmla_attend(plan, &params, queue, 0, NULL, NULL));
    STATUS_OR_OUT(read_result(out, s, values));
out:
    status = proof_scene_settle(&s->base, status);
    clmla_plan_destroy(&plan);
    return status;
}

static clmla_status choose_naive(plan_choice *out, clmla_context *context, const clmla_plan_params *params) {
    clmla_shape shape = {.format = params->layout.format, .compute = params->compute};
    *out = (plan_choice){0};
    return variant_choose(&out->attend, context, CLMLA_OP_ATTEND, &shape, "naive");
}

static clmla_status compare(scene *s, proof_trial *trial, const plan_choice *choice) {
    proof_result naive, found;
    plan_choice naive_choice;
    STATUS_OR_RETURN(make_scene(s, trial));
    STATUS_OR_RETURN(choose_naive(&naive_choice, trial->context, s->params));
    STATUS_OR_RETURN(attend_by(&naive, s, &naive_choice, s->base.host));
    trial->subject = true;
    STATUS_OR_RETURN(attend_by(&found, s, choice, s->base.host + result_floats(s)));
    proof_compare(&trial->verdict, &found, &naive, (size_t)TOKENS * s->heads, s->value_dim,
                  proof_rounding(choice->attend, s->params->compute));
    return CLMLA_OK;
}

static clmla_status run(proof_trial *trial, const void *of_, const variant *candidate) {
    const attend_of *of = of_;
    const clmla_plan_params *params = of->params;
    plan_choice choice = {.attend = candidate, .tile = of->tile};
    scene s = {.params = params,
               .lists = of->lists,
               .heads = params->head_count,
               .kv_heads = params->kv_head_count,
               .width = params->layout.latent_dim + params->layout.rope_dim,
               .value_dim = params->value_dim ? params->value_dim : params->layout.latent_dim};
    clmla_status status = compare(&s, trial, &choice);
    proof_scene_end(&s.base);
    return status;
}

// What the proof stands on: the plan's own options, the number of heads, and the paths.
static clmla_status claim_of(host_claim *out, clmla_context *context, const attend_of *of, const variant *candidate) {
    char options[OPTIONS_MAX], paths[PATHS_MAX];
    clmla_plan *plan = NULL;
    clmla_plan_params params = *of->params;
    params.capacity = (clmla_plan_capacity){0}; // no options hang on it, and it takes memory
    STATUS_OR_RETURN(plan_make(&plan, context, &params, &(plan_choice){.attend = candidate, .tile = of->tile}));
    clmla_status status = attend_options(options, plan, of->lists);
    clmla_plan_destroy(&plan);
    STATUS_OR_RETURN(status);
    *out = (host_claim){.sources = {candidate->source, &clmla_source_attend_queries, &clmla_source_attend_merge,
                                    &clmla_source_attend_naive, &clmla_source_append_naive}};
    name_paths(paths, of->params, of->lists);
    snprintf(out->text, sizeof out->text, "proof 2 attend [%s] rounding %g, %u heads%s", options,
             proof_rounding(candidate, of->params->compute), of->params->head_count, paths);
    return CLMLA_OK;
}

typedef struct tile_question {
    attend_tile *out;
    const clmla_plan_params *params;
    const variant *candidate;
} tile_question;

static clmla_status ask_tile(clmla_context *quiet, void *of) {
    const tile_question *question = of;
    return plan_choose_tile(question->out, quiet, question->params, question->candidate);
}

static clmla_status judge_keys(variant_judge *base, char reason[VARIANT_REASON_MAX], clmla_context *context,
                               const variant *candidate, bool lists) {
    const proof_attend *proof = (const proof_attend *)(const void *)base;
    clmla_plan_params params = trial_params(proof->params, lists);
    attend_of of = {.params = &params, .lists = lists};
    host_claim claim;
    char what[64 + PATHS_MAX], paths[PATHS_MAX];
    // Tuning may leave room for no tile of one that is named: whoever makes the plan says so.
    if (!proof_ask(context, ask_tile, &(tile_question){&of.tile, proof->params, candidate})) return CLMLA_OK;
    STATUS_OR_RETURN(claim_of(&claim, context, &of, candidate));
    name_paths(paths, &params, lists);
    snprintf(what, sizeof what, "attend '%s' of %s rows%s%s", candidate->name,
             clmla_row_format_name(params.layout.format), proof_rounding(candidate, params.compute) > 0 ? ", fast" : "",
             paths);
    return proof_settle(base, reason, context, &claim, what, run, &of, candidate);
}

static clmla_status judge(variant_judge *base, char reason[VARIANT_REASON_MAX], clmla_context *context,
                          const variant *candidate) {
    const proof_attend *proof = (const proof_attend *)(const void *)base;
    reason[0] = '\0';
    STATUS_OR_RETURN(judge_keys(base, reason, context, candidate, false));
    if (reason[0] || !proof->params->lists) return CLMLA_OK;
    return judge_keys(base, reason, context, candidate, true);
}

proof_attend proof_attend_of(const clmla_plan_params *params) {
    return (proof_attend){.base = {.judge = judge}, .params = params};
}
