// SPDX-License-Identifier: Apache-2.0
#include <clmla/types.h>

static const struct {
    const char *name;
    size_t bytes;
} types[] = {
    [CLMLA_TYPE_NONE] = {"none", 0}, [CLMLA_TYPE_F32] = {"f32", 4},         [CLMLA_TYPE_F16] = {"f16", 2},
    [CLMLA_TYPE_BF16] = {"bf16", 2}, [CLMLA_TYPE_F8_E4M3] = {"f8_e4m3", 1}, [CLMLA_TYPE_F8_E5M2] = {"f8_e5m2", 1},
    [CLMLA_TYPE_F64] = {"f64", 8},   [CLMLA_TYPE_I64] = {"i64", 8},         [CLMLA_TYPE_I32] = {"i32", 4},
    [CLMLA_TYPE_I16] = {"i16", 2},   [CLMLA_TYPE_I8] = {"i8", 1},           [CLMLA_TYPE_U64] = {"u64", 8},
    [CLMLA_TYPE_U32] = {"u32", 4},   [CLMLA_TYPE_U16] = {"u16", 2},         [CLMLA_TYPE_U8] = {"u8", 1},
    [CLMLA_TYPE_BOOL] = {"bool", 1},
};

size_t clmla_type_bytes(clmla_type type) {
    return (unsigned)type < sizeof types / sizeof *types ? types[type].bytes : 0;
}

const char *clmla_type_name(clmla_type type) {
    return (unsigned)type < sizeof types / sizeof *types ? types[type].name : "?";
}
