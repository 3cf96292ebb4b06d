// SPDX-License-Identifier: Apache-2.0
// Multi-head, grouped-query and multi-query attention with a plain cache of keys and values: what MLA is compared with.
// CPUs and GPUs have kernels of their own. Everything is enqueued on the session's in-order queue.
#ifndef TOOLS_BASELINE_ATTENTION_H
#define TOOLS_BASELINE_ATTENTION_H

#include "baseline_group.h"
#include "session.h"

// Where the keys of one layer are: value d of token j of kv head g at keys[g * key_head_stride + j * key_token_stride +
// d], values likewise from value_offset on; all in elements.
typedef struct baseline_rows {
    cl_mem keys, values;
    int64_t key_head_stride, key_token_stride, value_head_stride, value_token_stride, value_offset;
    cl_mem shared; // with shared_dim alone: token j's at shared[shared_offset + j * shared_stride], f32
    int64_t shared_stride, shared_offset;
} baseline_rows;

typedef struct baseline_attention {
    const session *session;
    baseline_shape shape;
    baseline_group group; // items 0: the kernels are those for CPUs
    cl_program program;
    cl_kernel append;
    cl_kernel pack, stream, tile; // for CPUs
    cl_kernel of_group;           // for GPUs
    cl_mem packed;                // queries as tile_heads takes them
    cl_mem states, lse;           // of splits
    uint64_t packed_bytes, states_bytes, lse_bytes;
} baseline_attention;

// Refuses what the kernels do not have, by name. baseline_attention_close also undoes a failed one.
bool baseline_attention_open(baseline_attention *out, const session *session, const baseline_shape *shape,
                             failure *failure);
void baseline_attention_close(baseline_attention *attention);

// A cache of `capacity` tokens for one layer, each head's keys together; to be given to baseline_rows_close.
bool baseline_rows_open(baseline_rows *out, const baseline_attention *attention, uint32_t capacity, failure *failure);
void baseline_rows_close(baseline_rows *rows);
// Bytes of a token in one layer.
uint64_t baseline_bytes_a_token(const baseline_shape *shape);

// k [count][kv heads][key_dim], v [count][kv heads][value_dim] f32 become tokens first .. first + count - 1.
bool baseline_append(baseline_attention *attention, const baseline_rows *rows, cl_mem k, cl_mem v, uint32_t first,
                     uint32_t count, failure *failure);

// query [query_tokens][heads][key_dim + shared_dim], output [query_tokens][heads][value_dim], f32. Causal: the last
// query token sees all kv_tokens keys.
bool baseline_attend(baseline_attention *attention, const baseline_rows *rows, cl_mem query, uint32_t query_tokens,
                     uint32_t kv_tokens, cl_mem output, failure *failure);

// States alone, of one query token: baseline_state_count of them from state `first` on of states
// [state][heads][value_dim] and lse [state][heads].
bool baseline_attend_part(baseline_attention *attention, const baseline_rows *rows, cl_mem query, uint32_t kv_tokens,
                          cl_mem states, cl_mem lse, uint32_t first, failure *failure);
uint32_t baseline_state_count(const baseline_attention *attention, uint32_t kv_tokens);

#endif
