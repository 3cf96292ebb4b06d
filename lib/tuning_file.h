// SPDX-License-Identifier: Apache-2.0
// The file of tuned numbers: its format is told in clmla/variants.h.
#ifndef LIB_TUNING_FILE_H
#define LIB_TUNING_FILE_H

#include "lib/tuning.h"

// Settles the file's path (clmla_context_params.tuning_file) and takes over what it says about the context's device.
// Whatever is wrong with it ends as a warning in the log.
void tuning_file_read(clmla_context *context, const char *path);

// What a file says about one device.
typedef struct tuning_section {
    uint32_t values[TUNING_COUNT];
    bool given[TUNING_COUNT];
    size_t begin, end; // bytes of the file; end 0 = there is no such section
} tuning_section;

// Where and why a text is no tuning file.
typedef struct tuning_fault {
    unsigned line;
    char reason[160];
} tuning_fault;

// Reads a text of `bytes` bytes. Numbers with unknown names or outside their ranges are left out, with a warning in
// `log` that begins with `path`. False: the text is off, fault is filled.
bool tuning_file_parse(tuning_section *out, tuning_fault *fault, const char *text, size_t bytes,
                       const clmla_device_facts *facts, const char *path, const clmla_log *log);

#endif
