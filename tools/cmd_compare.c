// SPDX-License-Identifier: Apache-2.0
// clmla compare: what MLA, and clmla's form of it, is worth beside other attentions on this device.
#include "commands.h"
#include "compare.h"
#include "compare_models.h"
#include "deepseek.h"
#include "options.h"
#include <stdlib.h>
#include <string.h>

typedef struct request {
    const char *device, *attentions, *plot, *compute;
    compare_task task;
    bool json;
    compare_models_request models; // count 0: attentions are compared
} request;

static bool add_model(request *out, const char *folder, failure *failure) {
    if (out->models.count == COMPARE_MOST_MODELS)
        return failure_set(failure, "--models takes up to %d folders", COMPARE_MOST_MODELS);
    if (!*folder) return failure_set(failure, "--models: a folder's name is empty");
    out->models.folders[out->models.count++] = folder;
    return true;
}

// Takes "--models DIR DIR ..." out of the arguments: it alone has more than one value. Answers how many are left in
// `rest`, -1 when that fails.
static int take_models(request *out, char **rest, int argc, char **argv, failure *failure) {
    int left = 0;
    for (int i = 0; i < argc; i++) {
        const char *value = strncmp(argv[i], "--models", 8) == 0 ? argv[i] + 8 : NULL;
        if (!value || (*value && *value != '=')) {
            rest[left++] = argv[i];
            continue;
        }
        if (*value && !add_model(out, value + 1, failure)) return -1;
        while (i + 1 < argc && argv[i + 1][0] != '-')
            if (!add_model(out, argv[++i], failure)) return -1;
        if (out->models.count == 0) return failure_set(failure, "--models needs a value: DIR ..."), -1;
    }
    return left;
}

static options_outcome read_request(request *out, int argc, char **argv, failure *failure) {
    compare_task *t = &out->task;
    compare_shape *s = &t->shape;
    const option table[] = {
        {"--tokens", OPTION_NUMBER, &t->tokens, "N", "cached tokens, the step's own included (16384)", 1, 1 << 22},
        {"--attention", OPTION_TEXT, &out->attentions, "NAME,..", "mha, gqa8, mqa, mla_naive, mla_unfused, mla (all)",
         0, 0},
        {"--heads", OPTION_NUMBER, &s->heads, "N", "query heads (128)", 1, CLMLA_MAX_HEADS},
        {"--nope", OPTION_NUMBER, &s->nope_dim, "N", "dimension of a head's key without MLA's rotary part (128)", 16,
         1024},
        {"--value", OPTION_NUMBER, &s->value_dim, "N", "dimension of a head's value (128)", 16, 1024},
        {"--latent", OPTION_NUMBER, &s->latent_dim, "N", "MLA's latent dimension (512)", 16, 8192},
        {"--rope", OPTION_NUMBER, &s->rope_dim, "N", "MLA's rotary dimension (64); all four: multiples of 16", 0,
         CLMLA_MAX_ROPE_DIM},
        {"--hidden", OPTION_NUMBER, &s->hidden, "N", "width of the layer (5120)", 1, CLMLA_MAX_DIM},
        {"--q-lora", OPTION_NUMBER, &s->q_lora, "N", "MLA's q_lora_rank, 0 = none (1536)", 0, CLMLA_MAX_DIM},
        {"--compute", OPTION_TEXT, &out->compute, "NAME", "of clmla's attention: exact, fast (exact)", 0, 0},
        {"--seconds", OPTION_DECIMAL, &t->effort.seconds, "S", "time for a measurement, at least 5 runs (1)", 0, 3600},
        {"--plot", OPTION_TEXT, &out->plot, "FILE", "time and bytes against context length, as SVG", 0, 0},
        {"--models", OPTION_TEXT, NULL, "DIR ...",
         "instead of all above: whole models, their held-out -log p and tokens/s", 0, 0},
        {"--nll", OPTION_TEXT, &out->models.text, "FILE",
         "with --models: their text (heldout.bin beside the first DIR)", 0, 0},
        {"--segment", OPTION_NUMBER, &out->models.segment, "N",
         "with --models: bytes scored from an empty context (256)", 2, 1 << 24},
        {"--cache", OPTION_TEXT, &out->models.cache, "F",
         "with --models: their row format (f32); without, mla is measured in all of them", 0, 0},
        {"--device", OPTION_TEXT, &out->device, "Q", "cpu, P:D or part of a name", 0, 0},
        {"--json", OPTION_FLAG, &out->json, NULL, "one JSON object on stdout", 0, 0},
    };
    const options known = {
        "compare",
        "One decode step of multi-head, grouped-query and multi-query attention and of MLA in three "
        "forms, at DeepSeek-V2's\ndimensions: bytes of cache, time of attention alone and of the layer "
        "step, and how far results are from double\nprecision. Times are the shortest of the runs.",
        NULL,
        NULL,
        table,
        sizeof table / sizeof table[0]};
    return options_parse(&known, argc, argv, failure);
}

static bool read_attentions(uint32_t *wanted, const char *names, failure *failure) {
    *wanted = names ? 0 : (1u << COMPARE_ATTENTION_COUNT) - 1;
    while (names && *names) {
        size_t length = strcspn(names, ",");
        int found = 0;
        while (found < COMPARE_ATTENTION_COUNT &&
               (strlen(compare_attention_name((compare_attention)found)) != length ||
                strncmp(names, compare_attention_name((compare_attention)found), length)))
            found++;
        if (found == COMPARE_ATTENTION_COUNT)
            return failure_set(failure, "--attention takes mha, gqa8, mqa, mla_naive, mla_unfused and mla, not '%.*s'",
                               (int)length, names);
        *wanted |= 1u << found;
        names += length + (names[length] == ',');
    }
    return *wanted || failure_set(failure, "--attention names none");
}

static bool check_shape(const compare_shape *s, uint32_t wanted, failure *failure) {
    const struct {
        const char *option;
        uint32_t value;
    } dims[] = {
        {"--nope", s->nope_dim}, {"--value", s->value_dim}, {"--latent", s->latent_dim}, {"--rope", s->rope_dim}};
    for (size_t i = 0; i < sizeof dims / sizeof dims[0]; i++)
        if (dims[i].value % 16)
            return failure_set(failure, "%s takes a multiple of 16, not %u", dims[i].option, dims[i].value);
    if ((wanted & 1u << COMPARE_GQA8) && s->heads % 8)
        return failure_set(failure, "gqa8 needs a multiple of 8 heads, not %u: leave it out by --attention", s->heads);
    return true;
}

static bool read_compute(request *request, failure *failure) {
    return !request->compute || clmla_compute_parse(&request->task.compute, request->compute) == CLMLA_OK ||
           failure_library(failure);
}

static bool check_plot(const request *request, failure *failure) {
    return !request->plot || request->task.tokens >= COMPARE_PLOT_TOKENS ||
           failure_set(failure, "--plot needs at least %u tokens", COMPARE_PLOT_TOKENS);
}

static bool compare_attentions(request *request, failure *failure) {
    compare_report report;
    uint32_t wanted;
    session session = {0};
    request->task.session = &session;
    bool done = read_attentions(&wanted, request->attentions, failure) &&
                check_shape(&request->task.shape, wanted, failure) && check_plot(request, failure) &&
                read_compute(request, failure) && session_open(&session, request->device, false, failure);
    FILE *plot = done && request->plot ? fopen(request->plot, "w") : NULL; // before the work: it may not open
    if (done && request->plot && !plot) done = failure_set(failure, "--plot %s: cannot be opened", request->plot);
    done = done && compare_run(&report, &request->task, wanted, failure);
    if (done && request->json)
        done = compare_print_json(&report, failure);
    else if (done)
        compare_print(&report);
    done = done && (!plot || compare_plot(plot, request->plot, &report, &request->task, wanted, failure));
    if (plot && fclose(plot) != 0 && done) done = failure_set(failure, "--plot %s: cannot be written", request->plot);
    session_close(&session);
    return done;
}

// Options of the one kind of comparison that were given to the other.
static bool check_kind(const request *request, int argc, char **argv, failure *failure) {
    static const char *const of_models[] = {"--nll", "--segment", "--cache"};
    static const char *const of_attentions[] = {"--tokens", "--attention", "--heads", "--nope",
                                                "--value",  "--latent",    "--rope",  "--hidden",
                                                "--q-lora", "--seconds",   "--plot"};
    bool models = request->models.count > 0;
    const char *const *names = models ? of_attentions : of_models;
    size_t count = models ? sizeof of_attentions / sizeof *of_attentions : sizeof of_models / sizeof *of_models;
    for (int i = 0; i < argc; i++)
        for (size_t n = 0; n < count; n++)
            if (strncmp(argv[i], names[n], strlen(names[n])) == 0 && strchr("=", argv[i][strlen(names[n])]))
                return failure_set(failure, models ? "%s is not for --models" : "%s is for --models alone", names[n]);
    return true;
}

static bool compare_whole_models(request *request, failure *failure) {
    session session = {0};
    request->models.json = request->json;
    bool done = session_open_own(&session, request->device, false, failure) &&
                compare_models(&request->models, &session, failure);
    session_close(&session);
    return done;
}

int command_compare(int argc, char **argv) {
    failure failure = {0};
    request request = {.task = {.tokens = 16384,
                                .shape = {.heads = DEEPSEEK_V2_HEADS,
                                          .nope_dim = DEEPSEEK_NOPE_DIM,
                                          .value_dim = DEEPSEEK_VALUE_DIM,
                                          .latent_dim = DEEPSEEK_LATENT_DIM,
                                          .rope_dim = DEEPSEEK_ROPE_DIM,
                                          .hidden = DEEPSEEK_V2_HIDDEN,
                                          .q_lora = DEEPSEEK_V2_Q_LORA},
                                .effort = {.seconds = 1.0}},
                       .models = {.cache = "f32", .segment = 256}};
    char **rest = malloc((size_t)(argc + 1) * sizeof *rest);
    if (!rest) return failure_memory(&failure), failure_print(&failure, "compare");
    int left = take_models(&request, rest, argc, argv, &failure);
    options_outcome outcome = left < 0 ? OPTIONS_BAD : read_request(&request, left, rest, &failure);
    if (outcome == OPTIONS_GO && !check_kind(&request, left, rest, &failure)) outcome = OPTIONS_BAD;
    free(rest);
    if (outcome == OPTIONS_HELP) return EXIT_PASS;
    bool done = outcome == OPTIONS_GO && (request.models.count ? compare_whole_models(&request, &failure)
                                                               : compare_attentions(&request, &failure));
    return done ? EXIT_PASS : failure_print(&failure, "compare");
}
