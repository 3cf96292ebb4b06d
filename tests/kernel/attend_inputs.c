// SPDX-License-Identifier: Apache-2.0
#include "tests/kernel/attend_fixture.h"
#include "tests/ref/ref_absorb.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define QUERY_WIDTH_MAX 4096
#define TABLE_FIRST 3 // garbage entries in front of a CSR table's first

size_t attend_form_bytes(attend_form form, uint64_t tokens, uint64_t heads, uint64_t width, size_t element,
                         uint64_t *token_stride, uint64_t *head_stride) {
    *token_stride = *head_stride = 0;
    if (form == ATTEND_PADDED) {
        *head_stride = width + 3;
        *token_stride = heads * *head_stride + 5;
        return (size_t)(tokens * *token_stride) * element;
    }
    if (form == ATTEND_HEADS_FIRST) {
        *token_stride = width + 2;
        *head_stride = tokens * *token_stride + 1;
        return (size_t)(heads * *head_stride) * element;
    }
    return (size_t)(tokens * heads * width) * element;
}

uint64_t attend_form_at(uint64_t token, uint64_t head, uint64_t token_stride, uint64_t head_stride, uint64_t heads,
                        uint64_t width) {
    if (!token_stride && !head_stride) return (token * heads + head) * width;
    return token * token_stride + head * head_stride;
}

// --- queries

static uint32_t width_of(const attend_shape *s) {
    return s->latent + s->rope;
}

// A direction all queries share, so that one key can dominate for every head.
static void make_direction(float *out, uint32_t width) {
    test_random random = test_random_make(99);
    double square = 0;
    test_random_fill(&random, out, width, 0.0, 1.0);
    for (uint32_t i = 0; i < width; i++) square += (double)out[i] * (double)out[i];
    for (uint32_t i = 0; i < width; i++) out[i] = (float)((double)out[i] / sqrt(square));
}

static void fill_query(float *query, const attend_shape *s, test_random *random) {
    uint32_t width = width_of(s);
    double deviation = 2.0 / ((double)ATTEND_SCALE * sqrt(width));
    if (s->scores == ATTEND_HUGE) deviation *= 1500.0;
    if (s->scores == ATTEND_ZERO) deviation = 0.0;
    if (s->queries_times != 0.0f) deviation *= (double)s->queries_times;
    test_random_fill(random, query, s->absorb_nope + width, 0.0, deviation);
    for (uint32_t i = 0; s->query_type == CLMLA_TYPE_F16 && i < s->absorb_nope + width; i++)
        query[i] = fminf(fmaxf(query[i], -60000.0f), 60000.0f);
    if (s->scores != ATTEND_DOMINANT) return;
    float direction[QUERY_WIDTH_MAX];
    make_direction(direction, width);
    for (uint32_t i = 0; i < width; i++) query[i] += direction[i] * (float)(10000.0 / 40.0 / (double)ATTEND_SCALE);
}

static void make_weights(attend_fixture *f, test_random *random) {
    const attend_shape *s = &f->shape;
    const uint32_t value = 7;
    test_weights_shape shape = {.type = s->absorb_type,
                                .rows = s->heads * (s->absorb_nope + value),
                                .columns = s->latent,
                                .deviation = 1.0 / sqrt(s->absorb_nope)};
    test_weights_make(&f->weights, &shape, random);
    f->absorb = (clmla_attend_absorb){.kv_b = f->weights.matrix, .nope_dim = s->absorb_nope, .value_dim = value};
    f->params.absorb = &f->absorb;
}

// Stores a head's plain and rotated values, and keeps what the device is to make of them.
static void store_query(attend_fixture *f, unsigned char *query, unsigned char *rope, uint64_t at, uint64_t rope_at,
                        const float *values, size_t pair) {
    const attend_shape *s = &f->shape;
    uint32_t plain = s->absorb_nope ? s->absorb_nope : s->latent;
    ref_type type = (ref_type)(s->query_type - CLMLA_TYPE_F32);
    double *kept = f->queries + pair * width_of(s);
    float nope[QUERY_WIDTH_MAX];
    for (uint32_t i = 0; i < plain; i++) {
        ref_store(type, query, at + i, values[i]);
        nope[i] = (float)ref_load(type, query, at + i);
        if (!s->absorb_nope) kept[i] = (double)nope[i];
    }
    if (s->absorb_nope)
        ref_absorb(kept, &f->weights.reference, nope, pair % s->heads, s->absorb_nope, f->absorb.value_dim);
    for (uint32_t i = 0; i < s->rope; i++) {
        ref_store(type, rope, rope_at + i, values[plain + i]);
        kept[s->latent + i] = ref_load(type, rope, rope_at + i);
    }
}

void attend_make_queries(attend_fixture *f, test_random *random) {
    const attend_shape *s = &f->shape;
    clmla_attend_params *p = &f->params;
    bool apart = s->query_form == ATTEND_APART;
    if (s->absorb_nope) make_weights(f, random);
    uint32_t plain = s->absorb_nope ? s->absorb_nope : s->latent, width = apart ? plain : plain + s->rope;
    size_t element = clmla_type_bytes(s->query_type);
    size_t bytes = attend_form_bytes(s->query_form, f->tokens, s->heads, width, element, &p->query_token_stride,
                                     &p->query_head_stride);
    // Apart, the two tensors have forms of their own.
    size_t rope_bytes = attend_form_bytes(ATTEND_HEADS_FIRST, f->tokens, s->heads, s->rope, element,
                                          &p->query_rope_token_stride, &p->query_rope_head_stride);
    unsigned char *query = test_nan_bytes(bytes), *rope = test_nan_bytes(rope_bytes);
    f->queries = test_allocate((size_t)f->tokens * s->heads * width_of(s), sizeof(double));
    float values[QUERY_WIDTH_MAX];
    for (size_t pair = 0; pair < (size_t)f->tokens * s->heads; pair++) {
        uint64_t token = pair / s->heads, head = pair % s->heads;
        uint64_t at = attend_form_at(token, head, p->query_token_stride, p->query_head_stride, s->heads, width);
        uint64_t rope_at =
            attend_form_at(token, head, p->query_rope_token_stride, p->query_rope_head_stride, s->heads, s->rope);
        fill_query(values, s, random);
        store_query(f, query, apart ? rope : query, at, apart ? rope_at : at + plain, values, pair);
    }
    test_buffer_make(&f->query, bytes, query);
    p->query = f->query.view;
    if (!p->query_token_stride && !apart) { // said once, left out once
        p->query_token_stride = (uint64_t)s->heads * width;
        p->query_head_stride = width;
    }
    p->query_type = s->query_type;
    if (apart && s->rope) {
        test_buffer_make(&f->query_rope, rope_bytes, rope);
        p->query_rope = f->query_rope.view;
    }
    free(query);
    free(rope);
}

// --- rows

ref_mask attend_mask(const attend_fixture *f, uint32_t sequence) {
    const attend_shape *s = &f->shape;
    return (ref_mask){.query_tokens = s->query_tokens[sequence],
                      .kv_tokens = s->kv_tokens[sequence],
                      .full = s->full,
                      .window = s->window,
                      .rank = s->parallel.rank,
                      .world = s->parallel.world ? s->parallel.world : 1,
                      .interleave = s->parallel.interleave ? s->parallel.interleave : 1};
}

// Narrow rows have a mean: their weighted sums could cancel to nothing, and their peak would be no measure.
static void make_key(float *key, const attend_shape *s, size_t index, size_t count, test_random *random) {
    bool narrow = s->latent < 16;
    test_random_fill(random, key, s->latent, narrow ? 1.5 : 0.0, narrow ? 0.2 : 1.0);
    test_random_fill(random, key + s->latent, s->rope, 0.0, 1.0);
    for (uint32_t i = 0; s->keys_times != 0.0f && i < width_of(s); i++) key[i] *= s->keys_times;
    if (s->scores != ATTEND_DOMINANT || index != count / 2) return;
    make_direction(key, width_of(s));
    for (uint32_t i = 0; i < width_of(s); i++) key[i] *= 40.0f;
}

static size_t pages_of(const attend_fixture *f, size_t keys) {
    return f->shape.page_tokens ? (keys + f->shape.page_tokens - 1) / f->shape.page_tokens : 1;
}

// Where each sequence's table entries begin: a stride apart, or one after the other.
static size_t *place_tables(attend_fixture *f, const size_t *counts, size_t *entries) {
    const attend_shape *s = &f->shape;
    size_t *first = test_allocate((size_t)s->sequences + 1, sizeof *first), stride = 2;
    for (uint32_t i = 0; i < s->sequences; i++)
        stride = pages_of(f, counts[i]) + 2 > stride ? pages_of(f, counts[i]) + 2 : stride;
    first[0] = s->csr ? TABLE_FIRST : 0;
    for (uint32_t i = 0; i < s->sequences; i++)
        first[i + 1] = first[i] + (s->csr ? pages_of(f, counts[i]) + i % 2 : stride);
    *entries = first[s->sequences] + (s->csr ? 2 : 0);
    f->params.page_table_stride = s->csr ? 0 : stride;
    f->params.page_table_count = s->csr ? first[s->sequences] : 0;
    return first;
}

static void make_indptr(attend_fixture *f, const size_t *first) {
    int32_t indptr[ATTEND_SEQUENCES_MAX + 1];
    for (uint32_t i = 0; i <= f->shape.sequences; i++) indptr[i] = (int32_t)first[i];
    test_buffer_make(&f->indptr, (f->shape.sequences + 1) * sizeof *indptr, indptr);
    f->params.page_indptr = f->indptr.view;
}

// Table entries: pages in a random order; unused ones hold garbage, some of it a page that exists.
static int32_t *make_table(attend_fixture *f, const size_t *counts, const size_t *first, size_t entries,
                           test_random *random) {
    static const int32_t garbage[] = {-1, 2147480000, INT32_MIN, 0};
    size_t page_count = (size_t)f->rows.view.page_count;
    int32_t *order = test_allocate(page_count, sizeof *order), *next = order,
            *table = test_allocate(entries, sizeof *table);
    test_random_permutation(random, order, page_count);
    for (size_t e = 0; e < entries; e++) table[e] = garbage[e % 4];
    for (uint32_t i = 0; i < f->shape.sequences; i++)
        for (size_t p = 0; p < pages_of(f, counts[i]); p++) table[first[i] + p] = *next++;
    if (f->shape.missing_page) table[first[0]] = -7;
    free(order);
    return table;
}

static void store_keys(attend_fixture *f, const size_t *counts, const int32_t *table, const size_t *first,
                       test_random *random) {
    const attend_shape *s = &f->shape;
    uint32_t width = width_of(s), page_tokens = f->rows.view.page_tokens;
    float *key = test_allocate(width, sizeof *key);
    double *stored = f->stored[0];
    for (uint32_t i = 0; i < s->sequences; i++)
        for (uint32_t g = 0; g < s->kv_heads; g++) {
            const double **keys = attend_keys(f, i, g);
            for (size_t j = 0; j < counts[i]; j++, stored += width) {
                if (s->scores != ATTEND_SAME_KEYS || j == 0) make_key(key, s, j, counts[i], random);
                int32_t page = table ? table[first[i] + j / page_tokens] : (int32_t)i;
                keys[j] = page >= 0 ? stored : NULL;
                if (page >= 0)
                    test_rows_store_head(stored, &f->rows, (uint64_t)page, (uint32_t)(j % page_tokens), g, key);
            }
        }
    free(key);
    test_rows_upload(&f->rows);
}

// Room for the lists of keys: counts[i] for each kv head of sequence i.
static void make_lists(attend_fixture *f, const size_t *counts) {
    const attend_shape *s = &f->shape;
    size_t total = 0, lists = (size_t)s->sequences * s->kv_heads;
    f->key_first = test_allocate(lists, sizeof *f->key_first);
    f->key_counts = test_allocate(lists, sizeof *f->key_counts);
    for (size_t l = 0; l < lists; l++) {
        f->key_first[l] = total;
        f->key_counts[l] = counts[l / s->kv_heads];
        total += f->key_counts[l];
    }
    f->keys = test_allocate(total, sizeof *f->keys);
}

static void make_rows(attend_fixture *f, test_random *random) {
    const attend_shape *s = &f->shape;
    size_t counts[ATTEND_SEQUENCES_MAX], pages = 2, longest = 0, total = 0, entries;
    for (uint32_t i = 0; i < s->sequences; i++) {
        ref_mask mask = attend_mask(f, i);
        counts[i] = ref_mask_count(&mask);
        pages += pages_of(f, counts[i]);
        total += counts[i];
        longest = counts[i] > longest ? counts[i] : longest;
    }
    uint32_t page_tokens = s->page_tokens ? s->page_tokens : (uint32_t)longest + 3;
    test_rows_make_heads(&f->rows, s->format, s->latent, s->rope, page_tokens, pages, s->layout, s->kv_heads);
    f->params.rows = f->rows.view;
    f->stored[0] = test_allocate(total * s->kv_heads * width_of(s), sizeof(double));
    make_lists(f, counts);
    if (s->page_tokens == 0) {
        store_keys(f, counts, NULL, NULL, random);
        return;
    }
    size_t *first = place_tables(f, counts, &entries);
    int32_t *table = make_table(f, counts, first, entries, random);
    store_keys(f, counts, table, first, random);
    test_buffer_make(&f->table, entries * sizeof *table, table);
    f->params.page_table = f->table.view;
    if (s->csr) make_indptr(f, first);
    free(table);
    free(first);
}

// --- lists of slots

// Every row of a scope's pages but the last page, which no list names.
static void fill_scope(attend_fixture *f, test_rows *rows, uint32_t scope, test_random *random) {
    const attend_shape *s = &f->shape;
    const attend_list *list = &s->lists[scope];
    uint32_t width = width_of(s), slots = (list->page_count - 1) * list->page_tokens;
    float *key = test_allocate(width, sizeof *key);
    test_rows_make_heads(rows, s->format, s->latent, s->rope, list->page_tokens, list->page_count, s->layout,
                         s->kv_heads);
    double *stored = f->stored[scope] = test_allocate((size_t)slots * s->kv_heads * width, sizeof(double));
    for (uint32_t slot = 0; slot < slots; slot++)
        for (uint32_t g = 0; g < s->kv_heads; g++, stored += width) {
            make_key(key, s, slot, slots, random);
            test_rows_store_head(stored, rows, slot / list->page_tokens, slot % list->page_tokens, g, key);
        }
    free(key);
    test_rows_upload(rows);
}

static int32_t choose_slot(const attend_list *list, test_random *random) {
    int32_t all = (int32_t)(list->page_count * list->page_tokens);
    const int32_t invalid[] = {INT32_MIN, -123456, -1, all, INT32_MAX};
    if (list->none || test_random_below(random, 5) == 0) return invalid[test_random_below(random, 5)];
    return (int32_t)test_random_below(random, (uint32_t)all - list->page_tokens);
}

static void make_scope(attend_fixture *f, uint32_t scope, uint32_t first, test_random *random) {
    const attend_shape *s = &f->shape;
    const attend_list *list = &s->lists[scope];
    test_rows *rows = scope ? &f->more : &f->rows;
    uint64_t stride = list->index_count + 3u;
    int32_t *indices = test_allocate((size_t)(f->tokens * stride), sizeof *indices),
            *counts = test_allocate(f->tokens, sizeof *counts);
    fill_scope(f, rows, scope, random);
    for (uint32_t t = 0; t < f->tokens; t++) {
        int32_t *of = indices + t * stride;
        counts[t] = (int32_t)test_random_below(random, list->counted + 1);
        if (t == 1) counts[t] = INT32_MAX; // more than there are: all are read
        if (t == 2) counts[t] = -5;
        for (uint32_t k = 0; k < stride; k++)
            of[k] = k && test_random_below(random, 8) == 0 ? of[k - 1] : choose_slot(list, random);
        for (uint32_t g = 0; g < s->kv_heads; g++)
            for (uint32_t k = 0; k < list->index_count; k++) {
                bool read = (!list->counted || (int32_t)k < counts[t]) && of[k] >= 0 &&
                            of[k] < (int32_t)(list->page_count * list->page_tokens);
                attend_keys(f, t, g)[first + k] =
                    read ? f->stored[scope] + ((size_t)of[k] * s->kv_heads + g) * width_of(s) : NULL;
            }
    }
    test_buffer_make(&f->indices[scope], (size_t)(f->tokens * stride) * sizeof *indices, indices);
    test_buffer_make(&f->counts[scope], f->tokens * sizeof *counts, counts);
    f->scopes[scope] = (clmla_attend_scope){.rows = rows->view,
                                            .indices = f->indices[scope].view,
                                            .index_stride = stride,
                                            .index_count = list->index_count,
                                            .counts = list->counted ? f->counts[scope].view : (clmla_buffer){0}};
    free(indices);
    free(counts);
}

void attend_make_keys(attend_fixture *f, test_random *random) {
    const attend_shape *s = &f->shape;
    if (s->list_count == 0) {
        make_rows(f, random);
        return;
    }
    size_t counts[ATTEND_SEQUENCES_MAX];
    for (uint32_t t = 0; t < s->sequences; t++) counts[t] = s->kv_tokens[t];
    make_lists(f, counts);
    for (uint32_t i = 0, first = 0; i < s->list_count; first += s->lists[i++].index_count)
        make_scope(f, i, first, random);
    f->params.scopes = f->scopes;
    f->params.scope_count = s->list_count;
}
