// SPDX-License-Identifier: Apache-2.0
#include "tests/support/variants.h"
#include "lib/context.h"
#include "lib/group.h"
#include <string.h>

size_t test_variants(clmla_variant variants[TEST_VARIANTS_MAX], clmla_operation operation, const clmla_shape *shape) {
    size_t count = 0;
    bool accepted = false;
    TEST_OK(clmla_variant_list(variants, TEST_VARIANTS_MAX, &count, test_device_get()->facts, operation, shape));
    TEST_ASSERT(count >= 1 && count <= TEST_VARIANTS_MAX, "%zu variants of %s", count, clmla_operation_name(operation));
    for (size_t i = 0; i < count; i++) {
        TEST_ASSERT(variants[i].chosen == (variants[i].accepted && !accepted), "%s %s: chosen %d, accepted %d",
                    clmla_operation_name(operation), variants[i].name, variants[i].chosen, variants[i].accepted);
        TEST_ASSERT((variants[i].reason[0] == '\0') == variants[i].accepted, "%s %s: accepted %d with the reason '%s'",
                    clmla_operation_name(operation), variants[i].name, variants[i].accepted, variants[i].reason);
        accepted |= variants[i].accepted;
    }
    TEST_ASSERT(strcmp(variants[count - 1].name, "naive") == 0 && variants[count - 1].accepted, "the last variant is %s",
                variants[count - 1].name);
    return count;
}

void test_variants_refused(const test_run *run, const char **name, clmla_operation operation, const clmla_shape *shape) {
    clmla_variant variants[TEST_VARIANTS_MAX];
    size_t count = test_variants(variants, operation, shape);
    const char *saved = *name;
    for (size_t i = 0; i < count; i++) {
        if (variants[i].accepted) continue;
        *name = variants[i].name;
        test_run_refused(run, variants[i].reason);
    }
    *name = "no_such_variant";
    test_run_refused(run, "no_such_variant");
    *name = saved;
}

bool test_variant_run(const clmla_variant *variant, uint32_t run) {
    clmla_device_facts *facts = &test_device_get()->context->host.facts;
    uint32_t items = GROUP_LEAST << run;
    bool group = strcmp(variant->name, "group") == 0;
    bool is_run = group ? items <= GROUP_ITEMS_MOST && items <= group_most(facts) : run == 0;
    facts->group_items = group && is_run ? items : 0;
    return is_run;
}

bool test_variant_without(const clmla_variant *variant, uint32_t run) {
    static bool had; // before run 1
    clmla_device_facts *facts = &test_device_get()->context->host.facts;
    if (run == 0) had = facts->has_sub_groups;
    bool without = run == 1 && had && strcmp(variant->name, "group") == 0;
    facts->has_sub_groups = had && !without;
    return run == 0 || without;
}

bool test_variant_is_slow(const clmla_variant *variant) {
    return strstr(variant->reason, "times the products of f32") || strstr(variant->reason, "for tests alone");
}

bool test_variant_is_fast(const clmla_variant *variant) {
    if (test_device_is_portable()) return strstr(variant->reason, "makes its products by OpenCL C");
    return variant->chosen || test_variant_is_slow(variant);
}
