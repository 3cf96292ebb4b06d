// SPDX-License-Identifier: Apache-2.0
#include "host/program_key.h"
#include "host/program_store.h"
#include <clmla/version.h>
#include <stdio.h>
#include <string.h>

// A length before each field, so that no two lists of fields give the same bytes.
static void add(host_sha256 *sha, const void *field, size_t bytes) {
    unsigned char length[8];
    for (int i = 0; i < 8; i++) length[i] = (unsigned char)((uint64_t)bytes >> (8 * i));
    host_sha256_add(sha, length, sizeof length);
    host_sha256_add(sha, field, bytes);
}

static void add_text(host_sha256 *sha, const char *text) {
    add(sha, text, strlen(text));
}

host_program_key host_program_key_make(const host_source *source, const char *options,
                                       const clmla_device_facts *facts) {
    host_program_key key;
    host_sha256 sha;
    char numbers[64];
    snprintf(numbers, sizeof numbers, "format %d vendor %u", HOST_STORE_FORMAT, facts->vendor_id);
    host_sha256_begin(&sha);
    add_text(&sha, numbers);
    add_text(&sha, CLMLA_VERSION_STRING);
    add(&sha, source->text, source->length);
    add_text(&sha, options);
    add_text(&sha, facts->name);
    add_text(&sha, facts->vendor);
    add_text(&sha, facts->driver_version);
    add_text(&sha, facts->device_version);
    add_text(&sha, facts->platform_name);
    add_text(&sha, facts->platform_version);
    host_sha256_end(&sha, key.bytes);
    return key;
}

void host_program_key_text(char out[HOST_PROGRAM_KEY_TEXT], const host_program_key *key) {
    for (int i = 0; i < HOST_SHA256_BYTES; i++) snprintf(out + 2 * i, 3, "%02x", key->bytes[i]);
}
