// SPDX-License-Identifier: Apache-2.0
// A cache to bytes: header, configuration and sequences from host memory, then rows from the device, section by
// section, through one stage of bounded size.
#include "host/bytes.h"
#include "host/error.h"
#include "host/memory.h"
#include "host/os.h"
#include "lib/cache_file.h"
#include "lib/cache_span.h"
#include <string.h>

#define STAGE_BYTES (4u << 20)
#define IDS_AT_ONCE 256u

// Where bytes go.
typedef struct sink {
    clmla_status (*put)(struct sink *sink, const void *data, size_t bytes);
    clmla_cache_write write; // of a stream
    void *payload;
    host_new_file file;
    unsigned char *memory;
} sink;

typedef struct saving {
    clmla_cache *cache;
    sink *sink;
    uint32_t count;
    clmla_sequence *ids;        // [count]
    uint32_t *parents, *shared; // [count], as the file has them
    unsigned char *sequences;   // the section
    uint64_t sequence_bytes;
    cache_file_config config;
    uint64_t file_bytes;
    host_crc32c crc;
    uint32_t sum; // of the section so far
    unsigned char *stage;
    size_t stage_bytes;
} saving;

static const cache_sequence *sequence_at(const saving *s, uint32_t index) {
    return &s->cache->pages.sequences[s->ids[index] - 1];
}

// --- which sequences -----------------------------------------------------------------------------------------------

static clmla_status choose(saving *s, const clmla_sequence *sequences, uint32_t count) {
    clmla_cache *cache = s->cache;
    const clmla_log *log = &cache->context->host.log;
    const clmla_allocator *allocator = &cache->context->host.allocator;
    if ((sequences == NULL) != (count == 0))
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "cache: save: %u sequences with a %s list", count,
                         sequences ? "given" : "NULL");
    s->count = sequences ? count : cache->pages.sequence_count;
    s->ids = host_allocate(allocator, s->count, sizeof *s->ids);
    s->parents = host_allocate(allocator, s->count, sizeof *s->parents);
    s->shared = host_allocate(allocator, s->count, sizeof *s->shared);
    if (!s->ids || !s->parents || !s->shared)
        return host_fail(log, CLMLA_E_MEMORY, 0, "cache: save: no host memory for %u sequences", s->count);
    for (uint32_t id = 1, i = 0; !sequences && id <= cache->pages.sequence_capacity; id++)
        if (cache->pages.sequences[id - 1].used) s->ids[i++] = id;
    uint64_t batch = ++cache->pages.batch_count;
    for (uint32_t i = 0; i < count; i++) {
        cache_sequence *sequence = cache_pages_find(&cache->pages, sequences[i]);
        if (!sequence) return host_log_failure(log, CLMLA_E_SEQUENCE);
        if (sequence->batch == batch)
            return host_fail(log, CLMLA_E_ARGUMENT, 0, "cache: save: sequence %u is named twice", sequences[i]);
        sequence->batch = batch;
        s->ids[i] = sequences[i];
    }
    return CLMLA_OK;
}

// Leading rows that stand in the same places.
static uint32_t rows_in_common(const cache_sequence *a, const cache_sequence *b) {
    uint32_t rows = 0;
    for (uint32_t i = 0; i < a->entry_count && i < b->entry_count; i++) {
        const cache_entry *x = &a->entries[i], *y = &b->entries[i];
        if (x->page != y->page) break;
        uint32_t least = x->rows < y->rows ? x->rows : y->rows;
        rows += least;
        if (x->rows != y->rows) break;
    }
    return rows;
}

static void find_parents(saving *s) {
    for (uint32_t i = 0; i < s->count; i++)
        for (uint32_t j = 0; j < i; j++) {
            uint32_t rows = rows_in_common(sequence_at(s, i), sequence_at(s, j));
            if (rows <= s->shared[i]) continue;
            s->shared[i] = rows;
            s->parents[i] = j + 1;
        }
}

// --- the sequences' section ----------------------------------------------------------------------------------------

static void put_run(unsigned char *out, uint32_t row, int32_t position, int32_t delta) {
    host_put_u32(out, row);
    host_put_u32(out + 4, (uint32_t)position);
    host_put_u32(out + 8, (uint32_t)delta);
}

// Runs of rows whose positions follow one another and that have one delta: how many; out may be NULL.
static uint32_t write_runs(unsigned char *out, const cache_sequence *sequence) {
    uint32_t count = 0, run = 0, entry = 0;
    for (uint32_t row = 0, end; row < sequence->tokens; row = end) {
        while (run + 1 < sequence->runs.count && sequence->runs.runs[run + 1].first_row <= row) run++;
        while (sequence->entries[entry].first_row + sequence->entries[entry].rows <= row) entry++;
        int32_t delta = sequence->entries[entry].delta;
        uint32_t last = entry;
        while (last + 1 < sequence->entry_count && sequence->entries[last + 1].delta == delta) last++;
        end = sequence->entries[last].first_row + sequence->entries[last].rows;
        if (run + 1 < sequence->runs.count && sequence->runs.runs[run + 1].first_row < end)
            end = sequence->runs.runs[run + 1].first_row;
        const cache_run *of = &sequence->runs.runs[run];
        if (out)
            put_run(out + (size_t)count * CACHE_FILE_RUN_BYTES, row,
                    (int32_t)((int64_t)of->position + row - of->first_row), delta);
        count++;
    }
    return count;
}

static unsigned char *write_ids(unsigned char *out, const saving *s, const cache_sequence *sequence) {
    int32_t ids[IDS_AT_ONCE];
    for (uint32_t done = 0, count; done < sequence->known; done += count) {
        count = sequence->known - done < IDS_AT_ONCE ? sequence->known - done : IDS_AT_ONCE;
        cache_pages_tokens(ids, &s->cache->pages, sequence, done, count);
        for (uint32_t i = 0; i < count; i++, out += 4) host_put_u32(out, (uint32_t)ids[i]);
    }
    return out;
}

static void write_record(unsigned char *out, const saving *s, uint32_t index) {
    const cache_sequence *sequence = sequence_at(s, index);
    host_put_u32(out, sequence->tokens);
    host_put_u32(out + 4, write_runs(NULL, sequence));
    host_put_u32(out + 8, sequence->known);
    host_put_u32(out + 12, sequence->edited_from);
    host_put_u32(out + 16, s->parents[index]);
    host_put_u32(out + 20, s->shared[index]);
}

static clmla_status write_sequences(saving *s) {
    s->sequences = s->sequence_bytes > SIZE_MAX
                       ? NULL
                       : host_allocate(&s->cache->context->host.allocator, (size_t)s->sequence_bytes, 1);
    if (!s->sequences)
        return host_fail(&s->cache->context->host.log, CLMLA_E_MEMORY, 0, "cache: save: no host memory for %llu bytes",
                         (unsigned long long)s->sequence_bytes);
    unsigned char *out = s->sequences + (size_t)s->count * CACHE_FILE_RECORD_BYTES;
    for (uint32_t i = 0; i < s->count; i++) {
        write_record(s->sequences + (size_t)i * CACHE_FILE_RECORD_BYTES, s, i);
        out += (size_t)write_runs(out, sequence_at(s, i)) * CACHE_FILE_RUN_BYTES;
        out = write_ids(out, s, sequence_at(s, i));
    }
    return CLMLA_OK;
}

// All sizes, before anything is written.
static clmla_status measure(saving *s) {
    const clmla_cache *cache = s->cache;
    uint64_t row_bytes, rows, total;
    cache_file_config_make(&s->config, &cache->config, &cache->values, &cache->layout, cache->layer_count);
    row_bytes = (uint64_t)s->config.row_bytes + s->config.scale_row_bytes;
    total = CACHE_FILE_HEADER_BYTES + CACHE_FILE_CONFIG_BYTES + 4 * s->config.factor_count + 2 * CACHE_FILE_SUM_BYTES;
    bool fits = true;
    for (uint32_t i = 0; i < s->count; i++) {
        const cache_sequence *sequence = sequence_at(s, i);
        s->sequence_bytes += CACHE_FILE_RECORD_BYTES + (uint64_t)write_runs(NULL, sequence) * CACHE_FILE_RUN_BYTES +
                             4ull * sequence->known;
        fits = fits &&
               host_multiply(&rows, (sequence->tokens - s->shared[i]) * row_bytes + CACHE_FILE_SUM_BYTES,
                             s->config.layer_count) &&
               host_add(&total, total, rows);
    }
    if (fits && host_add(&s->file_bytes, total, s->sequence_bytes)) return CLMLA_OK;
    return host_fail(&cache->context->host.log, CLMLA_E_LIMIT, 0, "cache: save: the rows pass 64 bits");
}

// --- sections ------------------------------------------------------------------------------------------------------

static clmla_status put(saving *s, const void *data, size_t bytes) {
    s->sum = host_crc32c_add(&s->crc, s->sum, data, bytes);
    return host_log_failure(&s->cache->context->host.log, s->sink->put(s->sink, data, bytes));
}

static clmla_status end_section(saving *s) {
    unsigned char sum[CACHE_FILE_SUM_BYTES];
    host_put_u32(sum, s->sum);
    clmla_status status = put(s, sum, sizeof sum);
    s->sum = 0;
    return status;
}

static clmla_status put_head(saving *s) {
    unsigned char header[CACHE_FILE_HEADER_BYTES] = {0}, config[CACHE_FILE_CONFIG_MOST];
    uint32_t config_bytes = cache_file_config_write(config, &s->config);
    memcpy(header, CACHE_FILE_MAGIC, CACHE_FILE_MAGIC_BYTES);
    host_put_u32(header + CACHE_FILE_AT_VERSION, CLMLA_CACHE_FILE_VERSION);
    host_put_u32(header + CACHE_FILE_AT_HEADER_BYTES, CACHE_FILE_HEADER_BYTES);
    host_put_u64(header + CACHE_FILE_AT_FILE_BYTES, s->file_bytes);
    host_put_u32(header + CACHE_FILE_AT_SEQUENCES, s->count);
    host_put_u32(header + CACHE_FILE_AT_CONFIG_BYTES, config_bytes);
    host_put_u64(header + CACHE_FILE_AT_SEQUENCE_BYTES, s->sequence_bytes);
    STATUS_OR_RETURN(put(s, header, CACHE_FILE_AT_SUM));
    STATUS_OR_RETURN(end_section(s));
    STATUS_OR_RETURN(put(s, config, config_bytes));
    STATUS_OR_RETURN(end_section(s));
    STATUS_OR_RETURN(put(s, s->sequences, (size_t)s->sequence_bytes));
    return end_section(s);
}

// Rows first .. first+count-1 into the stage.
static clmla_status fetch(saving *s, const cache_plane *plane, const cache_sequence *sequence, uint32_t first,
                          uint32_t count, host_chain *chain) {
    cache_span span = {.chain = chain, .limit = s->stage_bytes};
    uint32_t index = cache_pages_entry_of(sequence, first);
    for (uint32_t done = 0, rows; done < count; done += rows, index++) {
        const cache_entry *entry = &sequence->entries[index];
        uint32_t row = first + done - entry->first_row;
        rows = entry->rows - row < count - done ? entry->rows - row : count - done;
        STATUS_OR_RETURN(
            cache_span_add(&span, plane, entry->page, row, rows, s->stage + (size_t)done * plane->row_bytes));
    }
    STATUS_OR_RETURN(cache_span_flush(&span));
    return host_chain_settle(chain);
}

static clmla_status put_rows(saving *s, uint32_t index, uint32_t layer, host_chain *chain) {
    const cache_sequence *sequence = sequence_at(s, index);
    cache_plane plane;
    for (int kind = 0; kind < CACHE_PLANES; kind++) {
        if (!cache_plane_of(&plane, s->cache, layer, kind)) continue;
        uint32_t most = (uint32_t)(s->stage_bytes / plane.row_bytes);
        for (uint32_t row = s->shared[index], count; row < sequence->tokens; row += count) {
            count = sequence->tokens - row < most ? sequence->tokens - row : most;
            STATUS_OR_RETURN(fetch(s, &plane, sequence, row, count, chain));
            STATUS_OR_RETURN(put(s, s->stage, (size_t)count * plane.row_bytes));
        }
    }
    return end_section(s);
}

static clmla_status make_stage(saving *s) {
    uint64_t most = 0,
             row = s->config.row_bytes > s->config.scale_row_bytes ? s->config.row_bytes : s->config.scale_row_bytes;
    for (uint32_t i = 0; i < s->count; i++)
        if (sequence_at(s, i)->tokens - s->shared[i] > most) most = sequence_at(s, i)->tokens - s->shared[i];
    uint64_t bytes = most * row < STAGE_BYTES ? most * row : STAGE_BYTES;
    if (bytes < row) bytes = row;
    s->stage_bytes = (size_t)bytes;
    s->stage = host_allocate(&s->cache->context->host.allocator, s->stage_bytes, 1);
    if (s->stage) return CLMLA_OK;
    return host_fail(&s->cache->context->host.log, CLMLA_E_MEMORY, 0, "cache: save: no host memory for %llu bytes",
                     (unsigned long long)bytes);
}

static clmla_status put_all(saving *s, host_chain *chain) {
    STATUS_OR_RETURN(cache_flush_enqueue(s->cache, chain));
    STATUS_OR_RETURN(put_head(s));
    for (uint32_t i = 0; i < s->count; i++)
        for (uint32_t layer = 0; layer < s->cache->layer_count; layer++) STATUS_OR_RETURN(put_rows(s, i, layer, chain));
    return CLMLA_OK;
}

// --- saving --------------------------------------------------------------------------------------------------------

static clmla_status prepare(saving *s, clmla_cache *cache, const clmla_sequence *sequences, uint32_t count) {
    *s = (saving){.cache = cache};
    STATUS_OR_RETURN(choose(s, sequences, count));
    find_parents(s);
    return measure(s);
}

static clmla_status write_out(saving *s, sink *to, cl_command_queue queue, cl_uint wait_count, const cl_event *wait) {
    host_chain chain;
    s->sink = to;
    host_crc32c_init(&s->crc);
    STATUS_OR_RETURN(make_stage(s));
    STATUS_OR_RETURN(write_sequences(s));
    STATUS_OR_RETURN(host_chain_begin(&chain, &s->cache->context->host, queue, wait_count, wait, true));
    clmla_status status = put_all(s, &chain);
    if (status != CLMLA_OK) host_chain_settle(&chain); // the stage must not be written any more; why it failed is told
    return host_chain_finish(&chain, status, NULL);
}

static void finish(saving *s) {
    const clmla_allocator *allocator = &s->cache->context->host.allocator;
    host_release(allocator, s->ids);
    host_release(allocator, s->parents);
    host_release(allocator, s->shared);
    host_release(allocator, s->sequences);
    host_release(allocator, s->stage);
}

static clmla_status missing(const clmla_cache *cache) {
    return host_fail(cache ? &cache->context->host.log : NULL, CLMLA_E_ARGUMENT, 0, "cache: save: an argument is NULL");
}

static clmla_status put_file(sink *to, const void *data, size_t bytes) {
    return host_new_file_write(&to->file, data, bytes);
}

clmla_status clmla_cache_save(clmla_cache *cache, const clmla_sequence *sequences, uint32_t count, const char *path,
                              cl_command_queue queue, cl_uint wait_count, const cl_event *wait) {
    sink to = {.put = put_file};
    saving s;
    if (!cache || !path) return missing(cache);
    const clmla_log *log = &cache->context->host.log;
    clmla_status status = CLMLA_OK;
    STATUS_OR_OUT(prepare(&s, cache, sequences, count));
    STATUS_OR_OUT(host_log_failure(log, host_new_file_begin(&to.file, path)));
    STATUS_OR_OUT(write_out(&s, &to, queue, wait_count, wait));
    STATUS_OR_OUT(host_log_failure(log, host_new_file_commit(&to.file)));
out:
    host_new_file_abandon(&to.file);
    finish(&s);
    return status;
}

static clmla_status put_memory(sink *to, const void *data, size_t bytes) {
    memcpy(to->memory, data, bytes);
    to->memory += bytes;
    return CLMLA_OK;
}

clmla_status clmla_cache_save_memory(void *memory, size_t capacity, size_t *bytes, clmla_cache *cache,
                                     const clmla_sequence *sequences, uint32_t count, cl_command_queue queue,
                                     cl_uint wait_count, const cl_event *wait) {
    sink to = {.put = put_memory, .memory = memory};
    saving s;
    if (!bytes || !cache) return missing(cache);
    const clmla_log *log = &cache->context->host.log;
    clmla_status status = CLMLA_OK;
    STATUS_OR_OUT(prepare(&s, cache, sequences, count));
    if (s.file_bytes > SIZE_MAX)
        STATUS_OR_OUT(host_fail(log, CLMLA_E_LIMIT, 0, "cache: save: %llu bytes do not fit memory",
                                (unsigned long long)s.file_bytes));
    if (memory && capacity < s.file_bytes)
        STATUS_OR_OUT(host_fail(log, CLMLA_E_ARGUMENT, 0, "cache: save: %llu bytes are needed, the memory has %zu",
                                (unsigned long long)s.file_bytes, capacity));
    if (memory) STATUS_OR_OUT(write_out(&s, &to, queue, wait_count, wait));
    *bytes = (size_t)s.file_bytes;
out:
    finish(&s);
    return status;
}

static clmla_status put_stream(sink *to, const void *data, size_t bytes) {
    if (to->write(to->payload, data, bytes)) return CLMLA_OK;
    return host_fail(NULL, CLMLA_E_FILE, 0, "cache: save: the caller's write did not take %zu bytes", bytes);
}

clmla_status clmla_cache_save_stream(clmla_cache_write write, void *payload, clmla_cache *cache,
                                     const clmla_sequence *sequences, uint32_t count, cl_command_queue queue,
                                     cl_uint wait_count, const cl_event *wait) {
    sink to = {.put = put_stream, .write = write, .payload = payload};
    saving s;
    if (!write || !cache) return missing(cache);
    clmla_status status = prepare(&s, cache, sequences, count);
    if (status == CLMLA_OK) status = write_out(&s, &to, queue, wait_count, wait);
    finish(&s);
    return status;
}
