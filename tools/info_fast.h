// SPDX-License-Identifier: Apache-2.0
// What plans of fast compute run on a device: variants that need an instruction are tried there, in a context of their
// own.
#ifndef TOOLS_INFO_FAST_H
#define TOOLS_INFO_FAST_H

#include <cjson/cJSON.h>
#include <clmla/clmla.h>

// A line for each row format that some variant has dot products for.
void info_fast_print(const clmla_device_facts *facts);
// Adds "attend_fast": [{format, variants: [{name, accepted, chosen, reason}]}].
void info_fast_json(cJSON *device, const clmla_device_facts *facts);

#endif
