// SPDX-License-Identifier: Apache-2.0
// One attention layer's weights on the device, and the step that runs all operations for it.
#ifndef CLMLA_LAYER_H
#define CLMLA_LAYER_H

#include <clmla/cache.h>
#include <clmla/checkpoint.h>
#include <clmla/config.h>
#include <clmla/context.h>
#include <clmla/plan.h>

CLMLA_BEGIN

// Opaque, immutable after it is made. Threads: any number may enqueue it, each with a plan of its own.
typedef struct clmla_layer clmla_layer;

typedef struct clmla_layer_params {
    // CLMLA_TYPE_NONE keeps each matrix as it is stored (fp8 stays fp8 with its block scales); CLMLA_TYPE_F32, _F16 and
    // _BF16 convert on loading, round to nearest even. Norm weights and biases are kept in f32.
    clmla_type weights;
    // A range of heads, for tensor parallelism: the layer then gives a partial output whose sum over all ranges is the
    // whole. o_proj's bias is added by the range that holds head 0. head_count 0 = all heads (first_head must be 0).
    uint32_t first_head, head_count;
} clmla_layer_params;

// A layer's tensors in host memory, for callers that do not load from files: shapes as in a checkpoint, row-major.
// `scale_inv` goes with fp8 matrices alone: f32 [ceil(rows/128)][ceil(columns/128)].
typedef struct clmla_host_matrix {
    clmla_type type; // CLMLA_TYPE_NONE = not there
    const void *values;
    const float *scale_inv;
    clmla_type bias_type;
    const void *bias;
} clmla_host_matrix;

typedef struct clmla_layer_tensors {
    clmla_host_matrix q_proj;                           // [H·(N+R)][hidden]; without q-LoRA
    clmla_host_matrix q_a_proj;                         // [q_lora][hidden]; with q-LoRA
    clmla_host_matrix q_b_proj;                         // [H·(N+R)][q_lora]
    clmla_host_matrix kv_a_proj_with_mqa;               // [L+R][hidden]
    clmla_host_matrix kv_b_proj;                        // [H·(N+V)][L]
    clmla_host_matrix o_proj;                           // [hidden][H·V]
    clmla_type q_a_layernorm_type, kv_a_layernorm_type; // f32, f16 or bf16
    const void *q_a_layernorm;                          // [q_lora]
    const void *kv_a_layernorm;                         // [L]
} clmla_layer_tensors;

// Loads layer `index` (tensors "model.layers.<index>.self_attn.*") from a file or folder, or from an open checkpoint.
// Blocks until the weights are on the device. params may be NULL.
// Out     : *out, to be given to clmla_layer_destroy; NULL on failure.
// Errors  : those of clmla_checkpoint_open and clmla_config_check; CLMLA_E_TENSOR_MISSING, _SHAPE (expected and found),
//           _TYPE; CLMLA_E_ARGUMENT (head range, weights of another type); CLMLA_E_LIMIT; CLMLA_E_MEMORY;
//           CLMLA_E_OPENCL.
CLMLA_API clmla_status clmla_layer_load(clmla_layer **out, clmla_context *context, const clmla_config *config,
                                        const char *path, uint32_t index, const clmla_layer_params *params);
CLMLA_API clmla_status clmla_layer_load_from(clmla_layer **out, clmla_context *context, const clmla_config *config,
                                             const clmla_checkpoint *checkpoint, uint32_t index,
                                             const clmla_layer_params *params);
// The same from host pointers, which are read before the call returns. `index` is the cache layer it will write.
CLMLA_API clmla_status clmla_layer_create(clmla_layer **out, clmla_context *context, const clmla_config *config,
                                          const clmla_layer_tensors *tensors, uint32_t index,
                                          const clmla_layer_params *params);

// Frees the weights and sets *layer to NULL. Accepts NULL. Enqueued work keeps their memory alive.
CLMLA_API void clmla_layer_destroy(clmla_layer **layer);

// The cache layer a layer writes: its index in the checkpoint unless set otherwise (hybrid models, where only every
// n-th layer is MLA). Not thread-safe with enqueues of the same layer.
CLMLA_API void clmla_layer_set_cache_layer(clmla_layer *layer, uint32_t cache_layer);

// Bytes of device memory its weights take; 0 of NULL.
CLMLA_API uint64_t clmla_layer_bytes(const clmla_layer *layer);

// Enqueues one step of the layer: appends the new tokens' rows to the cache and attends. Sequences that the plan found
// to be cheaper so are attended by reconstructed keys and values (clmla_prefill, plan.h), the others in the absorbed
// form.
// Shapes  : input, output [T][hidden_size] f32 dense, T the query tokens of the plan's batch in batch order; output
//           must not overlap input. With a plan that has a capacity both hold capacity.query_tokens rows, whatever the
//           batch: rows past its tokens are computed with, whatever they hold, and reach neither cache nor other rows;
//           their output means nothing.
// Before  : clmla_cache_reserve and clmla_plan_update with the batch.
// Async   : an enqueue (opencl.h).
// Errors  : CLMLA_E_ARGUMENT (the plan has no step, or one of another cache; head counts or rotary frequencies differ;
//           buffers too small); CLMLA_E_LIMIT (workspace beyond the device's largest buffer); CLMLA_E_BUILD;
//           CLMLA_E_MEMORY; CLMLA_E_OPENCL.
CLMLA_API clmla_status clmla_layer_enqueue(const clmla_layer *layer, clmla_plan *plan, clmla_cache *cache,
                                           clmla_buffer input, clmla_buffer output, cl_command_queue queue,
                                           cl_uint wait_count, const cl_event *wait, cl_event *event);

// Builds every kernel this layer can use over this cache, and runs each once over a small cache of its own, so that no
// enqueue compiles afterwards, in the library or in the driver: with any plan that names no variant, and that expects
// up to 8 new tokens of a sequence (clmla_plan_params.query_tokens; more may share a tile, and a program, of their
// own). Where variants must be proven (clmla_proof, context.h) those of attend that plans choose by themselves are, and
// all of attend_heads, also for plans that name one and were made without the model's config. Blocks. Layers of one
// shape need one call.
// Errors  : as clmla_layer_enqueue and clmla_cache_create.
CLMLA_API clmla_status clmla_layer_prepare(const clmla_layer *layer, const clmla_cache *cache, cl_command_queue queue);

CLMLA_END

#endif
