// SPDX-License-Identifier: Apache-2.0
#include "host/quirk.h"
#include <string.h>

typedef struct quirk {
    uint32_t bit;
    const char *platform, *device; // parts of the names; "" matches all
    const char *name, *symptom;
} quirk;

static const quirk quirks[] = {
    {CLMLA_QUIRK_LOOP_LIMIT, "rusticl", "llvmpipe", "loop_limit",
     "llvmpipe ends a kernel's loops after 65535 iterations without an error, so sums over long rows or contexts are "
     "cut short (seen with Mesa 22.3)"},
};

uint32_t host_quirks_of(const clmla_device_facts *facts) {
    uint32_t found = 0;
    for (size_t i = 0; i < sizeof quirks / sizeof *quirks; i++)
        if (strstr(facts->platform_name, quirks[i].platform) && strstr(facts->name, quirks[i].device))
            found |= quirks[i].bit;
    return found;
}

static const quirk *lowest(uint32_t bits) {
    for (size_t i = 0; bits && i < sizeof quirks / sizeof *quirks; i++)
        if (quirks[i].bit == (bits & (~bits + 1))) return &quirks[i];
    return NULL;
}

const char *clmla_quirk_name(uint32_t bits) {
    const quirk *found = lowest(bits);
    return found ? found->name : NULL;
}

const char *clmla_quirk_symptom(uint32_t bits) {
    const quirk *found = lowest(bits);
    return found ? found->symptom : NULL;
}
