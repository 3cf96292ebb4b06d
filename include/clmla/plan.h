// SPDX-License-Identifier: Apache-2.0
// The plan: the schedule of one step, made once and used by every layer of the model.
//
// From the lengths of a batch the plan decides how each sequence's keys are split over the device, writes the work list
// that the attend kernels follow and the merge that joins the splits, and keeps the device memory both need. Splitting
// follows Flash-Decoding and FlashMLA's tile scheduler: the keys of all sequences, laid end to end, are cut into parts
// of equal cost, one for each group of the device; partial results join by their log-sum-exp. One plan serves all
// layers that share shape and mask; a model with two kinds of layers (windowed and not) makes two.
#ifndef CLMLA_PLAN_H
#define CLMLA_PLAN_H

#include <clmla/cache.h>
#include <clmla/context.h>
#include <clmla/rows.h>
#include <clmla/variants.h>
#include <stdbool.h>

CLMLA_BEGIN

// Opaque. Threads: one at a time. Steps of one plan run one after another on the device, whatever queue they are on:
// the plan carries the event of its last step and makes the next wait for it. Replays of recordings are apart:
// recording.h.
typedef struct clmla_plan clmla_plan;

// Decode context parallelism: each of `world` devices keeps a share of every sequence's keys. Key g of a sequence lies
// on rank (g / interleave) % world, and a rank's keys keep their order. Each rank attends its own share; merge joins
// the results. As in vLLM (cp_kv_cache_interleave_size).
typedef struct clmla_context_parallel {
    uint32_t rank, world, interleave; // world 0 = 1, interleave 0 = 1
} clmla_context_parallel;

// The most a step may hold. A plan with a capacity takes the device memory of its schedule and of attend when it is
// made, launches the same grids whatever a step's lengths are, and never moves memory that a recording (recording.h)
// uses: what is recorded with it stays valid while it is updated, from the host or from lengths on the device. Its
// first clmla_plan_update adds room for page tables, and is refused once the plan was recorded without them.
// Operations measure the caller's buffers (queries, outputs, lse, page table, indptr, lists) against the capacity, not
// against the step: they must have room for capacity.query_tokens tokens and capacity.sequences sequences.
typedef struct clmla_plan_capacity {
    uint32_t sequences;    // 0 = the plan has no capacity and grows with its steps
    uint32_t query_tokens; // T of a step
    uint32_t kv_tokens;    // of one sequence
} clmla_plan_capacity;

// How the layer step attends new tokens. Absorbed, as it decodes: a head and a pair of query token and key take 2 L + R
// multiply-adds. Reconstructed, as a long prompt wants it: keys and values of all heads are rebuilt from the cached
// rows, in chunks of bounded memory, which takes (N + V) · L for a head and key, and a pair then takes N + R + V: 320
// and not 1088 at DeepSeek's dimensions (clmla/attend_heads.h). Results agree within the same bounds, and are as
// repeatable.
typedef enum clmla_prefill {
    CLMLA_PREFILL_AUTO = 0,     // sequence by sequence what takes less; clmla_plan_facts_get says which and why
    CLMLA_PREFILL_ABSORBED,     // all of them
    CLMLA_PREFILL_RECONSTRUCTED // all that have new tokens; refused by plans that cannot: clmla_plan_create says why
} clmla_prefill;

// "auto", "absorbed", "reconstructed"; "?" for a number that is none. Threads: any.
CLMLA_API const char *clmla_prefill_name(clmla_prefill prefill);
// The mode of a name. Errors: CLMLA_E_ARGUMENT, listing the names. Threads: any.
CLMLA_API clmla_status clmla_prefill_parse(clmla_prefill *out, const char *name);

typedef struct clmla_plan_params {
    uint32_t head_count;     // H query heads of this device, 1 .. CLMLA_MAX_HEADS
    uint32_t kv_head_count;  // divides head_count; 0 = 1. Head h reads kv head h / (head_count / kv_head_count)
    clmla_row_layout layout; // format and widths of the rows the plan will be used with
    uint32_t value_dim;      // V columns of a row that are summed, from its start: L .. L + R; 0 = L
    bool full;               // every query sees every key; otherwise causal, the last query seeing all keys
    uint32_t window; // W: query i of s_q sees no key j <= s_k − s_q + i − W (W counts the query's own); 0 = none
    clmla_context_parallel parallel;
    uint32_t split_tokens; // a fixed number of keys a split, rounded up to the variant's block; 0 = chosen from
                           // lengths and device. Fixed: a sequence's result does not depend on the rest of the batch
    clmla_plan_capacity capacity;
    // New tokens a sequence mostly has in a step; 0 = as many as a capacity has room for in each, without one 1. A
    // hint: attend's variant and tile are chosen for so many rows, one for each query head of a kv head and new token.
    // Steps of any lengths are right, but slower where they are far from it. Plans with split_tokens choose for 1
    // token, whatever this and the capacity say: there a sequence's bits hang on its own lengths and the heads alone
    uint32_t query_tokens;
    // attend is given lists of slots (clmla_attend_params.scopes) with this plan, which are another program: it is
    // proven, too. Where variants must be proven (clmla_proof) lists are refused without; elsewhere it changes nothing.
    // Refused with a window or ranks, which lists have not
    bool lists;
    clmla_compute compute; // EXACT: within a few units in f32's last place of the scores and of the output's largest
                           // value. Variants "matrix", "matrix_ring" and "wgmma" then keep a query and a weight as the
                           // sum of two f16 values, or three of bf16 over bf16 rows (22 and 24 bits), scaled so that
                           // none overflows, multiply by each, and add products in f32; rows are not rounded. An
                           // infinity in a row they may answer with NaN.
                           // FAST where a variant has it: the output's cosine difference to EXACT stays below 1e-5 by
                           // 16-bit products (of rows in any format, which "amx" rounds to bf16) and 2e-4 by 8-bit
                           // ones, lse within 2e-2. "int16_dot" rounds rows of any format to whole numbers, by a scale
                           // a row for the latent and one for the rotary part: 1e-6; a row with an infinity it answers
                           // with NaN. Elsewhere as EXACT: clmla_plan_facts_get says which variant was chosen.
                           // That hangs on timed trials, once a context: name the variant where two processes must get
                           // the same bits
    const char *attend_variant;       // a name from clmla_variant_list; NULL = the first that accepts
    clmla_prefill prefill;            // of steps over a cache (clmla_plan_update); clmla_attend always attends absorbed
    const char *attend_heads_variant; // the same of attend_heads, which prompts by reconstructed keys go through
    // of the model; optional, read before the call returns: proves attend_heads for its prompts where that is needed
    // (clmla_proof). Without, they are attended absorbed there, until another plan, or clmla_layer_prepare, has proven
    // it, whichever variant the plan names
    const clmla_config *config;
} clmla_plan_params;

// The lengths of one step, for callers that own their cache.
typedef struct clmla_lengths {
    uint32_t sequence_count;
    const uint32_t *query_tokens; // [sequence_count] new tokens of each, 0 allowed; NULL = 1 each
    const uint32_t *kv_tokens; // [sequence_count] keys of each over all ranks, the new tokens' own included; 0 allowed
} clmla_lengths;

// The same, read on the device when the update runs there. What does not fit the plan's capacity is cut to it: lengths
// below 0 count as 0, keys beyond capacity.kv_tokens are left out, and query tokens past capacity.query_tokens (counted
// from the first sequence on) are dropped.
typedef struct clmla_device_lengths {
    uint32_t sequence_count;
    clmla_buffer query_tokens; // [sequence_count] int32; none = 1 each
    clmla_buffer kv_tokens;    // [sequence_count] int32
} clmla_device_lengths;

// What a plan chose, for a reader.
typedef struct clmla_plan_facts {
    const char *attend_variant;
    uint32_t query_tokens; // T of the current step
    uint32_t sequence_count;
    uint32_t work_count;           // pieces of work: some rows against some keys
    uint32_t part_count;           // groups the pieces are shared out to, of about equal cost
    uint32_t split_count;          // rows of partial results to merge; 0 = none needed
    uint64_t workspace_bytes;      // device memory the plan holds: exactly what its step, or its capacity, needs
    uint32_t reconstructed_tokens; // of query_tokens: those the layer step attends by reconstructed keys
    const char *absorbed_reason;   // why the others, or the last of them, are attended absorbed; "" = there are none
} clmla_plan_facts;

// Makes an empty plan; it must be updated before use, and destroyed before its context. Where variants must be proven
// (clmla_proof, context.h) the first plan of its kind waits for the device, and takes as long as its programs take to
// build.
// Out     : *out, to be given to clmla_plan_destroy; NULL on failure.
// Errors  : CLMLA_E_ARGUMENT (head count, refused prefill, unknown or refused variant: the reason is in the sentence);
//           CLMLA_E_LIMIT (a capacity beyond 31 bits; a tile of the variant named that the device or
//           tuning has no room for; of one that is chosen the tuning is left aside, with a warning);
//           CLMLA_E_MEMORY; CLMLA_E_OPENCL (the capacity's device memory). Where variants must be proven also
//           CLMLA_E_BUILD and CLMLA_E_OPENCL of the naive variants, with which they are compared.
CLMLA_API clmla_status clmla_plan_create(clmla_plan **out, clmla_context *context, const clmla_plan_params *params);

// A plan for a model's layers over a cache: head count from the config, layout from the cache, causal, exact, without a
// capacity. For anything else, fast compute among it, give clmla_plan_create the config's head_count and the layout of
// clmla_cache_rows. Out, errors: the same.
CLMLA_API clmla_status clmla_plan_create_for_cache(clmla_plan **out, clmla_context *context, const clmla_cache *cache);

// Frees the plan and sets *plan to NULL. Accepts NULL. Waits for uploads of clmla_plan_update that are still under way:
// the driver reads the plan's memory until then.
CLMLA_API void clmla_plan_destroy(clmla_plan **plan);

// Schedules a step over a cache, after clmla_cache_reserve of the same batch: lengths, positions, slots and block table
// are taken from the cache and enqueued to the device, after what changes of the cache left to be done there. The step
// reads the cache's own tables: it must live, and its sequences stay as they are, until the step's last enqueue.
// Async   : an enqueue (opencl.h); operations that use the plan wait for it by themselves. With four updates under way
//           it waits for the oldest one's upload.
// Errors  : CLMLA_E_ARGUMENT (the cache's layout is not the plan's; the batch was not reserved, or names a sequence
//           twice); CLMLA_E_SEQUENCE; CLMLA_E_LIMIT; CLMLA_E_UNSUPPORTED (a window over a sequence from whose middle
//           rows were removed); CLMLA_E_BUILD (of what changes of the cache left to be done); CLMLA_E_MEMORY;
//           CLMLA_E_OPENCL. After a failure the plan must be updated again before use.
CLMLA_API clmla_status clmla_plan_update(clmla_plan *plan, clmla_cache *cache, const clmla_batch *batch,
                                         cl_command_queue queue, cl_uint wait_count, const cl_event *wait,
                                         cl_event *event);

// Schedules a step from lengths alone, for clmla_attend over the caller's own rows and page table.
// Async, errors: as clmla_plan_update.
CLMLA_API clmla_status clmla_plan_update_lengths(clmla_plan *plan, const clmla_lengths *lengths, cl_command_queue queue,
                                                 cl_uint wait_count, const cl_event *wait, cl_event *event);

// Schedules a step from lengths that are on the device: a kernel writes the same work list, bit for bit, that
// clmla_plan_update_lengths writes from the same lengths. Needs a plan with a capacity. Can be recorded: the plan has
// that step from each replay on. Before the first, it is there for what is recorded alone; in between the plan may be
// updated otherwise.
// Async, errors: as clmla_plan_update; CLMLA_E_ARGUMENT also for a plan without capacity or a count beyond it;
// CLMLA_E_BUILD.
CLMLA_API clmla_status clmla_plan_update_device(clmla_plan *plan, const clmla_device_lengths *lengths,
                                                cl_command_queue queue, cl_uint wait_count, const cl_event *wait,
                                                cl_event *event);

// This rank's share of a sequence of `tokens` keys; all of them of NULL. Threads: any.
CLMLA_API uint64_t clmla_context_parallel_share(const clmla_context_parallel *parallel, uint64_t tokens);

// Of NULL: zeros and "".
CLMLA_API clmla_plan_facts clmla_plan_facts_get(const clmla_plan *plan);

CLMLA_END

#endif
