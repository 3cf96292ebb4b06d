// SPDX-License-Identifier: Apache-2.0
// The plan object: a schedule on the device, and the workspace a step runs in.
//   plan.c         making plans
//   plan_choose.c  variants, tile and rules
//   plan_layout.c  where everything lies, grids, and the device memory for it
//   plan_update.c  from lengths to the arrays on the device
//   plan_cache.c   from a cache's batch: lengths, page table, slots, angles
//   plan_upload.c  the plan's events, and host memory for uploads
//   plan_prefill.c which sequences of a batch are attended by reconstructed keys
//   plan_device.c  from lengths on the device
#ifndef LIB_PLAN_H
#define LIB_PLAN_H

#include "host/launch.h"
#include "lib/attend_tile.h"
#include "lib/plan_schedule.h"
#include "lib/variants.h"
#include <clmla/plan.h>

#define PLAN_STAGES 4 // uploads that may be under way at once before an update waits for the oldest

// One host copy of a step's arrays, read by the driver until `uploaded` is done.
typedef struct plan_stage {
    unsigned char *memory;
    size_t capacity;
    cl_event uploaded;
} plan_stage;

// Where the arrays of a step (plan_schedule.h) lie in plan->step, in bytes. positions, slots and angles are there after
// clmla_plan_update alone, and with a capacity the pages of each sequence and their rows: its memory never moves. Other
// plans read those where the cache keeps them; their works name rows of its tables instead of sequences.
typedef struct plan_offsets {
    uint64_t header, parts, works, items, tiles, table, page_rows, positions, slots, angles, total;
    uint64_t key_slots, key_deltas; // of prompts' keys, one after the other; key_deltas when some page has a delta
    uint64_t page_deltas, turns;    // of formats that keep their codes: by how much rows are rotated when they are read
} plan_offsets;

// Where attend's workspace lies in plan->workspace[PLAN_WORKSPACE_ATTEND], in bytes, every part 64-byte aligned.
typedef struct plan_space {
    uint64_t packed; // [grid_tiles][pack_rows · packed_width] f32 queries
    uint64_t sums;   // [grid_parts][plan_sum_rows][value_dim, of tiles up to a multiple of 16] f32: running value sums
    uint64_t states; // [state_rows][value_dim] f32
    uint64_t state_lse; // [state_rows] f32
    uint64_t state_max; // [state_rows] f32
    uint64_t total;     // 0 = there is no memory
} plan_space;

// What a step may reach, for checking buffers: the step's own figures, or the capacity's. A plan with a capacity may be
// updated on the device, where the host does not see the lengths.
typedef struct plan_extent {
    uint32_t query_tokens, sequence_count;
    uint32_t longest_kv; // keys of the longest sequence on this rank
} plan_extent;

typedef enum plan_workspace {
    PLAN_WORKSPACE_ATTEND,
    PLAN_WORKSPACE_ABSORB, // queries that attend absorbed
    PLAN_WORKSPACE_LAYER,
    PLAN_WORKSPACE_COUNT
} plan_workspace;

// A sequence of the batch whose new tokens are attended by reconstructed keys.
typedef struct plan_prompt {
    uint32_t index;                    // in the batch
    uint32_t token_first, token_count; // of the step's query tokens
    uint32_t key_first, key_count;     // rows of the sequence that some token sees, the last token's own the last
    uint64_t keys_before;              // of other prompts, in key_slots and key_deltas
} plan_prompt;

// Workspace that became too small. A recorded plan keeps it: recorded kernels work in it.
typedef struct plan_kept {
    cl_mem memory;
    uint64_t bytes;
    struct plan_kept *before;
} plan_kept;

struct clmla_plan {
    clmla_context *context;
    clmla_plan_params params; // attend_variant points to the chosen variant's name, attend_heads_variant to a constant
    const variant *attend, *scheduler;
    attend_tile tile;   // of the variant "tile"
    bool refuses_lists; // attend's variant would have to be proven over them
    schedule_rules rules;
    uint32_t packed_width; // floats of a packed query: L + R, or with what attend_tile puts behind
    uint32_t group_heads;  // G: query heads of a kv head
    uint32_t value_dim;

    plan_schedule schedule;   // of the last update from the host; empty after one on the device
    schedule_bounds bounds;   // with a capacity: the most of each
    bool on_device;           // the last update was on the device
    bool ready;               // an update succeeded
    bool ready_recorded;      // one that is recorded did: what is recorded from then on may use its step
    bool recorded;            // some command of it was: its memory stays where it is
    const clmla_cache *cache; // of the last update; NULL when it was from lengths alone
    bool short_pages; // of that batch: some page in the middle of a sequence is not full, tables say how many rows are
    bool shifted_pages;    // of that batch: some page has a delta
    uint64_t table_stride; // entries a sequence in the uploaded page table; 0 = none so far
    uint32_t page_tokens;  // of the cache that table_stride was made for
    uint32_t *kv_tokens;   // of the batch being scheduled
    uint32_t kv_tokens_room;
    plan_extent extent;
    // Grids to launch: exact for a plain plan, bounds for one with a capacity, where kernels read the step's counts
    // from the header. grid_rows: most rows of a piece. grid_items 0 = the step (or any step) needs no merge.
    uint32_t grid_parts, grid_items, grid_tiles, grid_rows;
    plan_offsets offsets;
    plan_space space;
    cl_mem step; // the arrays on the device; NULL when there are none
    uint64_t step_bytes;

    plan_stage stages[PLAN_STAGES];
    uint32_t next_stage;
    cl_mem workspace[PLAN_WORKSPACE_COUNT];
    uint64_t workspace_bytes[PLAN_WORKSPACE_COUNT];
    plan_kept *kept;
    cl_event last; // of the newest command of this plan: the next waits for it

    // Of the last update over a cache. The schedule above is of all sequences nevertheless: clmla_attend runs it.
    plan_prompt *prompts; // in the batch's order
    uint32_t prompt_count, prompt_room;
    uint32_t prompt_tokens; // of all prompts
    uint64_t prompt_keys;
    const char *absorbed_reason;
    struct clmla_plan *rest; // the schedule of the sequences that are no prompts, when there are both; made at need
};

static inline bool plan_has_capacity(const clmla_plan *plan) {
    return plan->params.capacity.sequences > 0;
}

// What a plan runs. heads: the variant of attend_heads that the parameters name; NULL: none. scheduler: by which a step
// is scheduled on the device; NULL: the plan has no capacity. refuses_lists: attend is not proven over lists of slots,
// and must be.
typedef struct plan_choice {
    const variant *attend, *heads, *scheduler;
    attend_tile tile;
    bool refuses_lists;
} plan_choice;
// Proves what must be proven (proof.h), and waits for it.
clmla_status plan_choose(plan_choice *out, clmla_context *context, const clmla_plan_params *params);
// A plan of checked parameters that runs what was chosen.
clmla_status plan_make(clmla_plan **out, clmla_context *context, const clmla_plan_params *params,
                       const plan_choice *choice);
// The tile of a variant of attend; zeros of one without tiles. Errors: CLMLA_E_LIMIT (tuning leaves room for none).
clmla_status plan_choose_tile(attend_tile *tile, clmla_context *context, const clmla_plan_params *params,
                              const variant *attend);
schedule_rules plan_rules(clmla_context *context, const clmla_plan_params *params, const variant *attend,
                          const attend_tile *tile);

// Sets grids, extent, offsets and space from the schedule, or from the capacity; `cached`: with table, positions, slots
// and angles. Then takes the device memory they need.
void plan_lay_out(clmla_plan *plan, bool cached);
// Rows of running sums that each part of the step has in the workspace.
uint32_t plan_sum_rows(const clmla_plan *plan);
clmla_status plan_reserve(clmla_plan *plan);

// Why no step of the plan can have prompts; NULL when it may. A constant.
const char *plan_prefill_refusal(const clmla_plan_params *params);
// The same of the model of `config` on the context's device, where a naive kernel alone is reason enough not to be
// chosen.
const char *plan_prefill_step_refusal(clmla_context *context, const clmla_plan_params *params,
                                      const clmla_config *config);
// The variant of attend_heads that the plan's prompts are attended by, as far as it is known; NULL when the one that it
// names is refused. *unproven, which may be NULL: it must be proven before it is used.
const variant *plan_prefill_variant(bool *unproven, clmla_context *context, const clmla_plan_params *params,
                                    const clmla_config *config);
// Proves it for the model of params->config, where that is wanted; it may still be refused. Errors: those of proofs.
clmla_status plan_prefill_prove(clmla_context *context, const clmla_plan_params *params);
// The same of every variant that a plan may name, whether or not it does.
clmla_status plan_prefill_prove_all(clmla_context *context, const clmla_plan_params *params);
// What fast compute may round keys to that are rebuilt from such rows.
clmla_type plan_prefill_rounding(clmla_row_format format);
// Chooses the prompts of a batch whose rows are reserved. Errors: CLMLA_E_MEMORY.
clmla_status plan_prefill_choose(clmla_plan *plan, const clmla_cache *cache, const clmla_batch *batch);
void plan_prefill_forget(clmla_plan *plan);
// Whether the step has tokens of both kinds; the layer step attends those that are absorbed by plan->rest then.
bool plan_prefill_is_mixed(const clmla_plan *plan);
// Schedules what is absorbed, behind the plan's own update, and gives the event of both.
clmla_status plan_prefill_update_rest(clmla_plan *plan, clmla_cache *cache, const clmla_batch *batch,
                                      cl_command_queue queue, cl_event *event);
// After a command that ran both: the rest waits for the plan's last command, too.
void plan_prefill_follow(clmla_plan *plan);
void plan_prefill_finish(clmla_plan *plan);

// Schedules a step and uploads it: `lengths` and, with a cache, the batch they come from.
clmla_status plan_update_enqueue(clmla_plan *plan, const clmla_lengths *lengths, clmla_cache *cache,
                                 const clmla_batch *batch, cl_command_queue queue, cl_uint wait_count,
                                 const cl_event *wait, cl_event *event);
// Writes positions, slots and angles of a batch whose rows are reserved, and what else the cache gives the stage.
clmla_status plan_copy_cache(unsigned char *stage, const clmla_plan *plan, const clmla_cache *cache,
                             const clmla_batch *batch);
// Brings the cache up to date on the device before the step: row work, tables.
clmla_status plan_update_cache(clmla_plan *plan, clmla_cache *cache, const clmla_batch *batch, host_chain *chain);

// Begins the chain of an enqueue that uses the plan: it waits for the plan's last command too.
clmla_status plan_chain_begin(host_chain *chain, clmla_plan *plan, cl_command_queue queue, cl_uint wait_count,
                              const cl_event *wait);
// Ends it: the event becomes the plan's last, and the caller's if asked for.
clmla_status plan_chain_finish(host_chain *chain, clmla_plan *plan, clmla_status status, cl_event *event);

// Device memory of at least `bytes`, kept from step to step; grows, never shrinks. Attend's is described by
// plan->space, and there after an update without prompts; PLAN_WORKSPACE_LAYER is the layer step's own.
clmla_status plan_attend_space(cl_mem *out, clmla_plan *plan); // NULL when attend needs none
clmla_status plan_workspace_get(cl_mem *out, clmla_plan *plan, plan_workspace which, uint64_t bytes);

// A host stage of `bytes`, free to be written, for one upload to plan->step.
clmla_status plan_stage_take(plan_stage **out, clmla_plan *plan, uint64_t bytes);

#endif
