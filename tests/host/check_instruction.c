// SPDX-License-Identifier: Apache-2.0
// Trials of instructions: right on a device whose facts have them, once a context; and with every driver call and
// allocation of it failing, a reason and one warning, nothing left behind, and no failure of the caller's. On a device
// whose facts have none there is nothing to try: that is what is checked then.
#ifdef __linux__
#define _DEFAULT_SOURCE // sigaltstack()
#endif
#include "host/error.h"
#include "host/instruction.h"
#include "host/instruction_matrix.h"
#include "host/instruction_ring.h"
#include "host/instruction_sub_group.h"
#include "host/instruction_wgmma.h"
#include "tests/host/faulty.h"
#include "tests/host/folder.h"
#include "tests/support/device.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define BEFORE "what was told before"

static bool is_portable(host_instruction instruction) {
    return instruction == HOST_INSTRUCTION_MATRIX_PORTABLE || instruction == HOST_INSTRUCTION_WGMMA_PORTABLE ||
           instruction == HOST_INSTRUCTION_RING_PORTABLE;
}

static bool multiplies_tiles(host_instruction instruction) {
    return host_matrix_is(instruction) || is_portable(instruction) || instruction == HOST_INSTRUCTION_WGMMA ||
           instruction == HOST_INSTRUCTION_RING;
}

static bool has(host_instruction instruction) {
    const clmla_device_facts *facts = test_device_get()->facts;
    // OpenCL C in place of matrix units runs everywhere; in place of CPUs' instructions, where addresses are of one
    // kind.
    if (is_portable(instruction)) return true;
    if (host_instruction_is_portable_dot(instruction)) return facts->type & CL_DEVICE_TYPE_CPU;
    if (instruction == HOST_INSTRUCTION_WGMMA) return host_wgmma_find(facts) == instruction;
    if (instruction == HOST_INSTRUCTION_RING) return host_ring_find(facts) == instruction;
    if (host_matrix_is(instruction)) return host_matrix_find(facts)->instruction == instruction;
    if (host_instruction_is_timed(instruction) && test_device_is_portable()) return false; // its facts are made up
    if (instruction == HOST_INSTRUCTION_AMX_BF16) return facts->has_amx_bf16;
    if (instruction == HOST_INSTRUCTION_SUB_GROUPS) return facts->has_sub_groups;
    if (instruction == HOST_INSTRUCTION_INT16_DOT) return facts->has_int16_dot;
    return instruction == HOST_INSTRUCTION_INT8_DOT ? facts->has_int8_dot : facts->has_bf16_dot;
}

static void count_warnings(void *payload, clmla_log_level level, const char *message) {
    *(int *)payload +=
        level == CLMLA_LOG_WARNING && (strstr(message, "a trial of its") || strstr(message, "grant AMX"));
}

// A trial that found no memory is made again, which one that is armed to fail once then lets go right.
static bool is_unmade(const host_instruction_trial *trial) {
    return strstr(trial->reason, "found no memory") != NULL;
}

// What a context of its own finds of an instruction, and how many warnings that takes.
static clmla_status try_in_context(host_instruction_trial *out, int *warnings, const char *folder,
                                   host_instruction instruction) {
    host_context context;
    clmla_context_params params = {.opencl = {test_device_get()->cl, test_device_get()->id},
                                   .allocator = faulty_allocator(),
                                   .log = {count_warnings, warnings, CLMLA_LOG_WARNING},
                                   .program_folder = folder};
    clmla_status status = host_context_init(&context, &params, faulty_calls());
    if (status != CLMLA_OK) return status;
    host_fail(NULL, CLMLA_E_ARGUMENT, 7, BEFORE);
    const host_instruction_trial *trial = host_instruction_try(&context, instruction);
    const host_instruction_trial *next = host_instruction_try(&context, instruction);
    if (is_unmade(trial))
        ck_assert_msg(next->right, "%s", next->reason);
    else
        ck_assert_ptr_eq(next, trial);
    ck_assert_str_eq(clmla_last_error(), BEFORE);
    ck_assert_int_eq(clmla_last_cl_error(), 7);
    *out = *trial;
    host_context_finish(&context);
    return CLMLA_OK;
}

#ifdef __linux__
// Linux grants tiles only where they fit every thread's alternate signal stack. Once granted they stay so: this test is
// the first. A system that grants them to nobody says so in the same place.
START_TEST(says_why_tiles_are_not_granted) {
    static char small[4096];
    stack_t stack = {.ss_sp = small, .ss_size = sizeof small}, none = {.ss_flags = SS_DISABLE};
    host_instruction_trial trial;
    int warnings = 0;
    faulty_arm(FAULTY_NONE, 0, false);
    if (!has(HOST_INSTRUCTION_AMX_BF16)) {
        printf("AMX: not on this device\n");
        return;
    }
    ck_assert_int_eq(sigaltstack(&stack, NULL), 0);
    clmla_status status = try_in_context(&trial, &warnings, "", HOST_INSTRUCTION_AMX_BF16);
    ck_assert_int_eq(sigaltstack(&none, NULL), 0);
    TEST_OK(status);
    ck_assert(!trial.right);
    ck_assert_msg(strstr(trial.reason, "does not grant AMX tiles") != NULL, "%s", trial.reason);
    ck_assert_int_eq(warnings, 1);
    ck_assert(faulty_nothing_lives());
}
END_TEST
#endif

START_TEST(is_right_where_the_facts_have_it) {
    host_instruction instruction = (host_instruction)_i;
    host_instruction_trial trial;
    int warnings = 0;
    faulty_arm(FAULTY_NONE, 0, false);
    if (!has(instruction)) {
        printf("instruction %d: not on this device\n", _i);
        return;
    }
    TEST_OK(try_in_context(&trial, &warnings, "", instruction));
    if (instruction == HOST_INSTRUCTION_AMX_BF16 && strstr(trial.reason, "grant")) {
        printf("%s\n", trial.reason);
        return;
    }
    ck_assert_msg(trial.right && trial.reason[0] == '\0', "%s", trial.reason);
    if (host_instruction_is_timed(instruction))
        printf("instruction %d: %.2f times the products of f32\n", _i, (double)trial.gain);
    if (host_instruction_is_timed(instruction)) ck_assert_float_gt(trial.gain, 0.0f);
    if (multiplies_tiles(instruction))
        printf("instruction %d: f16 values that are subnormal are %s\n", _i, trial.keeps_subnormals ? "kept" : "zeros");
    if (is_portable(instruction)) ck_assert(trial.keeps_subnormals); // OpenCL C's conversion keeps them
    if (instruction == HOST_INSTRUCTION_RING || instruction == HOST_INSTRUCTION_RING_PORTABLE) {
        printf("instruction %d: a group takes %llu bytes of local memory\n", _i, (unsigned long long)trial.local_bytes);
        ck_assert_uint_ge(trial.local_bytes, test_device_get()->facts->local_bytes);
    }
    ck_assert_int_eq(warnings, 0);
    ck_assert(faulty_nothing_lives());
}
END_TEST

// Each of them, until none is left to fail.
static void fail_each(faulty_kind kind, host_instruction instruction) {
    const char *folder = test_folder_make(); // programs are built once and loaded from then on
    host_instruction_trial trial;
    int warnings = 0, refused = 0, unmade = 0;
    faulty_arm(FAULTY_NONE, 0, false);
    TEST_OK(try_in_context(&trial, &warnings, folder, instruction));
    for (long at = 0;; at++) {
        warnings = 0;
        faulty_arm(kind, at, false);
        clmla_status status = try_in_context(&trial, &warnings, folder, instruction);
        bool failed = faulty_hit() != NULL;
        faulty_arm(FAULTY_NONE, 0, false);
        ck_assert(faulty_nothing_lives());
        if (status == CLMLA_OK) {
            ck_assert_int_eq(trial.right, trial.reason[0] == '\0');
            ck_assert_int_eq(warnings, trial.right ? 0 : 1);
            refused += !trial.right;
            unmade += is_unmade(&trial);
        }
        if (failed) continue;
        TEST_OK(status);
        ck_assert(trial.right);
        break;
    }
    test_folder_remove();
    ck_assert_int_gt(refused, 0);
    ck_assert_int_eq(unmade > 0, kind == FAULTY_ALLOCATION);
}

START_TEST(says_why_a_trial_failed) {
    host_instruction instruction =
        has(HOST_INSTRUCTION_INT8_DOT) ? HOST_INSTRUCTION_INT8_DOT : HOST_INSTRUCTION_INT16_DOT;
    if (!has(instruction)) return;
    fail_each(FAULTY_CALL, instruction);
    fail_each(FAULTY_ALLOCATION, instruction);
}
END_TEST

// The same of matrix products, which have buffers and programs of their own.
START_TEST(says_why_a_trial_of_matrices_failed) {
    fail_each(FAULTY_CALL, HOST_INSTRUCTION_MATRIX_PORTABLE);
    fail_each(FAULTY_ALLOCATION, HOST_INSTRUCTION_MATRIX_PORTABLE);
}
END_TEST

START_TEST(says_why_a_trial_of_warpgroups_failed) {
    fail_each(FAULTY_CALL, HOST_INSTRUCTION_WGMMA_PORTABLE);
    fail_each(FAULTY_ALLOCATION, HOST_INSTRUCTION_WGMMA_PORTABLE);
}
END_TEST

START_TEST(says_why_a_trial_of_a_ring_failed) {
    fail_each(FAULTY_CALL, HOST_INSTRUCTION_RING_PORTABLE);
    fail_each(FAULTY_ALLOCATION, HOST_INSTRUCTION_RING_PORTABLE);
}
END_TEST

START_TEST(says_why_a_trial_of_sub_groups_failed) {
    if (!has(HOST_INSTRUCTION_SUB_GROUPS)) return;
    fail_each(FAULTY_CALL, HOST_INSTRUCTION_SUB_GROUPS);
    fail_each(FAULTY_ALLOCATION, HOST_INSTRUCTION_SUB_GROUPS);
}
END_TEST

// NVIDIA's OpenCL has none; AMD's compiler wants a later language for them.
START_TEST(sub_groups_are_asked_for_by_vendor) {
    clmla_device_facts facts = {.type = CL_DEVICE_TYPE_GPU, .vendor_id = 0x10de};
    ck_assert_ptr_null(host_sub_group_options(&facts));
    facts.has_sub_groups = true;
    ck_assert_str_eq(host_sub_group_options(&facts), "-cl-std=CL1.2 -DSUB_GROUPS");
    facts.vendor_id = 0x1002;
    ck_assert_str_eq(host_sub_group_options(&facts), "-cl-std=CL2.0 -DSUB_GROUPS");
}
END_TEST

static const struct {
    clmla_device_facts facts;
    const char *option;
    uint32_t wave;
} devices[] = {
    {{.type = CL_DEVICE_TYPE_CPU, .vendor_id = 0x10de}, "-DMATRIX_PORTABLE", 32},
    {{.type = CL_DEVICE_TYPE_GPU, .vendor_id = 0x10de}, "-DMATRIX_NVIDIA", 32},
    {{.type = CL_DEVICE_TYPE_GPU, .vendor_id = 0x1002, .name = "gfx90a:sramecc+:xnack-"}, "-DMATRIX_AMD_MFMA", 64},
    {{.type = CL_DEVICE_TYPE_GPU, .vendor_id = 0x1002, .name = "gfx942"}, "-DMATRIX_AMD_MFMA", 64},
    {{.type = CL_DEVICE_TYPE_GPU, .vendor_id = 0x1002, .name = "gfx1100"}, "-DMATRIX_AMD_WMMA", 32},
    {{.type = CL_DEVICE_TYPE_GPU, .vendor_id = 0x1002, .name = "gfx1030"}, "-DMATRIX_PORTABLE", 32},
    {{.type = CL_DEVICE_TYPE_GPU, .vendor_id = 0x8086, .least_sub_group = 8}, "-DMATRIX_PORTABLE", 32},
    {{.type = CL_DEVICE_TYPE_GPU, .vendor_id = 0x8086, .least_sub_group = 8, .has_sub_group_matrix = true},
     "-DMATRIX_INTEL=8 -cl-intel-256-GRF-per-thread",
     8},
    {{.type = CL_DEVICE_TYPE_GPU, .vendor_id = 0x8086, .least_sub_group = 16, .has_sub_group_matrix = true},
     "-DMATRIX_INTEL=16 -cl-intel-256-GRF-per-thread",
     16},
    {{.type = CL_DEVICE_TYPE_GPU, .vendor_id = 0x8086, .least_sub_group = 32, .has_sub_group_matrix = true},
     "-DMATRIX_PORTABLE",
     32},
};

START_TEST(matrix_units_are_known_by_vendor_and_name) {
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
        const host_matrix *form = host_matrix_find(&devices[i].facts);
        ck_assert_str_eq(form->option, devices[i].option);
        ck_assert_uint_eq(form->wave, devices[i].wave);
    }
}
END_TEST

// sm_90a alone has wgmma: later devices have other instructions in its place.
START_TEST(warpgroup_products_are_hoppers) {
    static const struct {
        clmla_device_facts facts;
        host_instruction instruction;
    } made[] = {
        {{.type = CL_DEVICE_TYPE_GPU, .vendor_id = 0x10de, .compute_capability = 90}, HOST_INSTRUCTION_WGMMA},
        {{.type = CL_DEVICE_TYPE_GPU, .vendor_id = 0x10de, .compute_capability = 80}, HOST_INSTRUCTION_WGMMA_PORTABLE},
        {{.type = CL_DEVICE_TYPE_GPU, .vendor_id = 0x10de, .compute_capability = 89}, HOST_INSTRUCTION_WGMMA_PORTABLE},
        {{.type = CL_DEVICE_TYPE_GPU, .vendor_id = 0x10de, .compute_capability = 100}, HOST_INSTRUCTION_WGMMA_PORTABLE},
        {{.type = CL_DEVICE_TYPE_GPU, .vendor_id = 0x10de}, HOST_INSTRUCTION_WGMMA_PORTABLE}, // the driver does not say
        {{.type = CL_DEVICE_TYPE_GPU, .vendor_id = 0x1002, .compute_capability = 90}, HOST_INSTRUCTION_WGMMA_PORTABLE},
        {{.type = CL_DEVICE_TYPE_CPU, .vendor_id = 0x10de, .compute_capability = 90}, HOST_INSTRUCTION_WGMMA_PORTABLE},
    };
    for (size_t i = 0; i < sizeof made / sizeof *made; i++)
        ck_assert_int_eq(host_wgmma_find(&made[i].facts), made[i].instruction);
    ck_assert_ptr_nonnull(strstr(host_wgmma_option(HOST_INSTRUCTION_WGMMA), "-DWGMMA_NVIDIA"));
    ck_assert_ptr_nonnull(strstr(host_wgmma_option(HOST_INSTRUCTION_WGMMA_PORTABLE), "-DWGMMA_PORTABLE"));
}
END_TEST

START_TEST(rings_are_of_ampere_and_later) {
    clmla_device_facts facts = {.type = CL_DEVICE_TYPE_GPU, .vendor_id = 0x10de};
    const uint32_t capabilities[] = {80, 86, 87, 89, 90, 100, 103, 120};
    for (size_t i = 0; i < sizeof capabilities / sizeof *capabilities; i++) {
        facts.compute_capability = capabilities[i];
        ck_assert_int_eq(host_ring_find(&facts), HOST_INSTRUCTION_RING);
    }
    facts.compute_capability = 75;
    ck_assert_int_eq(host_ring_find(&facts), HOST_INSTRUCTION_RING_PORTABLE);
    facts.compute_capability = 0; // the driver does not say
    ck_assert_int_eq(host_ring_find(&facts), HOST_INSTRUCTION_RING_PORTABLE);
    facts.compute_capability = 80;
    facts.vendor_id = 0x1002;
    ck_assert_int_eq(host_ring_find(&facts), HOST_INSTRUCTION_RING_PORTABLE);
    ck_assert_str_eq(host_ring_option(HOST_INSTRUCTION_RING), "-DMATRIX_NVIDIA");
    ck_assert_str_eq(host_ring_option(HOST_INSTRUCTION_RING_PORTABLE), "-DMATRIX_PORTABLE");
}
END_TEST

// Devices of other kinds and drivers have none, whatever this machine's CPU is.
START_TEST(facts_are_of_cpus_under_pocl_alone) {
    clmla_device_facts facts = {.type = CL_DEVICE_TYPE_GPU, .platform_name = "Portable Computing Language"};
    facts.has_int16_dot = facts.has_int8_dot = facts.has_bf16_dot = facts.has_amx_bf16 = true;
    host_instruction_facts(&facts);
    ck_assert(!facts.has_int16_dot && !facts.has_int8_dot && !facts.has_bf16_dot && !facts.has_amx_bf16);
    facts = (clmla_device_facts){.type = CL_DEVICE_TYPE_CPU, .platform_name = "Another"};
    host_instruction_facts(&facts);
    ck_assert(!facts.has_int16_dot && !facts.has_int8_dot && !facts.has_bf16_dot && !facts.has_amx_bf16);
}
END_TEST

static void add_tests(TCase *tcase) {
#ifdef __linux__
    tcase_add_test(tcase, says_why_tiles_are_not_granted);
#endif
    tcase_add_loop_test(tcase, is_right_where_the_facts_have_it, HOST_INSTRUCTION_INT16_DOT, HOST_INSTRUCTION_COUNT);
    tcase_add_test(tcase, says_why_a_trial_failed);
    tcase_add_test(tcase, says_why_a_trial_of_matrices_failed);
    tcase_add_test(tcase, says_why_a_trial_of_warpgroups_failed);
    tcase_add_test(tcase, says_why_a_trial_of_a_ring_failed);
    tcase_add_test(tcase, says_why_a_trial_of_sub_groups_failed);
    tcase_add_test(tcase, sub_groups_are_asked_for_by_vendor);
    tcase_add_test(tcase, warpgroup_products_are_hoppers);
    tcase_add_test(tcase, rings_are_of_ampere_and_later);
    tcase_add_test(tcase, matrix_units_are_known_by_vendor_and_name);
    tcase_add_test(tcase, facts_are_of_cpus_under_pocl_alone);
}

int main(void) {
    return test_main("check_instruction", add_tests);
}
