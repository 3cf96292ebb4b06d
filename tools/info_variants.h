// SPDX-License-Identifier: Apache-2.0
// A list of kernel variants as clmla info shows it.
#ifndef INFO_VARIANTS_H
#define INFO_VARIANTS_H

#include <cjson/cJSON.h>
#include <clmla/clmla.h>

#define INFO_VARIANTS_LISTED 16
#define INFO_VARIANTS_TEXT (INFO_VARIANTS_LISTED * 200) // for a name and a reason of each

// "vector (proven); not clblast: <reason>", cut to `size`.
void info_variants_text(char *out, size_t size, const clmla_variant *variants, size_t count);
// Adds "variants": [{name, accepted, chosen, proven, reason}].
void info_variants_json(cJSON *entry, const clmla_variant *variants, size_t count);

#endif
