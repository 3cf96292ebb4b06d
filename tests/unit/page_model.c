// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/page_model.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define APPEND_MOST 40u
#define SEVERAL 3u

__attribute__((format(printf, 2, 3))) static bool fault(page_model *m, const char *format, ...) {
    va_list arguments;
    if (m->fault[0]) return false;
    va_start(arguments, format);
    vsnprintf(m->fault, sizeof m->fault, format, arguments);
    va_end(arguments);
    return false;
}

static void *take(void *payload, size_t bytes) {
    page_model *m = payload;
    if (m->countdown >= 0 && m->countdown-- == 0) return NULL;
    m->live++;
    return malloc(bytes);
}

static void give(void *payload, void *memory) {
    ((page_model *)payload)->live--;
    free(memory);
}

bool page_model_open(page_model *m, const model_shape *shape) {
    *m = (page_model){.shape = *shape, .countdown = -1, .random = test_random_make(99)};
    m->allocator = (clmla_allocator){take, give, m};
    m->rows = calloc((size_t)shape->page_total * shape->page_tokens, sizeof *m->rows);
    cache_pages_params params = {.allocator = &m->allocator,
                                 .page_tokens = shape->page_tokens,
                                 .page_total = shape->page_total,
                                 .shift_mode = shape->shift_mode,
                                 .share_prefixes = shape->share_prefixes};
    return m->rows && shape->page_total <= MODEL_PAGES_MOST && cache_pages_init(&m->pages, &params) == CLMLA_OK;
}

void page_model_close(page_model *m) {
    cache_pages_finish(&m->pages);
    if (m->works.works) give(m, m->works.works);
    if (m->live != 0) fault(m, "%ld allocations are left", m->live);
    free(m->rows);
    m->rows = NULL;
}

// --- the device --------------------------------------------------------------------------------------------------

static model_row *row_at(page_model *m, int32_t page, uint32_t row) {
    return &m->rows[(size_t)page * m->shape.page_tokens + row];
}

static void apply(page_model *m, const cache_work *work) {
    if (m->shape.lose_moves && work->kind == CACHE_WORK_MOVE && work->from == work->to) return;
    for (uint32_t i = 0; i < work->rows; i++) {
        if (work->kind == CACHE_WORK_MOVE)
            *row_at(m, work->to, work->to_row + i) = *row_at(m, work->from, work->from_row + i);
        else
            row_at(m, work->from, work->from_row + i)->position += work->delta;
    }
}

// Wave by wave, those of a wave in any order.
static void flush(page_model *m) {
    cache_work_take(&m->works, &m->pages);
    for (size_t begin = 0, end; begin < m->works.count; begin = end) {
        end = begin;
        while (end < m->works.count && m->works.works[end].wave == m->works.works[begin].wave) end++;
        size_t first = test_random_below(&m->random, (uint32_t)(end - begin));
        for (size_t i = 0; i < end - begin; i++) apply(m, &m->works.works[begin + (i + first) % (end - begin)]);
    }
    m->works.count = 0;
}

// --- checks ------------------------------------------------------------------------------------------------------

static bool check_tokens(page_model *m, const model_sequence *expected, const cache_sequence *found) {
    int64_t slots[MODEL_TOKENS];
    int32_t positions[MODEL_TOKENS];
    cache_pages_slots(slots, &m->pages, found, 0, expected->count);
    if (expected->count > 0) cache_runs_list(positions, &found->runs, 0, expected->count);
    for (uint32_t i = 0, entry = 0; i < expected->count; i++) {
        const model_token *token = &expected->tokens[i];
        const model_row *row = &m->rows[slots[i]];
        while (i - found->entries[entry].first_row >= found->entries[entry].rows) entry++;
        if (positions[i] != token->position || cache_runs_position(&found->runs, i) != token->position)
            return fault(m, "sequence %u, token %u: position %d, expected %d", expected->id, i, positions[i],
                         token->position);
        if (row->content != token->content)
            return fault(m, "sequence %u, token %u: another row stands in slot %lld", expected->id, i,
                         (long long)slots[i]);
        if (m->shape.shift_mode != CACHE_SHIFT_POSITIONS &&
            row->position + found->entries[entry].delta != token->position)
            return fault(m, "sequence %u, token %u: rotated for %lld, expected %d", expected->id, i,
                         (long long)row->position + found->entries[entry].delta, token->position);
    }
    return true;
}

// No run goes on where the one before it ends.
static bool check_runs(page_model *m, uint32_t id, const cache_runs *runs) {
    for (uint32_t i = 1; i < runs->count; i++) {
        const cache_run *run = &runs->runs[i];
        if (run[-1].position + (int64_t)(run->first_row - run[-1].first_row) == run->position)
            return fault(m, "sequence %u: run %u of positions goes on with the one before it", id, i);
    }
    return true;
}

static bool check_entries(page_model *m, const model_sequence *expected, const cache_sequence *found, uint32_t *held) {
    uint32_t row = 0, is_short = 0, deltas = 0, page_tokens = m->shape.page_tokens;
    for (uint32_t i = 0; i < found->entry_count; i++) {
        const cache_entry *entry = &found->entries[i];
        if (entry->page < 0 || (uint32_t)entry->page >= m->shape.page_total || entry->rows == 0 ||
            entry->rows > page_tokens || entry->first_row != row)
            return fault(m, "sequence %u, entry %u: page %d, %u rows from %u on", expected->id, i, entry->page,
                         entry->rows, entry->first_row);
        if (entry->delta != 0 && m->shape.shift_mode != CACHE_SHIFT_KEEP)
            return fault(m, "sequence %u, entry %u: a delta of %d", expected->id, i, entry->delta);
        row += entry->rows;
        is_short += i + 1 < found->entry_count && entry->rows < page_tokens;
        deltas += entry->delta != 0;
        held[entry->page]++;
    }
    if (row != expected->count || found->tokens != expected->count)
        return fault(m, "sequence %u: %u rows, %u tokens, expected %u", expected->id, row, found->tokens,
                     expected->count);
    if (is_short != found->short_count || deltas != found->delta_count || found->known != expected->known)
        return fault(m, "sequence %u: %u short pages counted as %u, %u deltas as %u, %u ids known, expected %u",
                     expected->id, is_short, found->short_count, deltas, found->delta_count, found->known,
                     expected->known);
    return true;
}

static int32_t table_value(const page_model *m, const cache_sequence *sequence, int kind, uint32_t index) {
    const cache_entry *entry = &sequence->entries[index];
    if (kind == CACHE_TABLE_PAGES) return entry->page;
    if (kind == CACHE_TABLE_DELTAS) return entry->delta;
    return (int32_t)(index + 1 < sequence->entry_count ? entry->rows : m->shape.page_tokens);
}

// Writing what is marked as changed brings a table up to date. Now and then, so that changes come together.
static bool check_tables(page_model *m, uint32_t id) {
    cache_sequence *sequence = cache_pages_find(&m->pages, id);
    for (int kind = 0; kind < CACHE_TABLE_COUNT; kind++) {
        int32_t *table = m->tables[kind][(id - 1) % (2 * MODEL_SEQUENCES)];
        if (test_random_below(&m->random, 4) != 0) continue;
        for (uint32_t i = sequence->unshown[kind]; i < sequence->entry_count; i++)
            table[i] = table_value(m, sequence, kind, i);
        if (sequence->unshown[kind] < sequence->entry_count) sequence->unshown[kind] = sequence->entry_count;
        for (uint32_t i = 0; i < sequence->entry_count; i++)
            if (table[i] != table_value(m, sequence, kind, i))
                return fault(m, "sequence %u: table %d shows %d for entry %u, it is %d", id, kind, table[i], i,
                             table_value(m, sequence, kind, i));
    }
    return true;
}

// Every page is held by whom the counts say, free once, or kept once.
static bool check_pages(page_model *m, const uint32_t *held) {
    uint8_t places[MODEL_PAGES_MOST] = {0};
    uint64_t shared = 0, kept = 0;
    const cache_prefixes *prefixes = &m->pages.prefixes;
    for (uint64_t i = 0; i < m->pages.free_count; i++) places[m->pages.free_pages[i]]++;
    for (int32_t page = prefixes->pages ? prefixes->newest : -1; page >= 0 && kept <= m->shape.page_total; kept++) {
        if (!cache_prefix_known(&m->pages, page)) return fault(m, "page %d is kept and not known", page);
        places[page]++;
        page = prefixes->pages[page].older;
    }
    if (kept != prefixes->kept_count)
        return fault(m, "%llu pages kept, counted as %llu", (unsigned long long)kept,
                     (unsigned long long)prefixes->kept_count);
    for (uint32_t page = 0; page < m->shape.page_total; page++) {
        if (held[page] != m->pages.pages[page].references)
            return fault(m, "page %u is held %u times, counted as %u", page, held[page],
                         m->pages.pages[page].references);
        if (places[page] + (held[page] > 0) != 1)
            return fault(m, "page %u: held %u times, free or kept %u times", page, held[page], places[page]);
        shared += held[page] > 1;
    }
    return shared == m->pages.shared_count || fault(m, "%llu pages shared, counted as %llu", (unsigned long long)shared,
                                                    (unsigned long long)m->pages.shared_count);
}

bool page_model_check(page_model *m) {
    uint32_t held[MODEL_PAGES_MOST] = {0}, sequences = 0;
    uint64_t tokens = 0;
    flush(m);
    for (int i = 0; i < MODEL_SEQUENCES; i++) {
        const model_sequence *expected = &m->sequences[i];
        if (expected->id == 0) continue;
        const cache_sequence *found = cache_pages_sequence(&m->pages, expected->id);
        if (!found) return fault(m, "sequence %u is lost", expected->id);
        if (!check_entries(m, expected, found, held) || !check_tokens(m, expected, found) ||
            !check_runs(m, expected->id, &found->runs) || !check_tables(m, expected->id))
            return false;
        sequences++;
        tokens += expected->count;
    }
    if (m->pages.sequence_count != sequences || m->pages.token_count != tokens)
        return fault(m, "%u sequences of %llu tokens, expected %u of %llu", m->pages.sequence_count,
                     (unsigned long long)m->pages.token_count, sequences, (unsigned long long)tokens);
    return check_pages(m, held);
}

// --- steps -------------------------------------------------------------------------------------------------------

// Whether the model follows the call. Failing is allowed for want of pages, unless there were plenty, and of memory
// when an allocation was made to fail; then nothing changed, which the next check sees.
static bool done(page_model *m, clmla_status status, uint64_t plenty) {
    if (status == CLMLA_OK) return true;
    if (status == CLMLA_E_CACHE_FULL && cache_pages_available(&m->pages) < plenty) {
        m->full++;
        if (m->pages.missing == 0 || m->pages.missing > plenty)
            fault(m, "%llu pages are said to be missing", (unsigned long long)m->pages.missing);
    } else if (status == CLMLA_E_MEMORY && m->countdown == -1) {
        m->out_of_memory++;
    } else {
        fault(m, "%s: %s", clmla_status_name(status), clmla_last_error());
    }
    return false;
}

static model_sequence *pick(page_model *m, uint32_t number) {
    model_sequence *sequence = &m->sequences[number % MODEL_SEQUENCES];
    return sequence->id ? sequence : NULL;
}

static model_sequence *empty_place(page_model *m) {
    for (int i = 0; i < MODEL_SEQUENCES; i++)
        if (m->sequences[i].id == 0) return &m->sequences[i];
    return NULL;
}

static uint64_t content_of(uint64_t before, int32_t id, int32_t position) {
    uint64_t x = before * 0x9e3779b97f4a7c15u + (uint32_t)id * 0xbf58476d1ce4e5b9u + (uint32_t)position + 1;
    return x ^ (x >> 29);
}

// Few token ids, so that sequences begin alike.
static int32_t id_of(uint32_t seed, uint32_t index) {
    return (int32_t)((seed >> (index / 4 % 16)) & 1);
}

static void add_token(model_sequence *sequence, int32_t id, int32_t position) {
    uint64_t before = sequence->count > 0 ? sequence->tokens[sequence->count - 1].content : 0;
    sequence->tokens[sequence->count++] = (model_token){id, position, content_of(before, id, position)};
}

// The model's own rows of a step: what was reserved is written once pending work is done.
static void write_rows(page_model *m, const model_sequence *sequence, uint32_t first) {
    int64_t slots[MODEL_TOKENS];
    const cache_sequence *found = cache_pages_sequence(&m->pages, sequence->id);
    cache_pages_slots(slots, &m->pages, found, first, sequence->count - first);
    for (uint32_t i = first; i < sequence->count; i++)
        m->rows[slots[i - first]] = (model_row){sequence->tokens[i].content, sequence->tokens[i].position};
}

// Pages a batch takes: for rows past its last pages, and for each last page that others still hold when it is its turn.
static uint64_t pages_needed(page_model *m, uint32_t count, const uint32_t *ids, const uint32_t *tokens) {
    uint32_t left[MODEL_PAGES_MOST] = {0}, page_tokens = m->shape.page_tokens;
    uint64_t needed = 0;
    for (uint32_t i = 0; i < count; i++) {
        const cache_sequence *sequence = cache_pages_sequence(&m->pages, ids[i]);
        const cache_entry *last = sequence->entry_count > 0 ? &sequence->entries[sequence->entry_count - 1] : NULL;
        uint32_t room = last && last->delta == 0 ? page_tokens - last->rows : 0, rest = tokens[i];
        rest -= rest < room ? rest : room;
        needed += (rest + page_tokens - 1) / page_tokens;
        if (tokens[i] == 0 || room == 0 || m->pages.pages[last->page].references - left[last->page] < 2) continue;
        left[last->page]++;
        needed++;
    }
    return needed;
}

static void append(page_model *m, const model_step *step, uint32_t sequences, bool positions_given) {
    uint32_t ids[SEVERAL], counts[SEVERAL], batch = 0, token = 0;
    int32_t positions[SEVERAL * APPEND_MOST], start = (int32_t)(step->d % 1000);
    model_sequence *of[SEVERAL];
    for (uint32_t i = 0; i < sequences; i++) {
        model_sequence *sequence = pick(m, step->a + i);
        uint32_t count = (step->b >> i) % APPEND_MOST;
        if (!sequence || sequence->count + count > MODEL_TOKENS) continue;
        of[batch] = sequence;
        ids[batch] = sequence->id;
        counts[batch++] = count;
        for (uint32_t t = 0; t < count; t++) positions[token++] = start + (int32_t)(t + t / 5);
    }
    if (batch == 0) return;
    uint64_t needed = pages_needed(m, batch, ids, counts);
    bool enough = needed <= cache_pages_available(&m->pages);
    clmla_status status = cache_pages_reserve(&m->pages, batch, ids, counts, positions_given ? positions : NULL);
    if (status == CLMLA_OK && !enough) fault(m, "more pages were taken than there are");
    if (!done(m, status, needed)) return;
    flush(m);
    token = 0;
    for (uint32_t i = 0; i < batch; i++) {
        uint32_t first = of[i]->count;
        for (uint32_t t = 0; t < counts[i]; t++, token++) {
            int32_t next = of[i]->count > 0 ? of[i]->tokens[of[i]->count - 1].position + 1 : 0;
            add_token(of[i], id_of(step->c, of[i]->count), positions_given ? positions[token] : next);
        }
        write_rows(m, of[i], first);
    }
}

static void create(page_model *m) {
    model_sequence *place = empty_place(m);
    uint32_t id = 0;
    if (place && done(m, cache_pages_create_sequence(&id, &m->pages), 0)) *place = (model_sequence){.id = id};
}

static void create_with_tokens(page_model *m, const model_step *step) {
    model_sequence *place = empty_place(m);
    int32_t ids[MODEL_TOKENS];
    uint32_t id = 0, found = 0, count = step->b % MODEL_TOKENS;
    if (!place || !m->shape.share_prefixes) return;
    for (uint32_t i = 0; i < count; i++) ids[i] = id_of(step->c, i);
    if (!done(m, cache_pages_create_with_tokens(&id, &found, &m->pages, ids, count), 0)) return;
    if (found % m->shape.page_tokens != 0 || (found >= count && count > 0))
        fault(m, "%u of %u tokens shared", found, count);
    *place = (model_sequence){.id = id, .known = found};
    for (uint32_t i = 0; i < found; i++) add_token(place, ids[i], (int32_t)i);
    m->shared += found;
}

static void drop(page_model *m, model_sequence *sequence) {
    if (done(m, cache_pages_drop_sequence(&m->pages, sequence->id), 0)) *sequence = (model_sequence){0};
}

static void fork_sequence(page_model *m, const model_sequence *from) {
    model_sequence *place = empty_place(m);
    uint32_t id = 0;
    if (!place || !done(m, cache_pages_fork(&id, &m->pages, from->id), 0)) return;
    *place = *from;
    place->id = id;
}

static void cut(model_sequence *sequence, uint32_t count) {
    sequence->count = count;
    if (sequence->known > count) sequence->known = count;
}

static void copy(page_model *m, const model_sequence *from, model_sequence *to, uint32_t count) {
    clmla_status status = cache_pages_copy_prefix(&m->pages, to->id, from->id, count);
    if (from == to || to->count > 0) {
        bool nothing = status == CLMLA_E_ARGUMENT || (to->count == 0 && count == 0 && status == CLMLA_OK);
        if (!nothing) fault(m, "a copy onto a sequence with tokens: %s", clmla_status_name(status));
        return;
    }
    if (!done(m, status, 0)) return;
    uint32_t id = to->id;
    *to = *from;
    to->id = id;
    cut(to, count);
}

static void remove_tokens(page_model *m, model_sequence *sequence, uint32_t from, uint32_t to) {
    if (!done(m, cache_pages_remove(&m->pages, sequence->id, from, to), 2)) return;
    memmove(sequence->tokens + from, sequence->tokens + to, (sequence->count - to) * sizeof *sequence->tokens);
    if (to > from && sequence->known > from) sequence->known = from;
    sequence->count -= to - from;
}

static void shift_tokens(page_model *m, model_sequence *sequence, uint32_t from, uint32_t to, int32_t delta) {
    bool below = false;
    for (uint32_t i = from; i < to; i++) below |= sequence->tokens[i].position + delta < 0;
    clmla_status status = cache_pages_shift(&m->pages, sequence->id, from, to, delta);
    if (below) {
        if (status != CLMLA_E_ARGUMENT) fault(m, "a shift to below 0: %s", clmla_status_name(status));
        return;
    }
    if (!done(m, status, MODEL_TOKENS)) return;
    for (uint32_t i = from; i < to; i++) sequence->tokens[i].position += delta;
    if (to > from && delta != 0 && sequence->known > from) sequence->known = from;
}

static void commit(page_model *m, model_sequence *sequence, uint32_t count) {
    int32_t ids[MODEL_TOKENS];
    for (uint32_t i = 0; i < count; i++) ids[i] = sequence->tokens[sequence->known + i].id;
    if (done(m, cache_pages_commit_tokens(&m->pages, sequence->id, ids, count), 0)) sequence->known += count;
}

static void keep_only(page_model *m, uint32_t mask) {
    uint32_t ids[MODEL_SEQUENCES], count = 0;
    for (uint32_t i = 0; i < MODEL_SEQUENCES; i++)
        if (m->sequences[i].id && (mask >> i & 1)) ids[count++] = m->sequences[i].id;
    if (!done(m, cache_pages_keep_only(&m->pages, count, ids), 0)) return;
    for (uint32_t i = 0; i < MODEL_SEQUENCES; i++)
        if (!(mask >> i & 1)) m->sequences[i] = (model_sequence){0};
}

// A range [*from, *to) of a sequence, often at its front or end.
static void range_of(uint32_t *from, uint32_t *to, const model_sequence *sequence, const model_step *step) {
    *from = step->b % (sequence->count + 1);
    *to = *from + step->c % (sequence->count - *from + 1);
    if (step->d % 4 == 0) *to = sequence->count;
    if (step->d % 5 == 0) *from = 0;
}

static void run_on(page_model *m, const model_step *step, model_sequence *sequence) {
    uint32_t from, to;
    range_of(&from, &to, sequence, step);
    switch (step->kind) {
    case MODEL_DROP:
        drop(m, sequence);
        break;
    case MODEL_FORK:
        fork_sequence(m, sequence);
        break;
    case MODEL_COPY:
        if (pick(m, step->c)) copy(m, sequence, pick(m, step->c), from);
        break;
    case MODEL_TRUNCATE:
        if (done(m, cache_pages_truncate(&m->pages, sequence->id, from), 0)) cut(sequence, from);
        break;
    case MODEL_REMOVE:
        remove_tokens(m, sequence, from, to);
        break;
    case MODEL_SHIFT:
        shift_tokens(m, sequence, from, to, (int32_t)(step->d % 41) - 20);
        break;
    case MODEL_COMMIT:
        if (m->shape.share_prefixes) commit(m, sequence, step->b % (sequence->count - sequence->known + 1));
        break;
    default:
        break;
    }
}

bool page_model_run(page_model *m, const model_step *step, bool check) {
    model_sequence *sequence = pick(m, step->a);
    m->countdown = step->fail_after;
    if (step->kind == MODEL_CREATE)
        create(m);
    else if (step->kind == MODEL_CREATE_WITH_TOKENS)
        create_with_tokens(m, step);
    else if (step->kind == MODEL_APPEND || step->kind == MODEL_APPEND_AT)
        append(m, step, 1, step->kind == MODEL_APPEND_AT);
    else if (step->kind == MODEL_APPEND_SEVERAL)
        append(m, step, SEVERAL, false);
    else if (step->kind == MODEL_KEEP_ONLY)
        keep_only(m, step->b | step->c | step->d);
    else if (step->kind == MODEL_FORGET)
        cache_pages_forget_prefixes(&m->pages);
    else if (step->kind == MODEL_FLUSH)
        flush(m);
    else if (sequence)
        run_on(m, step, sequence);
    m->countdown = -1;
    return m->fault[0] == '\0' && (!check || page_model_check(m));
}

model_step page_model_step_make(test_random *random) {
    static const uint8_t odds[MODEL_KINDS] = {
        [MODEL_CREATE] = 8,    [MODEL_CREATE_WITH_TOKENS] = 8,
        [MODEL_DROP] = 8,      [MODEL_APPEND] = 20,
        [MODEL_APPEND_AT] = 3, [MODEL_APPEND_SEVERAL] = 8,
        [MODEL_FORK] = 10,     [MODEL_COPY] = 5,
        [MODEL_TRUNCATE] = 6,  [MODEL_REMOVE] = 10,
        [MODEL_SHIFT] = 12,    [MODEL_COMMIT] = 14,
        [MODEL_KEEP_ONLY] = 1, [MODEL_FORGET] = 1,
        [MODEL_FLUSH] = 4,
    };
    uint32_t all = 0, kind = 0;
    for (int i = 0; i < MODEL_KINDS; i++) all += odds[i];
    for (uint32_t at = test_random_below(random, all); at >= odds[kind]; kind++) at -= odds[kind];
    return (model_step){.kind = (model_kind)kind,
                        .a = test_random_below(random, 1u << 16),
                        .b = test_random_below(random, 1u << 16),
                        .c = test_random_below(random, 1u << 16),
                        .d = test_random_below(random, 1u << 16),
                        .fail_after = test_random_below(random, 16) == 0 ? (int32_t)test_random_below(random, 3) : -1};
}

void page_model_step_print(char *out, size_t size, const model_step *step) {
    static const char *const names[MODEL_KINDS] = {
        "CREATE", "CREATE_WITH_TOKENS", "DROP",   "APPEND", "APPEND_AT", "APPEND_SEVERAL", "FORK",
        "COPY",   "TRUNCATE",           "REMOVE", "SHIFT",  "COMMIT",    "KEEP_ONLY",      "FORGET",
        "FLUSH"};
    snprintf(out, size, "{MODEL_%s, %u, %u, %u, %u, %d}", names[step->kind], step->a, step->b, step->c, step->d,
             step->fail_after);
}
