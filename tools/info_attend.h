// SPDX-License-Identifier: Apache-2.0
// What attend runs on a device in plans of either compute: variants that need an instruction are tried there, in a
// context of their own.
#ifndef TOOLS_INFO_ATTEND_H
#define TOOLS_INFO_ATTEND_H

#include <cjson/cJSON.h>
#include <clmla/clmla.h>
#include <stdbool.h>

// Where the device is one on which variants must be proven, those that are chosen are. `prove`: all that are accepted
// are proven, on any device, which takes some seconds for each.

// A line for each compute and row format that some variant has an instruction for, and one for attend_heads.
void info_attend_print(const clmla_device_facts *facts, bool prove);
// Adds "attend_exact" and "attend_fast": [{format, variants: [{name, accepted, chosen, proven, reason}]}], and
// "attend_heads_fast": {variants}; and "proofs": what was found out, a sentence each.
void info_attend_json(cJSON *device, const clmla_device_facts *facts, bool prove);

#endif
