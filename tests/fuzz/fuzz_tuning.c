// SPDX-License-Identifier: Apache-2.0
// Any bytes as a tuning file: off, with a line and a reason, or a section that lies in the text and holds allowed
// values.
#include "lib/tuning_file.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const clmla_device_facts facts = {.name = "D", .driver_version = "V"};
    tuning_section section;
    tuning_fault fault;
    if (!tuning_file_parse(&section, &fault, (const char *)data, size, &facts, "fuzz", NULL)) {
        if (fault.line == 0 || strlen(fault.reason) == 0) abort();
        return 0;
    }
    if (section.begin > section.end || section.end > size) abort();
    for (int i = 0; i < TUNING_COUNT; i++)
        if (section.given[i] && (section.end == 0 || !tuning_allowed((tuning_index)i, section.values[i]))) abort();
    return 0;
}
