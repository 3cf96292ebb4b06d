// SPDX-License-Identifier: Apache-2.0
// Sequences of a saved cache, made in a cache's pages: host arithmetic, no device.
#ifndef LIB_CACHE_RESTORE_H
#define LIB_CACHE_RESTORE_H

#include "lib/cache_file.h"
#include "lib/cache_pages.h"

// Makes the saved sequences with pages for their rows, which the caller then writes: ids [sequence_count] filled, or
// nothing changed. Token ids are not told yet. Errors: CLMLA_E_CACHE_FULL, CLMLA_E_MEMORY.
clmla_status cache_pages_restore(cache_pages *pages, const cache_saved *saved, uint32_t *ids);
// Whether an entry's rows are its parent's to write.
bool cache_restore_shares(const cache_pages *pages, const cache_saved *saved, const uint32_t *ids, uint32_t index,
                          uint32_t entry);
// After the rows were written: the saved token ids, if the cache shares prefixes.
void cache_pages_restore_tokens(cache_pages *pages, const cache_saved *saved, const uint32_t *ids);
// Or after they could not be: drops them all.
void cache_pages_take_back(cache_pages *pages, const uint32_t *ids, uint32_t count);

#endif
