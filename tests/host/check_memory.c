// SPDX-License-Identifier: Apache-2.0
// Host memory through an allocator, sizes that overflow, and device buffers: made, measured, refused.
#ifdef __linux__
#define _DEFAULT_SOURCE // MAP_ANONYMOUS
#endif
#include "host/memory.h"
#include "host/os.h"
#include "lib/context.h"
#include "tests/host/faulty.h"
#include "tests/support/device.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#include <unistd.h>
#endif

static host_context *host(void) {
    return &((clmla_context *)(uintptr_t)test_device_get()->context)->host;
}

START_TEST(sums_and_products_that_fit) {
    uint64_t out = 5;
    ck_assert(host_multiply(&out, 1ull << 32, (1ull << 32) - 1) && out == 0xffffffff00000000);
    ck_assert(host_multiply(&out, UINT64_MAX, 1) && out == UINT64_MAX);
    ck_assert(host_multiply(&out, 0, UINT64_MAX) && out == 0);
    ck_assert(host_multiply(&out, UINT64_MAX, 0) && out == 0);
    ck_assert(host_add(&out, UINT64_MAX, 0) && out == UINT64_MAX);
    ck_assert(host_add(&out, 1, UINT64_MAX - 1) && out == UINT64_MAX);
    out = 5;
    ck_assert(!host_multiply(&out, 1ull << 32, 1ull << 32));
    ck_assert(!host_multiply(&out, UINT64_MAX, 2));
    ck_assert(!host_add(&out, UINT64_MAX, 1));
    ck_assert(!host_add(&out, UINT64_MAX, UINT64_MAX));
    ck_assert_uint_eq(out, 5); // untouched
}
END_TEST

START_TEST(allocations_are_zeroed_and_counted) {
    clmla_allocator allocator = faulty_allocator(), none = {0};
    const clmla_allocator *all[] = {&allocator, &none, NULL};
    for (int i = 0; i < 3; i++) {
        unsigned char *memory = host_allocate(all[i], 1000, 3), zeros[3000] = {0};
        ck_assert_ptr_nonnull(memory);
        ck_assert_mem_eq(memory, zeros, 3000);
        void *empty = host_allocate(all[i], 0, 8);
        char *copy = host_copy_string(all[i], "words"), *nothing = host_copy_string(all[i], "");
        ck_assert_ptr_nonnull(empty);
        ck_assert_str_eq(copy, "words");
        ck_assert_str_eq(nothing, "");
        ck_assert_int_eq(faulty_live_get().allocations, i == 0 ? 4 : 0);
        host_release(all[i], memory);
        host_release(all[i], empty);
        host_release(all[i], copy);
        host_release(all[i], nothing);
        host_release(all[i], NULL);
        ck_assert_int_eq(faulty_live_get().allocations, 0);
    }
}
END_TEST

START_TEST(allocations_that_cannot_be) {
    clmla_allocator allocator = faulty_allocator();
    ck_assert_ptr_null(host_allocate(NULL, SIZE_MAX / 2, 3));
    ck_assert_ptr_null(host_allocate(&allocator, SIZE_MAX, SIZE_MAX)); // the allocator is not asked
    ck_assert_ptr_null(host_allocate(&allocator, (SIZE_MAX >> 1) + 2, 2));
    faulty_arm(FAULTY_ALLOCATION, 0, true);
    ck_assert_ptr_null(host_allocate(&allocator, 1, 1));
    ck_assert_ptr_null(host_copy_string(&allocator, "words"));
    faulty_arm(FAULTY_NONE, 0, false);
    ck_assert_int_eq(faulty_live_get().allocations, 0);
}
END_TEST

static void check_buffer(clmla_buffer buffer, uint64_t bytes, uint32_t align, const char *words) {
    clmla_status status = host_buffer_check(host(), buffer, bytes, align, "op", "thing");
    ck_assert_int_eq(status, words ? CLMLA_E_ARGUMENT : CLMLA_OK);
    if (!words) return;
    ck_assert_msg(strstr(clmla_last_error(), words) != NULL, "%s", clmla_last_error());
    ck_assert_msg(strncmp(clmla_last_error(), "op: thing: ", 11) == 0, "%s", clmla_last_error());
}

START_TEST(buffers_are_measured) {
    cl_int code;
    cl_mem memory = clCreateBuffer(host()->cl, 0, 100, NULL, &code);
    TEST_CL(code);
    check_buffer((clmla_buffer){memory, 0}, 100, 4, NULL);
    check_buffer((clmla_buffer){memory, 96}, 4, 4, NULL);
    check_buffer((clmla_buffer){memory, 99}, 1, 1, NULL);
    check_buffer((clmla_buffer){memory, 97}, 3, 0, NULL); // align 0: no rule
    check_buffer((clmla_buffer){NULL, 0}, 0, 4, NULL);
    check_buffer((clmla_buffer){NULL, 3}, 0, 4, NULL);
    check_buffer((clmla_buffer){NULL, 0}, 1, 4, "no buffer");
    check_buffer((clmla_buffer){memory, 0}, 101, 4, "101 bytes needed from offset 0, the buffer has 100");
    check_buffer((clmla_buffer){memory, 100}, 1, 4, "1 bytes needed from offset 100, the buffer has 100");
    check_buffer((clmla_buffer){memory, 104}, 1, 4, "offset 104");
    check_buffer((clmla_buffer){memory, UINT64_MAX - 3}, 8, 4, "offset 18446744073709551612");
    check_buffer((clmla_buffer){memory, 4}, UINT64_MAX, 4, "18446744073709551615 bytes");
    check_buffer((clmla_buffer){memory, 2}, 4, 4, "offset 2 is no multiple of 4");
    clReleaseMemObject(memory);
}
END_TEST

START_TEST(buffers_of_another_context) {
    cl_int code;
    clmla_context *other = test_device_context();
    cl_mem memory = clCreateBuffer(clmla_context_opencl(other), 0, 64, NULL, &code);
    TEST_CL(code);
    check_buffer((clmla_buffer){memory, 0}, 4, 4, "another OpenCL context");
    clReleaseMemObject(memory);
    clmla_context_destroy(&other);
}
END_TEST

START_TEST(buffers_are_made) {
    const char text[] = "what the buffer starts with";
    char back[sizeof text] = {0}, figures[2][32];
    uint64_t limit = host()->facts.max_buffer_bytes;
    size_t size = 0;
    cl_mem made = NULL;
    TEST_OK(host_buffer_create(&made, host(), sizeof text, text, "a text"));
    TEST_CL(clEnqueueReadBuffer(test_device_get()->queue, made, CL_TRUE, 0, sizeof back, back, 0, NULL, NULL));
    ck_assert_str_eq(back, text);
    host_buffer_release(host(), &made);
    ck_assert_ptr_null(made);
    host_buffer_release(host(), &made);
    TEST_OK(host_buffer_create(&made, host(), 0, NULL, "nothing"));
    TEST_CL(clGetMemObjectInfo(made, CL_MEM_SIZE, sizeof size, &size, NULL));
    ck_assert_uint_ge(size, 1);
    host_buffer_release(host(), &made);

    ck_assert_uint_gt(limit, 0);
    ck_assert_int_eq(host_buffer_create(&made, host(), limit + 1, NULL, "a thing"), CLMLA_E_LIMIT);
    ck_assert_ptr_null(made);
    snprintf(figures[0], sizeof figures[0], "a thing: %llu", (unsigned long long)limit + 1);
    snprintf(figures[1], sizeof figures[1], "allows %llu", (unsigned long long)limit);
    ck_assert_msg(strstr(clmla_last_error(), figures[0]) && strstr(clmla_last_error(), figures[1]), "%s",
                  clmla_last_error());
    ck_assert_int_eq(host_buffer_create(&made, host(), UINT64_MAX, NULL, "a thing"), CLMLA_E_LIMIT);
}
END_TEST

#ifdef __linux__
// Whether the mapping that holds the address was asked to be of large pages ("hg"), as the kernel tells.
static bool is_advised(const void *at) {
    char line[512];
    bool here = false, advised = false;
    FILE *maps = fopen("/proc/self/smaps", "r");
    ck_assert_ptr_nonnull(maps);
    while (fgets(line, sizeof line, maps)) {
        unsigned long long begin, end;
        if (sscanf(line, "%llx-%llx ", &begin, &end) == 2) here = (uintptr_t)at >= begin && (uintptr_t)at < end;
        if (here && strncmp(line, "VmFlags:", 8) == 0) advised = strstr(line, " hg") != NULL;
    }
    fclose(maps);
    return advised;
}

// The whole pages of a range, and no others.
START_TEST(large_pages_are_asked_for) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = 4096 * page;
    if (access("/sys/kernel/mm/transparent_hugepage/enabled", F_OK) != 0) return; // such a kernel has none
    char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(at, MAP_FAILED);
    ck_assert(!is_advised(at));
    host_large_pages(at + 1, page);     // less than one
    host_large_pages(at + 1, page + 5); // likewise
    host_large_pages(at, 0);
    ck_assert(!is_advised(at) && !is_advised(at + page));
    host_large_pages(at + 1, bytes / 2);
    ck_assert(!is_advised(at) && is_advised(at + page) && is_advised(at + bytes / 2 - 1));
    ck_assert(!is_advised(at + bytes / 2));
    munmap(at, bytes);
}
END_TEST
#endif

// From 4 MiB on a CPU's buffers are laid out page by page: `bytes` of them read back, and each call in turn that fails.
START_TEST(large_buffers_are_made_or_not) {
    size_t bytes = (5u << 20) + 12;
    unsigned char *values = malloc(bytes), *back = calloc(bytes, 1);
    for (size_t i = 0; i < bytes; i++) values[i] = (unsigned char)(i * 31 >> 3);
    host_context faulty = *host();
    faulty.calls = faulty_calls();
    cl_mem made = NULL;
    TEST_OK(host_buffer_create_lasting(&made, &faulty, bytes, values, "many values"));
    TEST_CL(clEnqueueReadBuffer(test_device_get()->queue, made, CL_TRUE, 0, bytes, back, 0, NULL, NULL));
    ck_assert_mem_eq(back, values, bytes);
    host_buffer_release(&faulty, &made);
    ck_assert(faulty_nothing_lives());
    int failed = 0;
    for (;; failed++) {
        faulty_arm(FAULTY_CALL, failed, false);
        clmla_status status =
            host_buffer_create_lasting(&made, &faulty, bytes, failed % 2 ? NULL : values, "many values");
        if (!faulty_hit()) break;
        ck_assert_int_eq(status, CLMLA_E_OPENCL);
        ck_assert_ptr_null(made);
        ck_assert_ptr_nonnull(strstr(clmla_last_error(), faulty_hit()));
        ck_assert_ptr_nonnull(strstr(clmla_last_error(), "many values"));
        ck_assert(faulty_nothing_lives());
    }
    faulty_arm(FAULTY_NONE, 0, false);
    ck_assert_int_eq(failed, host()->facts.type & CL_DEVICE_TYPE_CPU ? 5 : 1);
    host_buffer_release(&faulty, &made);
    free(values);
    free(back);
}
END_TEST

// The library's users make them by the context.
START_TEST(buffers_of_the_public_call) {
    const float values[] = {1.0f, -2.5f, 3.25f};
    float back[3] = {0};
    cl_mem made = NULL;
    clmla_context *context = test_device_get()->context;
    TEST_OK(clmla_buffer_create(&made, context, sizeof values, values));
    TEST_CL(clEnqueueReadBuffer(test_device_get()->queue, made, CL_TRUE, 0, sizeof back, back, 0, NULL, NULL));
    ck_assert_mem_eq(back, values, sizeof values);
    TEST_CL(clReleaseMemObject(made));
    ck_assert_int_eq(clmla_buffer_create(NULL, context, 4, NULL), CLMLA_E_ARGUMENT);
    ck_assert_int_eq(clmla_buffer_create(&made, NULL, 4, NULL), CLMLA_E_ARGUMENT);
    ck_assert_ptr_null(made);
    ck_assert_int_eq(clmla_buffer_create(&made, context, UINT64_MAX, NULL), CLMLA_E_LIMIT);
    ck_assert_ptr_null(made);
    ck_assert_ptr_nonnull(strstr(clmla_last_error(), "18446744073709551615 bytes"));
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, sums_and_products_that_fit);
    tcase_add_test(tcase, allocations_are_zeroed_and_counted);
    tcase_add_test(tcase, allocations_that_cannot_be);
    tcase_add_test(tcase, buffers_are_measured);
    tcase_add_test(tcase, buffers_of_another_context);
    tcase_add_test(tcase, buffers_are_made);
#ifdef __linux__
    tcase_add_test(tcase, large_pages_are_asked_for);
#endif
    tcase_add_test(tcase, large_buffers_are_made_or_not);
    tcase_add_test(tcase, buffers_of_the_public_call);
}

int main(void) {
    return test_main("check_memory", add_tests);
}
