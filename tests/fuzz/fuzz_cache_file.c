// SPDX-License-Identifier: Apache-2.0
// Any bytes as a saved cache: read, every row looked at, and made into sequences of a page model and taken back.
// Touches no device. Three of four inputs get their size and checksums set right after each mutation, or none would
// pass them.
#include "host/bytes.h"
#include "lib/cache_restore.h"
#include "tests/support/cache_bytes.h"
#include <stdlib.h>

enum { PAGES = 256, ROWS_LOOKED_AT = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned int seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned int seed) {
    size = LLVMFuzzerMutate(data, size, most);
    if (seed % 4 == 0 || size < CACHE_FILE_HEADER_BYTES) return size;
    host_put_u64(data + CACHE_FILE_AT_FILE_BYTES, size);
    cache_bytes_repair(data, size);
    return size;
}

// Reads what the description points at: the address checker sees what lies outside.
static unsigned look(const cache_saved *saved) {
    unsigned sum = 0;
    for (uint32_t i = 0; i < saved->sequence_count; i++) {
        const cache_saved_sequence *sequence = &saved->sequences[i];
        uint32_t step = sequence->tokens / ROWS_LOOKED_AT + 1, rows;
        for (uint32_t row = 0; row < sequence->tokens; row += step) {
            uint32_t layer = row % saved->config.layer_count, most = sequence->tokens - row;
            const unsigned char *at = cache_saved_rows(&rows, saved, i, layer, false, row, most);
            if (rows == 0 || rows > most) abort();
            sum += at[0] + at[(uint64_t)rows * saved->config.row_bytes - 1];
            at = cache_saved_rows(&rows, saved, i, layer, true, row, most);
            if (saved->config.scale_row_bytes > 0) sum += at[(uint64_t)rows * saved->config.scale_row_bytes - 1];
        }
        for (uint32_t k = 0; k < sequence->known; k++) sum += sequence->ids[4 * k];
    }
    return sum;
}

static void restore(const cache_saved *saved, uint32_t page_tokens) {
    cache_pages pages;
    cache_pages_params params = {
        .page_tokens = page_tokens, .page_total = PAGES, .shift_mode = CACHE_SHIFT_KEEP, .share_prefixes = true};
    uint32_t *ids = calloc(saved->sequence_count + 1u, sizeof *ids);
    clmla_status status = ids ? cache_pages_init(&pages, &params) : CLMLA_E_MEMORY;
    if (status == CLMLA_OK) status = cache_pages_restore(&pages, saved, ids);
    if (status == CLMLA_OK) {
        cache_pages_restore_tokens(&pages, saved, ids);
        cache_pages_take_back(&pages, ids, saved->sequence_count);
    }
    if (status != CLMLA_OK && status != CLMLA_E_CACHE_FULL) abort();
    if (cache_pages_available(&pages) != PAGES || pages.sequence_count != 0 || pages.token_count != 0) abort();
    cache_pages_finish(&pages);
    free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static volatile unsigned seen;
    cache_saved saved;
    clmla_status status = cache_saved_open(&saved, data, size, "fuzz", NULL);
    if (status == CLMLA_OK) status = cache_file_config_match(&saved.config, &saved.config, "fuzz");
    if (status == CLMLA_OK || status == CLMLA_E_MISMATCH) status = cache_saved_read_sequences(&saved);
    if (status == CLMLA_OK) status = cache_saved_check_rows(&saved);
    if (status == CLMLA_OK) {
        seen = look(&saved);
        restore(&saved, 1 + (uint32_t)(size % 9));
    }
    cache_saved_close(&saved);
    return 0;
}
