// SPDX-License-Identifier: Apache-2.0
// The proof of a variant that schedules a step on the device: a plan of the same rules, whose every array must come out
// as the naive variant's, word by word. More sequences than a group has work-items, most of them with no new token; of
// the others some have several, and lengths that are cut, negative or beyond the capacity.
#include "host/error.h"
#include "lib/kernels.h"
#include "lib/operation.h"
#include "lib/proof_scene.h"
#include <stdio.h>

#define SEQUENCES 300
#define BUSY 7          // every seventh has new tokens
#define QUERY_TOKENS 90 // the last ones are dropped
#define KV_TOKENS 2500
#define WHAT "a proof of plan"

typedef struct scene {
    proof_scene base;
    clmla_plan *plan;
    cl_mem query_tokens, kv_tokens;
} scene;

// Rules are the plan's own but for the capacity; rows and queries take no memory.
static clmla_status make_plan(clmla_plan **out, clmla_context *context, const proof_plan *of) {
    clmla_plan_params params = *of->params;
    plan_choice choice = {.attend = of->attend, .tile = of->tile};
    choice.tile.query_stride = 0;
    params.capacity = (clmla_plan_capacity){SEQUENCES, QUERY_TOKENS, KV_TOKENS};
    params.value_dim = 0;
    params.prefill = CLMLA_PREFILL_ABSORBED;
    STATUS_OR_RETURN(clmla_row_layout_make(&params.layout, CLMLA_ROWS_F16, CLMLA_ROPE_INTERLEAVED, 2, 0));
    return plan_make(out, context, &params, &choice);
}

static clmla_status make_lengths(scene *s) {
    int32_t query[SEQUENCES], keys[SEQUENCES];
    for (int32_t i = 0; i < SEQUENCES; i++) {
        query[i] = i % BUSY ? 0 : 1 + i % 4;
        keys[i] = i * 577 % KV_TOKENS;
        if (i % 35 == 7) query[i] = -i;
        if (i % 31 == 0) keys[i] = i % 2 ? -i : KV_TOKENS + i;
    }
    STATUS_OR_RETURN(proof_scene_buffer(&s->query_tokens, &s->base, sizeof query, query));
    return proof_scene_buffer(&s->kv_tokens, &s->base, sizeof keys, keys);
}

// The whole step, and ones where nothing was written.
static clmla_status schedule_by(uint32_t *step, scene *s, const variant *scheduler) {
    const clmla_device_lengths lengths = {SEQUENCES, {s->query_tokens, 0}, {s->kv_tokens, 0}};
    cl_command_queue queue = s->base.trial->queue;
    s->plan->scheduler = scheduler;
    STATUS_OR_RETURN(proof_scene_spoil(&s->base, s->plan->step, s->plan->step_bytes));
    clmla_status status = clmla_plan_update_device(s->plan, &lengths, queue, 0, NULL, NULL);
    if (status == CLMLA_OK) status = proof_scene_read(&s->base, s->plan->step, s->plan->step_bytes, step);
    return proof_scene_settle(&s->base, status);
}

static void compare_steps(host_verdict *out, const uint32_t *found, const uint32_t *naive, size_t words) {
    size_t at = 0;
    while (at < words && found[at] == naive[at]) at++;
    *out = (host_verdict){.kind = at == words ? HOST_VERDICT_RIGHT : HOST_VERDICT_WRONG, .lasting = true};
    if (at == words)
        snprintf(out->reason, sizeof out->reason, "naive's schedule on this device, word by word");
    else
        snprintf(out->reason, sizeof out->reason,
                 "differed from naive on this device: word %zu of %zu is %d and not %d", at, words, (int32_t)found[at],
                 (int32_t)naive[at]);
}

static clmla_status compare(scene *s, proof_trial *trial, const variant *candidate) {
    const variant *naive;
    size_t words = (size_t)(s->plan->step_bytes / sizeof(uint32_t));
    STATUS_OR_RETURN(variant_choose(&naive, trial->context, CLMLA_OP_PLAN, &(clmla_shape){0}, "naive"));
    STATUS_OR_RETURN(proof_scene_begin(&s->base, trial, WHAT, 2 * words));
    uint32_t *steps = (uint32_t *)(void *)s->base.host; // words of either
    STATUS_OR_RETURN(make_lengths(s));
    STATUS_OR_RETURN(schedule_by(steps, s, naive));
    trial->subject = true;
    STATUS_OR_RETURN(schedule_by(steps + words, s, candidate));
    compare_steps(&trial->verdict, steps + words, steps, words);
    return CLMLA_OK;
}

static clmla_status run(proof_trial *trial, const void *of, const variant *candidate) {
    scene s = {.base = {.trial = trial}};
    clmla_status status = make_plan(&s.plan, trial->context, of);
    if (status == CLMLA_OK) status = compare(&s, trial, candidate);
    proof_scene_end(&s.base);
    clmla_plan_destroy(&s.plan);
    return status;
}

// All rules: each has a say in what is scheduled.
static void name_rules(char *out, size_t size, const schedule_rules *r) {
    snprintf(out, size,
             "%u/%u heads, tiles %u %u %u %u, pieces %u, %u x %u of %u %u, split %u, %d, window %u, %u of %u by %u",
             r->head_count, r->kv_head_count, r->row_tile, r->pack_rows, r->row_floor, r->block_tokens, r->piece_keys,
             r->units, r->parts_per_unit, r->part_keys, r->least_split, r->split_tokens, r->full, r->window, r->rank,
             r->world, r->interleave);
}

static clmla_status judge(variant_judge *base, char reason[VARIANT_REASON_MAX], clmla_context *context,
                          const variant *candidate) {
    const proof_plan *proof = (const proof_plan *)(const void *)base;
    host_claim claim = {.sources = {candidate->source, &clmla_source_plan_naive}};
    schedule_rules rules = plan_rules(context, proof->params, proof->attend, &proof->tile);
    char options[OPTIONS_MAX], text[256];
    STATUS_OR_RETURN(operation_options(options, context, candidate, NULL, NULL));
    name_rules(text, sizeof text, &rules);
    snprintf(claim.text, sizeof claim.text, "proof 2 plan [%s] %s", options, text);
    return proof_settle(base, reason, context, &claim, "plan 'group'", run, proof, candidate);
}

proof_plan proof_plan_of(const clmla_plan_params *params, const variant *attend, const attend_tile *tile) {
    return (proof_plan){{.judge = judge}, params, attend, *tile};
}
