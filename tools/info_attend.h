// SPDX-License-Identifier: Apache-2.0
// What attend runs on a device in plans of either compute: variants that need an instruction are tried there, in a
// context of their own.
#ifndef TOOLS_INFO_ATTEND_H
#define TOOLS_INFO_ATTEND_H

#include "failure.h"
#include <cjson/cJSON.h>
#include <stdbool.h>

#define INFO_COMPUTES 2 // exact, fast

typedef struct info_formats {
    clmla_row_format list[CLMLA_ROW_FORMAT_COUNT];
    size_t count;
} info_formats;

// What is listed, and how.
typedef struct info_request {
    uint32_t head_count, latent_dim, rope_dim;
    uint32_t query_tokens;               // new tokens of a sequence
    info_formats formats[INFO_COMPUTES]; // of plans of either compute: none, where it is not listed
    bool prove; // all that are accepted are proven, on any device, which takes some seconds for each
} info_request;

// Where the device is one on which variants must be proven, those that are chosen are.

// Fills request->formats: names with commas between, or "all", and a compute's name. NULL: the formats that some
// variant has an instruction for, and both computes.
bool info_attend_read(info_request *request, const char *formats, const char *compute, failure *failure);

// A line for each compute and row format, and one for attend_heads of fast compute.
void info_attend_print(const clmla_device_facts *facts, const info_request *request);
// Adds "attend_exact" and "attend_fast": [{format, compute, heads, query_tokens, latent_dim, rope_dim, variants:
// [{name, accepted, chosen, proven, reason}]}], and "attend_heads_fast", the same for keys of a head, with value_dim
// and without format and query_tokens; and "proofs": what was found out, a sentence each. A compute that was not asked
// for is not there.
void info_attend_json(cJSON *device, const clmla_device_facts *facts, const info_request *request);

#endif
