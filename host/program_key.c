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

static void begin(host_sha256 *sha, const char *kind, const clmla_device_facts *facts) {
    char numbers[64];
    snprintf(numbers, sizeof numbers, "%sformat %d vendor %u", kind, HOST_STORE_FORMAT, facts->vendor_id);
    host_sha256_begin(sha);
    add_text(sha, numbers);
    add_text(sha, CLMLA_VERSION_STRING);
}

static void end(host_program_key *key, host_sha256 *sha, const clmla_device_facts *facts) {
    add_text(sha, facts->name);
    add_text(sha, facts->vendor);
    add_text(sha, facts->driver_version);
    add_text(sha, facts->device_version);
    add_text(sha, facts->platform_name);
    add_text(sha, facts->platform_version);
    host_sha256_end(sha, key->bytes);
}

host_program_key host_program_key_make(const host_source *source, const char *options,
                                       const clmla_device_facts *facts) {
    host_program_key key;
    host_sha256 sha;
    begin(&sha, "", facts);
    add(&sha, source->text, source->length);
    add_text(&sha, options);
    end(&key, &sha, facts);
    return key;
}

host_program_key host_claim_key_make(const host_source *const *sources, size_t count, const char *text,
                                     const clmla_device_facts *facts) {
    host_program_key key;
    host_sha256 sha;
    begin(&sha, "claim ", facts);
    for (size_t i = 0; i < count && sources[i]; i++) add(&sha, sources[i]->text, sources[i]->length);
    add_text(&sha, text);
    end(&key, &sha, facts);
    return key;
}

void host_program_key_text(char out[HOST_PROGRAM_KEY_TEXT], const host_program_key *key) {
    for (int i = 0; i < HOST_SHA256_BYTES; i++) snprintf(out + 2 * i, 3, "%02x", key->bytes[i]);
}
