// SPDX-License-Identifier: Apache-2.0
// clmla bench: operations and layer steps timed on a device, beside what the device can do at most.
#include "bench.h"
#include "commands.h"
#include "deepseek.h"
#include "json_input.h"
#include "options.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct arguments {
    const char *device, *plot;
    uint32_t vector_width, group_items;
    bench_request request;
    bench_effort effort;
    bool json, profile;
} arguments;

static options_outcome read_arguments(arguments *out, int argc, char **argv, failure *failure) {
    bench_request *r = &out->request;
    const option table[] = {
        {"--op", OPTION_TEXT, &r->op, "NAME,..",
         "attend, attend_mixed, project, absorb, output, append, gather, attend_heads, merge, layer, "
         "layer_replayed, prefill, prefill_absorbed, prefill_reconstructed (attend)",
         0, 0},
        {"--format", OPTION_TEXT, &r->format, "NAME,..",
         "of cached rows (--cache of other commands), of weights or of states, or all", 0, 0},
        {"--heads", OPTION_TEXT, &r->heads, "N,..", "query heads (128)", 0, 0},
        {"--tokens", OPTION_TEXT, &r->tokens, "N,..", "cached tokens of a sequence, new ones included (4096)", 0, 0},
        {"--batch", OPTION_TEXT, &r->batch, "N,..", "sequences (1)", 0, 0},
        {"--query-tokens", OPTION_TEXT, &r->query_tokens, "N,..", "new tokens of a sequence (1)", 0, 0},
        {"--page", OPTION_TEXT, &r->page, "N,..", "tokens a page; 0 = contiguous (64)", 0, 0},
        {"--variant", OPTION_TEXT, &r->variant, "NAME",
         "kernel variant, as clmla info names them (some need --compute fast); default: the library's choice", 0, 0},
        {"--weights", OPTION_TEXT, &r->weights, "NAME", "of a layer or prefill: f32, f16, bf16 (bf16)", 0, 0},
        {"--compute", OPTION_TEXT, &r->compute, "NAME", "of attention: exact, fast (exact)", 0, 0},
        {"--latent", OPTION_NUMBER, &r->latent_dim, "N", "latent elements of a row (512)", 1, 8192},
        {"--rope", OPTION_NUMBER, &r->rope_dim, "N", "rotary elements of a row (64)", 0, CLMLA_MAX_ROPE_DIM},
        {"--repeat", OPTION_NUMBER, &out->effort.repeat, "N", "runs of a case, instead of --seconds", 1,
         BENCH_MOST_RUNS},
        {"--seconds", OPTION_DECIMAL, &out->effort.seconds, "S",
         "time for a case, at least 5 runs (0.5; of the default set 0.2)", 0, 3600},
        {"--vector-width", OPTION_NUMBER, &out->vector_width, "N",
         "floats in a vector of kernels for CPUs: 4, 8, 16; 0 = the device's own", 0, 16},
        {"--group", OPTION_NUMBER, &out->group_items, "N",
         "work-items in a group of the kernels called group: 32, 64, 128, 256; 0 = the library's choice", 0, 256},
        {"--device", OPTION_TEXT, &out->device, "Q", "gpu, cpu, P:D or part of a name", 0, 0},
        {"--plot", OPTION_TEXT, &out->plot, "FILE", "the roofline with the cases on it, as SVG", 0, 0},
        {"--profile", OPTION_FLAG, &out->profile, NULL, "of layer: each kernel of a step, on the device's clock", 0, 0},
        {"--json", OPTION_FLAG, &out->json, NULL, "one JSON object on stdout", 0, 0},
    };
    const options known = {"bench",
                           "Times operations and layer steps beside the device's own limits. Without an operation or a "
                           "shape: a default set,\n0.2 seconds a case, which takes up to five minutes once programs "
                           "are compiled.",
                           NULL,
                           NULL,
                           table,
                           sizeof table / sizeof table[0]};
    return options_parse(&known, argc, argv, failure);
}

// Why a case did not run, with the case's name before it.
static bool name_case(failure *failure, const bench_entry *entry) {
    const bench_case *b = &entry->bench;
    return failure_set(failure, "%s %s, heads %u, tokens %u, batch %u, query-tokens %u, page %u: %s",
                       b->operation->name, bench_format_name(b), b->heads, b->tokens, b->batch, b->query_tokens,
                       b->page, entry->reason.sentence);
}

// One that cannot run is an entry with the reason: others may well run. Answers whether it ran.
static bool run_case(bench_report *report, const session *session, const bench_case *bench,
                     const bench_effort *effort) {
    bench_entry *entry = &report->entries[report->count++];
    entry->bench = *bench;
    entry->ran = bench->operation->measure(&entry->result, session, bench, effort, &entry->reason);
    if (entry->ran) return true;
    entry->result = (bench_result){0};
    for (char *c = entry->reason.sentence; *c; c++) // it stands in a row of a table
        if (*c == '\n' || *c == '\r') *c = ' ';
    return false;
}

// Before the work: a path that cannot be written would throw it away.
static bool check_plot(const char *path, failure *failure) {
    struct failure why;
    return !path || file_can_be_written(path, &why) || failure_set(failure, "--plot %s", why.sentence);
}

static bool save_plot(const bench_report *report, const char *path, failure *failure) {
    FILE *plot = fopen(path, "w");
    if (!plot) return failure_set(failure, "--plot %s: cannot be opened", path);
    bool done = bench_plot(plot, path, report, failure);
    if (fclose(plot) != 0 && done) done = failure_set(failure, "--plot %s: cannot be written", path);
    return done;
}

static bool same_but_compute(const bench_case *a, const bench_case *b) {
    return a->operation == b->operation && a->variant == b->variant && a->rows == b->rows && a->type == b->type &&
           a->heads == b->heads && a->tokens == b->tokens && a->batch == b->batch &&
           a->query_tokens == b->query_tokens && a->page == b->page && a->latent_dim == b->latent_dim &&
           a->rope_dim == b->rope_dim;
}

// Whether fast compute of a case is what an exact one before it was: its plan chooses the same kernel.
static bool is_measured(const bench_report *report, const session *session, const bench_case *bench) {
    char variant[sizeof report->entries[0].result.variant];
    failure ignored; // what cannot be planned says so when it is run
    if (bench->compute == CLMLA_COMPUTE_EXACT) return false;
    for (size_t i = 0; i < report->count; i++) {
        const bench_entry *e = &report->entries[i];
        if (!e->ran || e->bench.compute != CLMLA_COMPUTE_EXACT || !same_but_compute(&e->bench, bench)) continue;
        return bench_attend_variant(variant, sizeof variant, session, bench, &ignored) &&
               strcmp(variant, e->result.variant) == 0;
    }
    return false;
}

// Who asks for a quick look at cases gets one at the limits.
static double limit_seconds(const bench_effort *asked) {
    if (asked->repeat) return asked->repeat < BENCH_LEAST_RUNS ? 0.1 * BENCH_LIMIT_SECONDS : BENCH_LIMIT_SECONDS;
    return asked->seconds > 0.0 && asked->seconds < BENCH_LIMIT_SECONDS ? asked->seconds : BENCH_LIMIT_SECONDS;
}

static bool run_cases(bench_report *report, const session *session, const bench_cases *cases,
                      const arguments *arguments, failure *failure) {
    bool any = false;
    bench_effort effort = arguments->effort;
    if (effort.seconds == 0.0) effort.seconds = cases->seconds;
    if (!bench_limits_measure(&report->limits, session, limit_seconds(&arguments->effort), failure)) return false;
    if (!arguments->json) bench_print_head(report);
    for (size_t i = 0; i < cases->count; i++) {
        if (is_measured(report, session, &cases->list[i])) continue;
        any |= run_case(report, session, &cases->list[i], &effort);
        if (!arguments->json) bench_print_row(report, &report->entries[report->count - 1]);
    }
    if (!any) return name_case(failure, &report->entries[0]);
    if (!arguments->json) bench_print_foot();
    if (arguments->json && !bench_print_json(report, failure)) return false;
    return !arguments->plot || save_plot(report, arguments->plot, failure);
}

// What the library makes of a CPU's own width.
static uint32_t vector_width(const clmla_device_facts *facts) {
    if (!(facts->type & CL_DEVICE_TYPE_CPU)) return 0;
    return facts->float_vector_width >= 16 ? 16 : facts->float_vector_width == 4 ? 4 : 8;
}

static bool open_device(session *session, bench_report *report, const arguments *arguments, failure *failure) {
    const clmla_profile profile = bench_profile_callback(arguments->effort.profile);
    if (!session_open_sized(session, arguments->device, arguments->vector_width, arguments->group_items,
                            arguments->effort.profile ? &profile : NULL, failure))
        return false;
    const clmla_device_facts *facts = clmla_context_facts(session->context);
    report->device = facts->name;
    report->vector_width = vector_width(facts);
    if (!facts->is_interpreter) return true;
    return failure_set(failure, "the device \"%s\" interprets kernels: their times say nothing", facts->name);
}

// Opens what --profile asks for.
static bool open_profile(bench_effort *effort, const bench_cases *cases, failure *failure) {
    bool layer = false;
    for (size_t i = 0; i < cases->count; i++) layer |= cases->list[i].operation->measure == bench_layer;
    if (!layer) return failure_set(failure, "--profile is of layer, and no case is one");
    effort->profile = bench_profile_create();
    return effort->profile || failure_memory(failure);
}

static bool bench(arguments *arguments, failure *failure) {
    bench_cases cases = {0};
    bench_report report = {0};
    session session = {0};
    bool done = bench_cases_make(&cases, &arguments->request, failure);
    report.entries = calloc(cases.count + 1, sizeof *report.entries);
    if (done && !report.entries) done = failure_memory(failure);
    if (done && arguments->profile) done = open_profile(&arguments->effort, &cases, failure);
    done = done && open_device(&session, &report, arguments, failure) && check_plot(arguments->plot, failure) &&
           run_cases(&report, &session, &cases, arguments, failure);
    session_close(&session);
    bench_profile_destroy(&arguments->effort.profile);
    free(report.entries);
    free(cases.list);
    return done;
}

int command_bench(int argc, char **argv) {
    failure failure = {0};
    arguments arguments = {.request = {.latent_dim = DEEPSEEK_LATENT_DIM, .rope_dim = DEEPSEEK_ROPE_DIM}};
    options_outcome outcome = read_arguments(&arguments, argc, argv, &failure);
    if (outcome == OPTIONS_HELP) return EXIT_PASS;
    return outcome == OPTIONS_GO && bench(&arguments, &failure) ? EXIT_PASS : failure_print(&failure, "bench");
}
