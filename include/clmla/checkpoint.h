// SPDX-License-Identifier: Apache-2.0
// Tensors in safetensors files, memory-mapped: a single file, or a folder with model.safetensors or with shards and
// model.safetensors.index.json. Headers, shapes and offsets are checked against the file before any is used.
// Format: https://huggingface.co/docs/safetensors (8-byte little-endian header length, JSON header, data).
#ifndef CLMLA_CHECKPOINT_H
#define CLMLA_CHECKPOINT_H

#include <clmla/log.h>
#include <clmla/status.h>
#include <clmla/types.h>

CLMLA_BEGIN

#define CLMLA_MAX_TENSOR_RANK 8

// Opaque. Reading is thread-safe; the mapping lives until clmla_checkpoint_close.
typedef struct clmla_checkpoint clmla_checkpoint;

typedef struct clmla_tensor {
    const char *name;
    const char *file; // the file it lies in
    clmla_type type;
    uint32_t rank;
    uint64_t shape[CLMLA_MAX_TENSOR_RANK];
    uint64_t element_count;
    const void *data; // into the mapping: read-only, row-major, aligned to no more than 1 byte
    uint64_t bytes;
} clmla_tensor;

// Opens a file or folder. `allocator` may be NULL.
// Out     : *out, to be given to clmla_checkpoint_close; NULL on failure.
// Errors  : CLMLA_E_FILE (missing, unreadable, a shard named by the index missing); CLMLA_E_FORMAT (truncated, header
//           longer than the file or than 100 MB, not JSON, a name twice, unknown dtype, negative or overflowing shape,
//           offsets that overlap, leave holes, pass the end, or do not fit shape × dtype; an index that disagrees with
//           its shards); CLMLA_E_MEMORY. The sentence names file and tensor.
CLMLA_API clmla_status clmla_checkpoint_open(clmla_checkpoint **out, const char *path,
                                             const clmla_allocator *allocator);

// Unmaps and frees; sets *checkpoint to NULL. Accepts NULL. Every clmla_tensor of it becomes invalid.
CLMLA_API void clmla_checkpoint_close(clmla_checkpoint **checkpoint);

// The number of tensors (0 of NULL), and the index-th of them in name order. Errors: CLMLA_E_ARGUMENT.
CLMLA_API size_t clmla_checkpoint_count(const clmla_checkpoint *checkpoint);
CLMLA_API clmla_status clmla_checkpoint_at(clmla_tensor *out, const clmla_checkpoint *checkpoint, size_t index);

// Looks a tensor up by its full name. Errors: CLMLA_E_TENSOR_MISSING.
CLMLA_API clmla_status clmla_checkpoint_find(clmla_tensor *out, const clmla_checkpoint *checkpoint, const char *name);

// Converts a float tensor (f32, f16, bf16, f64) to f32: out [element_count]. Not for fp8, which needs its scales.
// Errors  : CLMLA_E_ARGUMENT; CLMLA_E_TENSOR_TYPE. Threads: any.
CLMLA_API clmla_status clmla_tensor_to_f32(float *out, const clmla_tensor *tensor);

CLMLA_END

#endif
