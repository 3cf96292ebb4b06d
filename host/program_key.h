// SPDX-License-Identifier: Apache-2.0
// What identifies a program binary: everything that could change what the compiler makes of it.
#ifndef HOST_PROGRAM_KEY_H
#define HOST_PROGRAM_KEY_H

#include "host/sha256.h"
#include "host/source.h"
#include <clmla/device.h>

#define HOST_PROGRAM_KEY_TEXT (2 * HOST_SHA256_BYTES + 1)

typedef struct host_program_key {
    unsigned char bytes[HOST_SHA256_BYTES];
} host_program_key;

// SHA-256 over length-prefixed fields: store format, library version, source text, options, device, vendor, driver,
// device version, platform and its version.
host_program_key host_program_key_make(const host_source *source, const char *options, const clmla_device_facts *facts);
// The key of what is known of programs together, and not of one: likewise, over the texts of `sources` (at most
// `count`; NULL ends them) and a text in place of options. No key of a program is one of these.
host_program_key host_claim_key_make(const host_source *const *sources, size_t count, const char *text,
                                     const clmla_device_facts *facts);
// In hexadecimal, terminated.
void host_program_key_text(char out[HOST_PROGRAM_KEY_TEXT], const host_program_key *key);

#endif
