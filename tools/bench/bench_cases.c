// SPDX-License-Identifier: Apache-2.0
// From lists on the command line to cases.
#include "bench.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_MAX 64
#define CASE_SECONDS 0.5
#define DEFAULT_SET_SECONDS 0.2 // of its many cases

typedef struct number_list {
    uint32_t values[LIST_MAX];
    size_t count;
} number_list;

typedef struct name_list {
    char names[LIST_MAX][32];
    size_t count;
} name_list;

// A request's lists, read.
typedef struct axes {
    name_list ops, formats; // formats.count 0: each operation's own default
    number_list heads, tokens, batch, query_tokens, page;
    clmla_type weights; // of a layer, whose format is that of rows
} axes;

// --- lists
// -------------------------------------------------------------------------------------------------------------

// The next item of a list, and what is behind its comma; false for an empty item or one that does not fit.
static bool next_item(char *out, size_t size, const char **at) {
    size_t length = strcspn(*at, ",");
    if (length == 0 || length >= size) return false;
    memcpy(out, *at, length);
    out[length] = '\0';
    *at += length;
    if (**at == ',') return *++*at != '\0';
    return true;
}

static bool read_names(name_list *out, const char *text) {
    for (out->count = 0; *text; out->count++)
        if (out->count == LIST_MAX || !next_item(out->names[out->count], sizeof out->names[0], &text)) return false;
    return out->count > 0;
}

static bool is_number(uint32_t *out, const char *text, uint32_t minimum, uint32_t maximum) {
    if (strspn(text, "0123456789") != strlen(text) || strlen(text) > 10) return false;
    unsigned long long value = strtoull(text, NULL, 10);
    *out = (uint32_t)value;
    return value >= minimum && value <= maximum;
}

static bool read_numbers(number_list *out, const char *option, const char *text, uint32_t minimum, uint32_t maximum,
                         failure *failure) {
    name_list names;
    bool read = read_names(&names, text);
    for (out->count = 0; read && out->count < names.count; out->count++)
        read = is_number(&out->values[out->count], names.names[out->count], minimum, maximum);
    return read || failure_set(failure, "%s takes up to %d whole numbers from %u to %u with commas between, not '%s'",
                               option, LIST_MAX, minimum, maximum, text);
}

static const char *or_default(const char *text, const char *usual) {
    return text ? text : usual;
}

#define LAYER_WEIGHT_TYPES 3 // the first ones: fp8 takes scales beside its values
static const clmla_type weight_types[] = {CLMLA_TYPE_F32, CLMLA_TYPE_F16, CLMLA_TYPE_BF16, CLMLA_TYPE_F8_E4M3};

static bool read_weights(clmla_type *out, const char *name, failure *failure) {
    for (size_t i = 0; i < LAYER_WEIGHT_TYPES; i++)
        if (strcmp(clmla_type_name(weight_types[i]), name) == 0) return *out = weight_types[i], true;
    return failure_set(failure, "--weights takes f32, f16, bf16, not '%s'", name);
}

static bool read_axes(axes *out, const bench_request *r, failure *failure) {
    out->formats.count = 0;
    if (!read_names(&out->ops, or_default(r->op, "attend")))
        return failure_set(failure, "--op takes names with commas between, not '%s'", r->op);
    if (r->format && !read_names(&out->formats, r->format))
        return failure_set(failure, "--format takes names with commas between, not '%s'", r->format);
    return read_numbers(&out->heads, "--heads", or_default(r->heads, "128"), 1, CLMLA_MAX_HEADS, failure) &&
           read_numbers(&out->tokens, "--tokens", or_default(r->tokens, "4096"), 1, CLMLA_MAX_CONTEXT, failure) &&
           read_numbers(&out->batch, "--batch", or_default(r->batch, "1"), 1, 65536, failure) &&
           read_numbers(&out->query_tokens, "--query-tokens", or_default(r->query_tokens, "1"), 1, 4096, failure) &&
           read_numbers(&out->page, "--page", or_default(r->page, "64"), 0, 1048576, failure) &&
           read_weights(&out->weights, or_default(r->weights, "bf16"), failure);
}

// --- operations and formats
// --------------------------------------------------------------------------------------------

// Format `index` of a kind; NULL past the last.
static const char *kind_name(bench_format_kind kind, size_t index) {
    size_t types = kind == BENCH_FORMAT_WEIGHTS ? 4 : kind == BENCH_FORMAT_STATES ? 3 : 1; // no states in fp8
    if (kind == BENCH_FORMAT_ROWS)
        return index < CLMLA_ROW_FORMAT_COUNT ? clmla_row_format_name((clmla_row_format)index) : NULL;
    return index < types ? clmla_type_name(weight_types[index]) : NULL;
}

static const char *default_format(bench_format_kind kind) {
    return kind == BENCH_FORMAT_ROWS ? "f16" : kind == BENCH_FORMAT_WEIGHTS ? "bf16" : "f32";
}

const char *bench_format_name(const bench_case *bench) {
    return bench->operation->format == BENCH_FORMAT_ROWS ? clmla_row_format_name(bench->rows)
                                                         : clmla_type_name(bench->type);
}

static void append_name(char *list, size_t size, const char *name) {
    size_t at = strlen(list);
    snprintf(list + at, size - at, "%s%s", at ? ", " : "", name);
}

static bool find_operation(const bench_operation **out, const char *name, failure *failure) {
    size_t count;
    char known[256] = "";
    const bench_operation *all = bench_operations(&count);
    for (size_t i = 0; i < count; i++) {
        append_name(known, sizeof known, all[i].name);
        if (strcmp(all[i].name, name) == 0) return *out = &all[i], true;
    }
    return failure_set(failure, "--op takes %s, not '%s'", known, name);
}

static bool set_format(bench_case *bench, const char *name, failure *failure) {
    bench_format_kind kind = bench->operation->format;
    char known[256] = "";
    const char *other;
    for (size_t i = 0; (other = kind_name(kind, i)) != NULL; i++) {
        append_name(known, sizeof known, other);
        if (strcmp(other, name) != 0) continue;
        if (kind == BENCH_FORMAT_ROWS) return bench->rows = (clmla_row_format)i, true;
        return bench->type = weight_types[i], true;
    }
    return failure_set(failure, "--format of op %s takes all, %s, not '%s'", bench->operation->name, known, name);
}

const char *bench_weights_name(const bench_case *bench) {
    bool has = bench->operation->format == BENCH_FORMAT_WEIGHTS || bench->operation->uses & BENCH_USES_WEIGHTS;
    return has ? clmla_type_name(bench->type) : "none";
}

#define MOST_VARIANTS 32

// Those of an operation, on whatever device: how many there are.
static size_t list_variants(clmla_variant list[MOST_VARIANTS], const bench_operation *operation) {
    static const clmla_device_facts facts;
    static const clmla_shape shape;
    size_t count = 0;
    clmla_variant_list(list, MOST_VARIANTS, &count, &facts, operation->operation, &shape);
    return count < MOST_VARIANTS ? count : MOST_VARIANTS;
}

// One of the operations must have it: of the others, cases are rows with a reason.
static bool check_variant(const bench_cases *cases, const char *name, failure *failure) {
    char known[256] = "";
    clmla_variant list[MOST_VARIANTS];
    for (size_t i = 0; i < cases->count; i++) {
        size_t count = list_variants(list, cases->list[i].operation);
        for (size_t v = 0; v < count; v++) {
            if (strcmp(list[v].name, name) == 0) return true;
            if (i == 0) append_name(known, sizeof known, list[v].name);
        }
    }
    return failure_set(failure, "--variant of op %s takes %s, not '%s'", cases->list[0].operation->name, known, name);
}

// --- the product
// -------------------------------------------------------------------------------------------------------

static bool check_case(const bench_case *b, failure *failure) {
    if (b->tokens && b->query_tokens > b->tokens)
        return failure_set(failure, "--query-tokens %u is more than --tokens %u, which counts the new tokens, too",
                           b->query_tokens, b->tokens);
    return true;
}

static bool add_case(bench_cases *out, const bench_case *bench, failure *failure) {
    if (!check_case(bench, failure)) return false;
    if (out->count == BENCH_MOST_CASES)
        return failure_set(failure, "the lists make more than %d cases", BENCH_MOST_CASES);
    out->list[out->count++] = *bench;
    return true;
}

// Value `at` of a list the operation looks at; of another, 0 once and then no more.
static bool take(uint32_t *out, const number_list *list, size_t at, bool used) {
    *out = used && at < list->count ? list->values[at] : 0;
    return at < (used ? list->count : 1);
}

static bool add_numbers(bench_cases *out, bench_case b, const axes *axes, failure *failure) {
    int uses = b.operation->uses;
    for (size_t h = 0; take(&b.heads, &axes->heads, h, uses & BENCH_USES_HEADS); h++)
        for (size_t n = 0; take(&b.tokens, &axes->tokens, n, uses & BENCH_USES_TOKENS); n++)
            for (size_t s = 0; take(&b.batch, &axes->batch, s, true); s++)
                for (size_t q = 0; take(&b.query_tokens, &axes->query_tokens, q, uses & BENCH_USES_QUERIES); q++)
                    for (size_t p = 0; take(&b.page, &axes->page, p, uses & BENCH_USES_PAGE); p++)
                        if (!add_case(out, &b, failure)) return false;
    return true;
}

static bool add_format(bench_cases *out, bench_case b, const char *format, const axes *axes, failure *failure) {
    if (strcmp(format, "all") != 0) return set_format(&b, format, failure) && add_numbers(out, b, axes, failure);
    const char *name;
    for (size_t i = 0; (name = kind_name(b.operation->format, i)) != NULL; i++)
        if (!set_format(&b, name, failure) || !add_numbers(out, b, axes, failure)) return false;
    return true;
}

static bool add_request(bench_cases *out, const bench_request *request, failure *failure) {
    axes axes;
    bool weighs = false;
    if (!read_axes(&axes, request, failure)) return false;
    for (size_t o = 0; o < axes.ops.count; o++) {
        bench_case b = {.variant = request->variant, .latent_dim = request->latent_dim, .rope_dim = request->rope_dim};
        if (request->compute && clmla_compute_parse(&b.compute, request->compute) != CLMLA_OK)
            return failure_set(failure, "--compute: %s", clmla_last_error());
        if (!find_operation(&b.operation, axes.ops.names[o], failure)) return false;
        if (!(b.operation->uses & BENCH_USES_COMPUTE)) b.compute = CLMLA_COMPUTE_EXACT;
        if (b.operation->uses & BENCH_USES_WEIGHTS) b.type = axes.weights, weighs = true;
        for (size_t f = 0; f < (axes.formats.count ? axes.formats.count : 1); f++) {
            const char *format = axes.formats.count ? axes.formats.names[f] : default_format(b.operation->format);
            if (!add_format(out, b, format, &axes, failure)) return false;
        }
    }
    if (request->weights && !weighs)
        return failure_set(failure, "--weights is of layers and prefill, and --op names neither");
    return !request->variant || check_variant(out, request->variant, failure);
}

static bool asks(const bench_request *r) {
    return r->op || r->format || r->heads || r->tokens || r->batch || r->query_tokens || r->page || r->variant ||
           r->compute || r->weights;
}

bool bench_cases_make(bench_cases *out, const bench_request *request, failure *failure) {
    size_t count;
    const bench_request *defaults = bench_default_requests(&count);
    out->count = 0;
    out->seconds = asks(request) ? CASE_SECONDS : DEFAULT_SET_SECONDS;
    out->list = calloc(BENCH_MOST_CASES, sizeof *out->list);
    if (!out->list) return failure_memory(failure);
    if (asks(request)) return add_request(out, request, failure);
    for (size_t i = 0; i < count; i++) {
        bench_request one = defaults[i];
        one.latent_dim = request->latent_dim;
        one.rope_dim = request->rope_dim;
        if (!add_request(out, &one, failure)) return false;
    }
    return true;
}
