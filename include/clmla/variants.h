// SPDX-License-Identifier: Apache-2.0
// Which kernel serves an operation, and why the others do not; and the numbers the kernels are tuned by.
#ifndef CLMLA_VARIANTS_H
#define CLMLA_VARIANTS_H

#include <clmla/context.h>
#include <clmla/rows.h>
#include <stdbool.h>

CLMLA_BEGIN

typedef enum clmla_operation {
    CLMLA_OP_PROJECT = 0,
    CLMLA_OP_RMS_NORM,
    CLMLA_OP_ROPE,
    CLMLA_OP_APPEND,
    CLMLA_OP_ABSORB,
    CLMLA_OP_ATTEND,
    CLMLA_OP_ATTEND_HEADS,
    CLMLA_OP_MERGE,
    CLMLA_OP_OUTPUT, // its W_UV product; the product with o_proj is a project
    CLMLA_OP_PLAN,   // the schedule of a step from lengths on the device
    CLMLA_OP_GATHER,
    CLMLA_OP_COPY_PAGES,
    CLMLA_OP_CONVERT_ROWS,
    CLMLA_OP_MOVE_ROWS, // within a cache: copies on write, removed rows
    CLMLA_OP_SHIFT,     // within a cache: rope parts rotated where they lie
    CLMLA_OPERATION_COUNT
} clmla_operation;

// "project", "rms_norm", ...; "?" for a number that is none. Threads: any.
CLMLA_API const char *clmla_operation_name(clmla_operation operation);

// How exact attention has to be.
typedef enum clmla_compute {
    CLMLA_COMPUTE_EXACT = 0, // products and sums as good as f32's: plan.h says what matrix units make of that
    CLMLA_COMPUTE_FAST // queries, weights and rows may be rounded to 16 or 8 bits for dot products and matrix units
} clmla_compute;

// "exact", "fast"; "?" for a number that is none. Threads: any.
CLMLA_API const char *clmla_compute_name(clmla_compute compute);
// The mode of a name. Errors: CLMLA_E_ARGUMENT, listing the names. Threads: any.
CLMLA_API clmla_status clmla_compute_parse(clmla_compute *out, const char *name);

// What a choice looks at besides the device. Zero fields stand for "any".
typedef struct clmla_shape {
    clmla_type weights;      // project, absorb, output
    clmla_row_format format; // append, attend, gather, copy_pages; convert_rows: what it writes
    uint32_t latent_dim, rope_dim, value_dim, head_count; // attend_heads: latent_dim is N; attend: heads of a kv head
    uint32_t query_tokens; // attend: new tokens a sequence mostly has in a step (clmla_plan_params); 0 = 1
    clmla_compute compute; // attend, attend_heads
    uint32_t row_count;    // tokens or rows of the call
    bool recorded;         // it is kept in a recording (recording.h)
} clmla_shape;

typedef struct clmla_variant {
    const char *name; // "vector", "naive", ...: a constant
    bool accepted;
    bool chosen;      // the first that accepts
    bool proven;      // it gave right results on the context's device (clmla_proof, context.h)
    char reason[160]; // why it was refused; "" when accepted
} clmla_variant;

// Lists an operation's variants for a device, in order of preference. The last one, "naive", always accepts.
// Out     : *count the number there is; variants[0 .. min(capacity, *count)) filled.
// Errors  : CLMLA_E_ARGUMENT (also a width over CLMLA_MAX_DIM or more than CLMLA_MAX_HEADS heads). Threads: any. facts
//           may be made up.
CLMLA_API clmla_status clmla_variant_list(clmla_variant *variants, size_t capacity, size_t *count,
                                          const clmla_device_facts *facts, clmla_operation operation,
                                          const clmla_shape *shape);

// The same for a context: variants that need an instruction (vpdpbusd, vdpbf16ps) are tried on its device, and refused
// when the trial fails or shows no gain. The first such question builds a small program and waits for the device some
// milliseconds. Of attend and attend_heads, for a shape whose widths and heads are all told, variants are proven as the
// context says (clmla_proof), in order, up to the first that is right; of those behind it is told what is known
// already. attend_heads: format is that of the cached rows. Errors: CLMLA_E_ARGUMENT; with proofs also CLMLA_E_MEMORY,
// and CLMLA_E_OPENCL or CLMLA_E_BUILD where the naive kernel itself fails. Threads: any.
CLMLA_API clmla_status clmla_variant_list_tried(clmla_variant *variants, size_t capacity, size_t *count,
                                                clmla_context *context, clmla_operation operation,
                                                const clmla_shape *shape);

// One tunable number of a context: its name ("attend.vector.block_tokens"), meaning, range, the step its values are
// multiples of, what it is by default on this device, and its present value.
typedef struct clmla_tuning {
    const char *name, *meaning;
    uint32_t minimum, maximum, step, initial, value;
} clmla_tuning;

// Lists the tunables of a context. Out, as above. Threads: any.
CLMLA_API clmla_status clmla_tuning_list(clmla_tuning *tunings, size_t capacity, size_t *count,
                                         const clmla_context *context);
// Reads and sets one. A new value counts for plans and calls made after it. Errors: CLMLA_E_ARGUMENT (unknown name),
// CLMLA_E_LIMIT (outside its range). Threads: any.
CLMLA_API clmla_status clmla_tuning_get(uint32_t *value, const clmla_context *context, const char *name);
CLMLA_API clmla_status clmla_tuning_set(clmla_context *context, const char *name, uint32_t value);

// Tuned numbers last in a text file, by device and driver. Its first line is "clmla tuning 1"; "device NAME" and
// "driver VERSION" begin a section, lines "attend.part_keys 256" follow; empty lines and those that begin with # say
// nothing. A context takes the section whose device and driver are its own, to the letter. A line that fits none of
// this makes the context leave the whole file aside; a number with an unknown name or outside its range is left out
// alone. Both are warnings in the log. What is tuned changes times, not results beyond rounding: sums may be split
// elsewhere.

// The file a context read, or would have read if there were one; "" = none. Ownership: the context's. Threads: any.
CLMLA_API const char *clmla_tuning_file(const clmla_context *context);

// Writes the present values that differ from the device's defaults as the section of the context's device and driver
// in its file, in place of an earlier one. Other sections stay as they are. A reader sees the old file or the new one;
// of two writers at once the later one counts. The folder of the default file is made if need be.
// Errors  : CLMLA_E_ARGUMENT (context is NULL, or has no file); CLMLA_E_FILE (what is there is no tuning file or has a
//           bad line, and stays as it is; the file cannot be written); CLMLA_E_LIMIT (path too long); CLMLA_E_MEMORY.
// Threads : any.
CLMLA_API clmla_status clmla_tuning_save(const clmla_context *context);

CLMLA_END

#endif
