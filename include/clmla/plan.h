// SPDX-License-Identifier: Apache-2.0
// The plan: the schedule of one step, made once and used by every layer of the model.
//
// From the lengths of a batch the plan decides how each sequence's keys are split over the device, writes the work list
// that the attend kernels follow and the merge that joins the splits, and keeps the device memory both need. Splitting
// follows Flash-Decoding and FlashMLA's tile scheduler; partial results join by their log-sum-exp.
#ifndef CLMLA_PLAN_H
#define CLMLA_PLAN_H

#include <clmla/cache.h>
#include <clmla/context.h>
#include <clmla/rows.h>

CLMLA_BEGIN

// Opaque. Threads: one at a time. Steps of one plan run one after another on the device, whatever queue they are on:
// the plan carries the event of its last step and makes the next wait for it.
typedef struct clmla_plan clmla_plan;

typedef struct clmla_plan_params {
    uint32_t head_count;     // H query heads of this device, 1 .. CLMLA_MAX_HEADS
    clmla_row_layout layout; // format and widths of the rows the plan will be used with
    uint32_t split_tokens;   // a fixed number of keys a split, rounded up to the variant's block; 0 = chosen from
                             // lengths and device. Fixed: a sequence's result does not depend on the rest of the batch
    const char *attend_variant; // a name from clmla_variant_list; NULL = the first that accepts
} clmla_plan_params;

// The lengths of one step, for callers that own their cache.
typedef struct clmla_lengths {
    uint32_t sequence_count;
    const uint32_t *query_tokens; // [sequence_count] new tokens of each, 0 allowed; NULL = 1 each
    const uint32_t *kv_tokens;    // [sequence_count] keys of each, the new tokens' own included; 0 allowed
} clmla_lengths;

// What a plan chose, for a reader.
typedef struct clmla_plan_facts {
    const char *attend_variant;
    uint32_t query_tokens; // T of the current step
    uint32_t sequence_count;
    uint32_t work_count;  // work items of the attend kernel
    uint32_t split_count; // partial results to merge; 0 = none needed
    uint64_t workspace_bytes;
} clmla_plan_facts;

// Makes an empty plan; it must be updated before use.
// Errors  : CLMLA_E_ARGUMENT (head count, unknown or refused variant: the reason is in the sentence); CLMLA_E_MEMORY.
CLMLA_API clmla_status clmla_plan_create(clmla_plan **out, clmla_context *context, const clmla_plan_params *params);

// A plan for a model's layers over a cache: head count from the config, layout from the cache.
CLMLA_API clmla_status clmla_plan_create_for_cache(clmla_plan **out, clmla_context *context, const clmla_cache *cache);

// Frees the plan and sets *plan to NULL. Accepts NULL. Waits for uploads of clmla_plan_update that are still under way:
// the driver reads the plan's memory until then.
CLMLA_API void clmla_plan_destroy(clmla_plan **plan);

// Schedules a step over a cache, after clmla_cache_reserve of the same batch: lengths, positions, slots and block table
// are taken from the cache and enqueued to the device.
// Async   : an enqueue (opencl.h); operations that use the plan wait for it by themselves. With four updates already
// under
//           way it waits for the oldest one's upload.
// Errors  : CLMLA_E_ARGUMENT (the cache's layout is not the plan's; the batch was not reserved); CLMLA_E_SEQUENCE;
//           CLMLA_E_LIMIT; CLMLA_E_MEMORY; CLMLA_E_OPENCL. After a failure the plan must be updated again before use.
CLMLA_API clmla_status clmla_plan_update(clmla_plan *plan, const clmla_cache *cache, const clmla_batch *batch,
                                         cl_command_queue queue, cl_uint wait_count, const cl_event *wait,
                                         cl_event *event);

// Schedules a step from lengths alone, for clmla_attend over the caller's own rows and page table.
// Async, errors: as clmla_plan_update.
CLMLA_API clmla_status clmla_plan_update_lengths(clmla_plan *plan, const clmla_lengths *lengths, cl_command_queue queue,
                                                 cl_uint wait_count, const cl_event *wait, cl_event *event);

CLMLA_API clmla_plan_facts clmla_plan_facts_get(const clmla_plan *plan);

CLMLA_END

#endif
