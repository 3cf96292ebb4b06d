// SPDX-License-Identifier: Apache-2.0
// clmla formats: what a cached token costs in each row format, in bytes and in accuracy.
#include "commands.h"
#include "formats_report.h"
#include "options.h"
#include <stdio.h>

typedef struct request {
    const char *device, *reference, *model;
    bool skip_layers, skip_model, json, verbose;
} request;

static options_outcome parse(request *out, int argc, char **argv, failure *failure) {
    *out = (request){.reference = "tests/data", .model = "data/tinylm"};
    const option table[] = {
        {"--device", OPTION_TEXT, &out->device, "Q", "gpu, cpu, P:D or part of a name; see clmla info", 0, 0},
        {"--reference", OPTION_TEXT, &out->reference, "DIR",
         "the folder with the reference cases (tests/data, as seen from the source's root)", 0, 0},
        {"--model", OPTION_TEXT, &out->model, "DIR", "a language model over bytes with its eval.bin (data/tinylm)", 0,
         0},
        {"--skip-layers", OPTION_FLAG, &out->skip_layers, NULL, "no errors of layers, no bars: needs no --reference", 0,
         0},
        {"--skip-model", OPTION_FLAG, &out->skip_model, NULL, "no -log p: needs no --model, and is faster", 0, 0},
        {"--json", OPTION_FLAG, &out->json, NULL, "one JSON object on stdout", 0, 0},
        {"--verbose", OPTION_FLAG, &out->verbose, NULL, "the library's log on stderr", 0, 0},
    };
    const options known = {
        "formats",
        "For each row format: bytes a row and a token of known models, beside multi-head, grouped and multi-query\n"
        "attention of the same shape; the error of the attention output on reference layers, and a language model's\n"
        "mean -log p. Exit code: 0 the size bars are met, 1 one is not, 2 could not run.",
        NULL,
        NULL,
        table,
        sizeof table / sizeof table[0]};
    return options_parse(&known, argc, argv, failure);
}

// A failure to find data says how to name it or go without.
static bool with_advice(bool done, const char *what, const char *folder, const char *option, failure *failure) {
    if (done) return true;
    struct failure cause = *failure;
    return failure_set(failure, "%.600s (%s in %s: give another folder with --%s, or --skip-%s)", cause.sentence, what,
                       folder, option, option[0] == 'r' ? "layers" : "model");
}

static bool measure(formats_report *out, const session *session, const request *request, failure *failure) {
    out->device = clmla_context_facts(session->context)->name;
    if (!request->skip_layers)
        out->has_layers = with_advice(format_errors_of_layers(out->errors, session, request->reference, failure),
                                      "reference cases", request->reference, "reference", failure);
    if (!request->skip_layers && !out->has_layers) return false;
    if (!request->skip_model)
        out->has_model = with_advice(format_errors_of_model(out->errors, session, request->model, failure), "the model",
                                     request->model, "model", failure);
    return request->skip_model || out->has_model;
}

static bool print(const formats_report *report, bool json, failure *failure) {
    if (json) return formats_print_json(report, failure);
    formats_print_text(report);
    return true;
}

int command_formats(int argc, char **argv) {
    request request;
    failure failure = {0};
    session session = {0};
    formats_report report = {0};
    options_outcome outcome = parse(&request, argc, argv, &failure);
    if (outcome == OPTIONS_HELP) return EXIT_PASS;
    bool sizes_alone = request.skip_layers && request.skip_model;
    bool done =
        outcome == OPTIONS_GO && (sizes_alone || (session_open(&session, request.device, request.verbose, &failure) &&
                                                  measure(&report, &session, &request, &failure)));
    done = done && print(&report, request.json, &failure);
    session_close(&session);
    if (!done) return failure_print(&failure, "formats");
    return formats_pass(&report) ? EXIT_PASS : EXIT_DIFFERS;
}
