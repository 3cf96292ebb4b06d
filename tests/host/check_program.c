// SPDX-License-Identifier: Apache-2.0
// Programs and kernels on a device: built once, loaded afterwards, rebuilt when an entry is off.
#include "host/program.h"
#include "tests/host/folder.h"
#include "tests/support/device.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char good_text[] = "__kernel void twice(__global int *x) { x[get_global_id(0)] *= FACTOR; }\n"
                                "__kernel void other(__global int *x) { x[0] = 1; }\n";
static const host_source good = {"good", good_text, sizeof good_text - 1};
static const char bad_text[] = "__kernel void broken(__global int *x) { x[0] = no_such_thing; }\n";
static const host_source bad = {"bad", bad_text, sizeof bad_text - 1};

typedef struct heard {
    int builds, loads, warnings;
    bool compiler_spoke;
} heard;

static void listen(void *payload, clmla_log_level level, const char *message) {
    heard *h = payload;
    h->warnings += level == CLMLA_LOG_WARNING;
    h->builds += strstr(message, ": built in") != NULL;
    h->loads += strstr(message, ": loaded in") != NULL;
    h->compiler_spoke |= level == CLMLA_LOG_ERROR && strstr(message, "no_such_thing") != NULL;
}

// A host context of its own on the test's device.
static void open_context(host_context *context, const char *folder, heard *h) {
    *h = (heard){0};
    clmla_context_params params = {.opencl = {test_device_get()->cl, test_device_get()->id},
                                   .program_folder = folder,
                                   .log = {listen, h, CLMLA_LOG_INFO}};
    TEST_OK(host_context_init(context, &params, NULL));
}

static void check_counts(const host_context *context, uint32_t built, uint32_t loaded, uint32_t rejected) {
    clmla_program_counts counts = host_programs_counts(context);
    ck_assert_uint_eq(counts.built, built);
    ck_assert_uint_eq(counts.loaded, loaded);
    ck_assert_uint_eq(counts.rejected, rejected);
}

// Runs `twice` on the number 21 with factor 2.
static void use(host_context *context) {
    host_kernel *kernel;
    cl_int value = 21, code;
    size_t one = 1;
    cl_mem memory = clCreateBuffer(context->cl, CL_MEM_COPY_HOST_PTR, sizeof value, &value, &code);
    TEST_CL(code);
    TEST_OK(host_kernel_acquire(&kernel, context, &good, "-DFACTOR=2", "twice"));
    TEST_CL(clSetKernelArg(host_kernel_cl(kernel), 0, sizeof memory, &memory));
    TEST_CL(
        clEnqueueNDRangeKernel(test_device_get()->queue, host_kernel_cl(kernel), 1, NULL, &one, NULL, 0, NULL, NULL));
    TEST_CL(clEnqueueReadBuffer(test_device_get()->queue, memory, CL_TRUE, 0, sizeof value, &value, 0, NULL, NULL));
    ck_assert_int_eq(value, 42);
    host_kernel_release(context, kernel);
    clReleaseMemObject(memory);
}

START_TEST(second_context_builds_nothing) {
    host_context context;
    heard h;
    const char *folder = test_folder_make();
    open_context(&context, folder, &h);
    use(&context);
    use(&context);
    check_counts(&context, 1, 0, 0);
    ck_assert_int_eq(h.builds, 1);
    host_context_finish(&context);
    ck_assert_int_eq(test_folder_files(), 1);

    open_context(&context, folder, &h);
    use(&context);
    check_counts(&context, 0, 1, 0);
    ck_assert_int_eq(h.loads, 1);
    host_context_finish(&context);

    size_t bytes;
    unsigned char *entry = test_file_read(test_folder_first(), &bytes);
    entry[bytes / 2] ^= 1;
    test_file_write(test_folder_first(), entry, bytes);
    free(entry);
    open_context(&context, folder, &h);
    use(&context);
    check_counts(&context, 1, 0, 1);
    ck_assert_int_eq(h.warnings, 1);
    host_context_finish(&context);

    open_context(&context, "", &h); // no store: built again
    use(&context);
    check_counts(&context, 1, 0, 0);
    host_context_finish(&context);
    test_folder_remove();
}
END_TEST

START_TEST(broken_program_says_why) {
    host_context context;
    host_kernel *kernel;
    heard h;
    open_context(&context, "", &h);
    for (int attempt = 0; attempt < 2; attempt++) {
        h.compiler_spoke = false;
        ck_assert_int_eq(host_kernel_acquire(&kernel, &context, &bad, "-DODD", "broken"), CLMLA_E_BUILD);
        ck_assert_ptr_nonnull(strstr(clmla_last_error(), "program bad [-DODD]"));
        ck_assert_int_ne(clmla_last_cl_error(), 0);
        ck_assert(h.compiler_spoke);
    }
    ck_assert_int_eq(host_kernel_acquire(&kernel, &context, &good, "-DFACTOR=2", "no_such_kernel"), CLMLA_E_OPENCL);
    ck_assert_int_eq(clmla_last_cl_error(), CL_INVALID_KERNEL_NAME);
    use(&context); // and the context still works
    host_context_finish(&context);
}
END_TEST

START_TEST(kernels_come_from_a_pool) {
    host_context context;
    host_kernel *a, *b, *c, *other;
    heard h;
    open_context(&context, "", &h);
    TEST_OK(host_kernel_acquire(&a, &context, &good, "-DFACTOR=2", "twice"));
    TEST_OK(host_kernel_acquire(&b, &context, &good, "-DFACTOR=2", "twice"));
    TEST_OK(host_kernel_acquire(&other, &context, &good, "-DFACTOR=2", "other"));
    ck_assert_ptr_ne(host_kernel_cl(a), host_kernel_cl(b)); // two users never share one
    host_kernel_release(&context, b);
    TEST_OK(host_kernel_acquire(&c, &context, &good, "-DFACTOR=2", "twice"));
    ck_assert_ptr_eq(b, c);
    host_kernel_release(&context, a);
    host_kernel_release(&context, c);
    host_kernel_release(&context, other);
    host_kernel_release(&context, NULL);
    check_counts(&context, 1, 0, 0);
    host_context_finish(&context);
}
END_TEST

static void *use_from_thread(void *context) {
    host_kernel *kernel = NULL;
    clmla_status status = host_kernel_acquire(&kernel, context, &good, "-DFACTOR=2", "twice");
    host_kernel_release(context, kernel);
    return (void *)(intptr_t)status;
}

START_TEST(threads_build_once) {
    host_context context;
    heard h;
    pthread_t threads[8];
    open_context(&context, "", &h);
    for (int i = 0; i < 8; i++) ck_assert_int_eq(pthread_create(&threads[i], NULL, use_from_thread, &context), 0);
    for (int i = 0; i < 8; i++) {
        void *status;
        pthread_join(threads[i], &status);
        ck_assert_ptr_null(status);
    }
    check_counts(&context, 1, 0, 0);
    host_context_finish(&context);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, second_context_builds_nothing);
    tcase_add_test(tcase, broken_program_says_why);
    tcase_add_test(tcase, kernels_come_from_a_pool);
    tcase_add_test(tcase, threads_build_once);
}

int main(void) {
    return test_main("check_program", add_tests);
}
