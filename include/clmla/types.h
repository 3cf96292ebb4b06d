// SPDX-License-Identifier: Apache-2.0
// Element types of weights and files, and the order of rotary pairs.
#ifndef CLMLA_TYPES_H
#define CLMLA_TYPES_H

#include <clmla/api.h>
#include <stddef.h>
#include <stdint.h>

CLMLA_BEGIN

typedef enum clmla_type {
    CLMLA_TYPE_NONE = 0,
    CLMLA_TYPE_F32,
    CLMLA_TYPE_F16,
    CLMLA_TYPE_BF16,
    CLMLA_TYPE_F8_E4M3, // OCP e4m3fn: no infinities, 0x7f and 0xff are NaN
    CLMLA_TYPE_F8_E5M2, // read from files, used nowhere
    CLMLA_TYPE_F64,
    CLMLA_TYPE_I64,
    CLMLA_TYPE_I32,
    CLMLA_TYPE_I16,
    CLMLA_TYPE_I8,
    CLMLA_TYPE_U64,
    CLMLA_TYPE_U32,
    CLMLA_TYPE_U16,
    CLMLA_TYPE_U8,
    CLMLA_TYPE_BOOL
} clmla_type;

// Bytes of one element; 0 for CLMLA_TYPE_NONE. Threads: any.
CLMLA_API size_t clmla_type_bytes(clmla_type type);

// "f32", "bf16", "f8_e4m3", ...; "none". Ownership: a constant. Threads: any.
CLMLA_API const char *clmla_type_name(clmla_type type);

// How the R values of a rotary part pair up. DeepSeek rotates neighbours and keeps them so; transformers' V3 code and
// MiniCPM3 keep first halves and second halves apart. Scores agree whichever order is used, as long as queries and
// cached keys use the same one; the bytes in the cache do not.
typedef enum clmla_rope_order {
    CLMLA_ROPE_INTERLEAVED = 0, // pairs (2i, 2i+1)
    CLMLA_ROPE_HALVES           // pairs (i, i + R/2)
} clmla_rope_order;

CLMLA_END

#endif
