// SPDX-License-Identifier: Apache-2.0
// What common/dot.clh and common/amx.clh have of instructions, one after the other over vectors of 16 words: out[i]
// from a[i], b[i], c[i]. grid: global (vectors; of form_amx tiles), local (1)
// options: INT8, BF16 or AMX: what the instructions are of; DOT_PORTABLE and AMX_PORTABLE as there; VECTOR_WIDTH=16
#include "../../cl/common/vector.clh"
#include "../../cl/common/turn.clh"
#include "../../cl/common/dot.clh"
#include "../../cl/common/amx.clh"
#define FORM(name)                                                                                                     \
    __kernel __attribute__((reqd_work_group_size(1, 1, 1))) void name(const __global uint *a, const __global uint *b,  \
                                                                      const __global uint *c, __global uint *out)
#define OF(words) vload16(get_global_id(0), words)
#define GIVE(value) vstore16(as_uint16(value), get_global_id(0), out)

#ifdef INT8
FORM(form_dot_bytes) {
    GIVE(dot_bytes(as_int16(OF(c)), OF(a), OF(b)));
}

FORM(form_round_product) {
    GIVE(__builtin_astype(round_product(__builtin_astype(OF(a), short32), __builtin_astype(OF(b), short32)), uint16));
}

FORM(form_fast_exp2) {
    GIVE(fast_exp2(as_float16(OF(a))));
}
#elif defined(BF16)
FORM(form_dot_bf16) {
    GIVE(dot_bf16(as_float16(OF(c)), OF(a), OF(b)));
}

FORM(form_bf16_run) {
    GIVE(bf16_run(as_float16(OF(a)), as_float16(OF(b))));
}

FORM(form_bf16_pairs) {
    GIVE(bf16_pairs(as_float16(OF(a)), as_float16(OF(b))));
}
#elif defined(AMX)
FORM(form_amx) {
    size_t tile = get_global_id(0) * AMX_TILE_WORDS;
    amx_tiles amx;
    amx_begin(&amx);
    AMX_LOAD(&amx, 3, c + tile, AMX_ROW_BYTES);
    AMX_LOAD(&amx, 5, a + tile, AMX_ROW_BYTES);
    AMX_LOAD(&amx, 7, b + tile, AMX_ROW_BYTES);
    AMX_ADD_BF16(&amx, 3, 5, 7);
    AMX_STORE(&amx, 3, out + tile, AMX_ROW_BYTES);
    amx_end(&amx);
}
#else
#error "one of INT8, BF16, AMX is missing"
#endif
