// SPDX-License-Identifier: Apache-2.0
// Every driver call of a layer step failing once: the step answers CLMLA_E_OPENCL or CLMLA_E_BUILD with the driver's
// code and leaves no host allocation behind, and the same objects work again afterwards.
#include "lib/context.h"
#include "tests/support/device.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static const host_calls *real;
static long calls_until_fault;      // < 0: none
static long holds_until_fault = -1; // of events
static atomic_long live;
static const char *failed_call;

static bool fails(const char *name) {
    if (calls_until_fault < 0 || calls_until_fault-- > 0) return false;
    failed_call = name;
    return true;
}

// One wrapper a call: the parameters as the driver's prototype names them, and what a failure answers.
#define WRAP_CODE(name, parameters, arguments)                                                                         \
    static cl_int CL_API_CALL faulty_##name parameters {                                                               \
        return fails("cl" #name) ? CL_OUT_OF_RESOURCES : real->name arguments;                                         \
    }
#define WRAP_HANDLE(type, name, parameters, arguments)                                                                 \
    static type CL_API_CALL faulty_##name parameters {                                                                 \
        if (!fails("cl" #name)) return real->name arguments;                                                           \
        *code = CL_OUT_OF_RESOURCES;                                                                                   \
        return NULL;                                                                                                   \
    }
WRAP_HANDLE(cl_mem, CreateBuffer, (cl_context a, cl_mem_flags b, size_t c, void *d, cl_int *code), (a, b, c, d, code))
WRAP_HANDLE(cl_program, CreateProgramWithSource,
            (cl_context a, cl_uint b, const char **c, const size_t *d, cl_int *code), (a, b, c, d, code))
WRAP_HANDLE(cl_kernel, CreateKernel, (cl_program a, const char *b, cl_int *code), (a, b, code))
WRAP_CODE(BuildProgram,
          (cl_program a, cl_uint b, const cl_device_id *c, const char *d, void(CL_CALLBACK *e)(cl_program, void *),
           void *f),
          (a, b, c, d, e, f))
WRAP_CODE(SetKernelArg, (cl_kernel a, cl_uint b, size_t c, const void *d), (a, b, c, d))
WRAP_CODE(EnqueueNDRangeKernel,
          (cl_command_queue a, cl_kernel b, cl_uint c, const size_t *d, const size_t *e, const size_t *f, cl_uint g,
           const cl_event *h, cl_event *i),
          (a, b, c, d, e, f, g, h, i))
WRAP_CODE(EnqueueWriteBuffer,
          (cl_command_queue a, cl_mem b, cl_bool c, size_t d, size_t e, const void *f, cl_uint g, const cl_event *h,
           cl_event *i),
          (a, b, c, d, e, f, g, h, i))
WRAP_CODE(EnqueueMarkerWithWaitList, (cl_command_queue a, cl_uint b, const cl_event *c, cl_event *d), (a, b, c, d))
WRAP_CODE(GetMemObjectInfo, (cl_mem a, cl_mem_info b, size_t c, void *d, size_t *e), (a, b, c, d, e))
WRAP_CODE(GetCommandQueueInfo, (cl_command_queue a, cl_command_queue_info b, size_t c, void *d, size_t *e),
          (a, b, c, d, e))

static cl_int CL_API_CALL faulty_RetainEvent(cl_event event) {
    if (holds_until_fault < 0 || holds_until_fault-- > 0) return real->RetainEvent(event);
    failed_call = "clRetainEvent";
    return CL_OUT_OF_RESOURCES;
}

static void *counted_allocate(void *payload, size_t bytes) {
    (void)payload;
    void *memory = malloc(bytes);
    live += memory != NULL;
    return memory;
}

static void counted_release(void *payload, void *memory) {
    (void)payload;
    live--;
    free(memory);
}

static clmla_context *faulty_context(void) {
    static host_calls table;
    real = host_calls_default();
    table = *real;
    table.CreateBuffer = faulty_CreateBuffer;
    table.CreateProgramWithSource = faulty_CreateProgramWithSource;
    table.CreateKernel = faulty_CreateKernel;
    table.BuildProgram = faulty_BuildProgram;
    table.SetKernelArg = faulty_SetKernelArg;
    table.EnqueueNDRangeKernel = faulty_EnqueueNDRangeKernel;
    table.EnqueueWriteBuffer = faulty_EnqueueWriteBuffer;
    table.RetainEvent = faulty_RetainEvent;
    table.EnqueueMarkerWithWaitList = faulty_EnqueueMarkerWithWaitList;
    table.GetMemObjectInfo = faulty_GetMemObjectInfo;
    table.GetCommandQueueInfo = faulty_GetCommandQueueInfo;
    clmla_context *context = NULL;
    clmla_context_params params = {.opencl = {test_device_get()->cl, test_device_get()->id},
                                   .allocator = {counted_allocate, counted_release, NULL},
                                   .program_folder = "",
                                   .tuning_file = ""};
    TEST_OK(context_create_with_calls(&context, &params, &table));
    return context;
}

typedef struct scene {
    clmla_context *context;
    clmla_layer *layer;
    clmla_cache *cache;
    cl_mem input, output;
} scene;

// A step of two new tokens for a sequence, as far as it goes.
static clmla_status run(const scene *s, clmla_plan *plan, clmla_sequence sequence, cl_event *done) {
    uint32_t tokens = 2;
    clmla_batch batch = {.sequence_count = 1, .sequences = &sequence, .query_tokens = &tokens};
    cl_command_queue queue = test_device_get()->queue;
    clmla_status status = clmla_cache_reserve(s->cache, &batch);
    if (status == CLMLA_OK) status = clmla_plan_update(plan, s->cache, &batch, queue, 0, NULL, NULL);
    if (status != CLMLA_OK) return status;
    return clmla_layer_enqueue(s->layer, plan, s->cache, (clmla_buffer){s->input, 0}, (clmla_buffer){s->output, 0},
                               queue, 0, NULL, done);
}

// Steps of a new sequence and of a fork of it that is edited, with a plan of their own.
static clmla_status step(const scene *s) {
    clmla_plan *plan = NULL;
    clmla_sequence sequence = 0, fork = 0;
    cl_event done = NULL;
    clmla_status status = clmla_plan_create_for_cache(&plan, s->context, s->cache);
    if (status == CLMLA_OK) status = clmla_cache_sequence_create(&sequence, s->cache);
    if (status == CLMLA_OK) status = run(s, plan, sequence, NULL);
    if (status == CLMLA_OK) status = clmla_cache_sequence_fork(&fork, s->cache, sequence);
    if (status == CLMLA_OK) status = clmla_cache_sequence_shift(s->cache, fork, 0, 2, 3);
    if (status == CLMLA_OK) status = clmla_cache_sequence_remove(s->cache, fork, 0, 1);
    if (status == CLMLA_OK) status = run(s, plan, fork, &done);
    if (done) clReleaseEvent(done);
    TEST_CL(clFinish(test_device_get()->queue));
    clmla_plan_destroy(&plan);
    if (sequence) TEST_OK(clmla_cache_sequence_drop(s->cache, sequence));
    if (fork) TEST_OK(clmla_cache_sequence_drop(s->cache, fork));
    return status;
}

#define PROMPT 64

// A prompt by reconstructed keys beside a token that is absorbed.
static clmla_status prompt_step(const scene *s) {
    clmla_plan *plan = NULL;
    clmla_sequence sequences[2] = {0, 0};
    const uint32_t tokens[2] = {PROMPT, 1};
    clmla_batch batch = {.sequence_count = 2, .sequences = sequences, .query_tokens = tokens};
    cl_command_queue queue = test_device_get()->queue;
    clmla_status status = clmla_plan_create_for_cache(&plan, s->context, s->cache);
    for (int i = 0; i < 2 && status == CLMLA_OK; i++) status = clmla_cache_sequence_create(&sequences[i], s->cache);
    if (status == CLMLA_OK) status = clmla_cache_reserve(s->cache, &batch);
    if (status == CLMLA_OK) status = clmla_plan_update(plan, s->cache, &batch, queue, 0, NULL, NULL);
    if (status == CLMLA_OK) {
        bool cpu = test_device_get()->facts->type & CL_DEVICE_TYPE_CPU;
        ck_assert_uint_eq(clmla_plan_facts_get(plan).reconstructed_tokens, cpu ? PROMPT : 0);
        status = clmla_layer_enqueue(s->layer, plan, s->cache, (clmla_buffer){s->input, 0},
                                     (clmla_buffer){s->output, 0}, queue, 0, NULL, NULL);
    }
    TEST_CL(clFinish(queue));
    clmla_plan_destroy(&plan);
    for (int i = 0; i < 2; i++)
        if (sequences[i]) TEST_OK(clmla_cache_sequence_drop(s->cache, sequences[i]));
    return status;
}

static void open_scene(scene *s) {
    clmla_config config;
    cl_int code;
    calls_until_fault = -1;
    s->context = faulty_context();
    TEST_OK(clmla_config_load(&config, TEST_DATA "/a_v2_tiny"));
    TEST_OK(clmla_layer_load(&s->layer, s->context, &config, TEST_DATA "/a_v2_tiny", 0, NULL));
    TEST_OK(
        clmla_cache_create(&s->cache, s->context, &config, &(clmla_cache_params){.layer_count = 1, .page_count = 2}));
    size_t bytes = (PROMPT + 1) * config.hidden_size * sizeof(float);
    s->input = clCreateBuffer(test_device_get()->cl, CL_MEM_READ_WRITE, bytes, NULL, &code);
    s->output = clCreateBuffer(test_device_get()->cl, CL_MEM_READ_WRITE, bytes, NULL, &code);
    TEST_CL(code);
    float zero = 0.0f;
    TEST_CL(clEnqueueFillBuffer(test_device_get()->queue, s->input, &zero, sizeof zero, 0, bytes, 0, NULL, NULL));
}

static void close_scene(scene *s) {
    clReleaseMemObject(s->input);
    clReleaseMemObject(s->output);
    clmla_cache_destroy(&s->cache);
    clmla_layer_destroy(&s->layer);
    clmla_context_destroy(&s->context);
    ck_assert_int_eq(live, 0);
}

START_TEST(every_driver_call_may_fail) {
    scene s;
    long faults = 0;
    clmla_status (*const run_step)(const scene *) = _i ? prompt_step : step;
    open_scene(&s);
    for (long at = 0;; at++) {
        calls_until_fault = at;
        failed_call = NULL;
        clmla_status status = run_step(&s);
        calls_until_fault = -1;
        if (!failed_call) break; // the step makes fewer calls than that
        faults++;
        ck_assert_msg(status == CLMLA_E_OPENCL || status == CLMLA_E_BUILD, "call %ld (%s): %s", at, failed_call,
                      clmla_status_name(status));
        ck_assert_msg(clmla_last_cl_error() == CL_OUT_OF_RESOURCES, "call %ld (%s): %s", at, failed_call,
                      clmla_last_error());
    }
    ck_assert_int_gt(faults, 50);
    TEST_OK(run_step(&s));
    close_scene(&s);
}
END_TEST

// A plan keeps events for itself: those that it cannot hold a second time are not released a second time either.
START_TEST(events_may_refuse_holds) {
    scene s;
    clmla_plan *plan = NULL;
    uint32_t tokens = 3;
    clmla_lengths lengths = {.sequence_count = 1, .kv_tokens = &tokens};
    long faults = 0;
    open_scene(&s);
    TEST_OK(clmla_plan_create_for_cache(&plan, s.context, s.cache));
    for (;;) {
        cl_event done = NULL;
        failed_call = NULL;
        holds_until_fault = faults;
        clmla_status status = clmla_plan_update_lengths(plan, &lengths, test_device_get()->queue, 0, NULL, &done);
        holds_until_fault = -1;
        if (done && !failed_call) clReleaseEvent(done);
        if (!failed_call) break;
        faults++;
        ck_assert_int_eq(done == NULL, status != CLMLA_OK);
        if (status != CLMLA_OK) ck_assert_int_eq(clmla_last_cl_error(), CL_OUT_OF_RESOURCES);
        if (done) TEST_CL(clWaitForEvents(1, &done));
        if (done) TEST_CL(clReleaseEvent(done));
        TEST_OK(clmla_plan_update_lengths(plan, &lengths, test_device_get()->queue, 0, NULL, NULL));
    }
    ck_assert_int_ge(faults, 2);
    clmla_plan_destroy(&plan);
    close_scene(&s);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_loop_test(tcase, every_driver_call_may_fail, 0, 2);
    tcase_add_test(tcase, events_may_refuse_holds);
}

int main(void) {
    return test_main("check_driver_faults", add_tests);
}
