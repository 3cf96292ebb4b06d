// SPDX-License-Identifier: Apache-2.0
#include "tests/api/proof_spoilt.h"
#include "lib/context.h"
#include "tests/support/buffer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

proof_spoilt proof_spoils[PROOF_SPOILT];
const char *proof_dropped;
int proof_drops = PROOF_DROPS_ALL;

static cl_program CL_API_CALL spoil_source(cl_context context, cl_uint count, const char **text, const size_t *length,
                                           cl_int *code) {
    const char *before = "";
    ck_assert_uint_eq(count, 1);
    char *copy = test_allocate(length[0] + 1, 1);
    memcpy(copy, text[0], length[0]);
    for (int i = PROOF_SPOILT - 1; i >= 0; i--) { // of two texts before it, the first one's
        const proof_spoilt *s = &proof_spoils[i];
        if (!s->word || !strstr(copy, s->word)) continue;
        if (s->before) before = s->before;
        for (char *at = copy; s->from && (at = strstr(at, s->from)) != NULL;) memcpy(at, s->to, strlen(s->to));
    }
    const char *texts[2] = {before, copy};
    const size_t lengths[2] = {strlen(before), length[0]};
    cl_program made = clCreateProgramWithSource(context, 2, texts, lengths, code);
    free(copy);
    return made;
}

static cl_int CL_API_CALL drop_launch(cl_command_queue queue, cl_kernel kernel, cl_uint dimensions,
                                      const size_t *offset, const size_t *global, const size_t *local, cl_uint count,
                                      const cl_event *wait, cl_event *event) {
    char name[64] = "";
    clGetKernelInfo(kernel, CL_KERNEL_FUNCTION_NAME, sizeof name, name, NULL);
    if (proof_dropped && proof_drops != 0 && strcmp(name, proof_dropped) == 0) {
        if (proof_drops > 0) proof_drops--;
        return clEnqueueMarkerWithWaitList(queue, count, wait, event);
    }
    return clEnqueueNDRangeKernel(queue, kernel, dimensions, offset, global, local, count, wait, event);
}

// No programs on disk, verdicts alone: to serialise a program takes PoCL longer than to build it, and a spoilt one
// would be found.
static cl_int CL_API_CALL give_no_binary(cl_program program, cl_program_info info, size_t bytes, void *out,
                                         size_t *needed) {
    if (info == CL_PROGRAM_BINARY_SIZES || info == CL_PROGRAM_BINARIES) return CL_INVALID_PROGRAM_EXECUTABLE;
    return clGetProgramInfo(program, info, bytes, out, needed);
}

static void listen(void *payload, clmla_log_level level, const char *message) {
    proof_told *t = payload;
    pthread_mutex_lock(&t->lock);
    t->earlier += strstr(message, "; found earlier") != NULL;
    t->proven += level == CLMLA_LOG_INFO && strstr(message, "is proven") != NULL;
    t->refused += level == CLMLA_LOG_WARNING && strstr(message, "is not used") != NULL;
    if (strstr(message, "is not used")) snprintf(t->last, sizeof t->last, "%s", message);
    pthread_mutex_unlock(&t->lock);
}

proof_told proof_told_nothing(void) {
    return (proof_told){.lock = PTHREAD_MUTEX_INITIALIZER};
}

clmla_context *proof_context(proof_told *t, clmla_proof proof, const char *folder) {
    static host_calls table;
    clmla_context *context;
    table = *host_calls_default();
    table.CreateProgramWithSource = spoil_source;
    table.EnqueueNDRangeKernel = drop_launch;
    table.GetProgramInfo = give_no_binary;
    clmla_context_params params = {.opencl = {test_device_get()->cl, test_device_get()->id},
                                   .log = {listen, t, CLMLA_LOG_INFO},
                                   .program_folder = folder,
                                   .tuning_file = "",
                                   .proof = proof};
    TEST_OK(context_create_with_calls(&context, &params, &table));
    return context;
}

clmla_plan_params proof_small_params(uint32_t heads) {
    clmla_plan_params params = {.head_count = heads};
    TEST_OK(clmla_row_layout_make(&params.layout, CLMLA_ROWS_F16, CLMLA_ROPE_INTERLEAVED, 32, 8));
    return params;
}

const char *proof_chosen(clmla_context *context, const clmla_plan_params *params) {
    clmla_plan *plan = NULL;
    TEST_OK(clmla_plan_create(&plan, context, params));
    const char *name = clmla_plan_facts_get(plan).attend_variant;
    clmla_plan_destroy(&plan);
    return name;
}

const char *proof_first_variant(void) {
    return test_device_get()->facts->type & CL_DEVICE_TYPE_CPU ? "vector" : "tile";
}

const char *proof_first_word(void) {
    return test_device_get()->facts->type & CL_DEVICE_TYPE_CPU ? "attend_vector(" : "attend_tile(";
}

void proof_spoil_nothing(void) {
    memset(proof_spoils, 0, sizeof proof_spoils);
    proof_dropped = NULL;
    proof_drops = PROOF_DROPS_ALL;
}

void proof_spoil(const char *word, const char *before) {
    proof_spoil_nothing();
    proof_spoils[0] = (proof_spoilt){.word = word, .before = before};
}

// The first variant, and what could be taken in its place, which does not even compile.
void proof_spoil_all(const char *before) {
    proof_spoil(proof_first_word(), before);
    proof_spoils[1] = (proof_spoilt){.word = "attend_tile(", .before = PROOF_NO_PROGRAM};
}
