// SPDX-License-Identifier: Apache-2.0
// clmla compare: what MLA, and clmla's form of it, is worth beside other attentions on this device.
#include "commands.h"
#include "compare.h"
#include "options.h"
#include <string.h>

typedef struct request {
    const char *device, *attentions;
    compare_task task;
    bool json;
} request;

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
        {"--seconds", OPTION_DECIMAL, &t->effort.seconds, "S", "time for a measurement, at least 5 runs (1)", 0, 3600},
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

int command_compare(int argc, char **argv) {
    failure failure = {0};
    session session = {0};
    compare_report report;
    uint32_t wanted;
    request request = {.task = {.tokens = 16384,
                                .shape = {.heads = 128,
                                          .nope_dim = 128,
                                          .value_dim = 128,
                                          .latent_dim = 512,
                                          .rope_dim = 64,
                                          .hidden = 5120,
                                          .q_lora = 1536},
                                .effort = {.seconds = 1.0}}};
    options_outcome outcome = read_request(&request, argc, argv, &failure);
    if (outcome == OPTIONS_HELP) return EXIT_PASS;
    request.task.session = &session;
    bool done = outcome == OPTIONS_GO && read_attentions(&wanted, request.attentions, &failure) &&
                check_shape(&request.task.shape, wanted, &failure) &&
                session_open(&session, request.device, false, &failure) &&
                compare_run(&report, &request.task, wanted, &failure);
    if (done && request.json)
        done = compare_print_json(&report, &failure);
    else if (done)
        compare_print(&report);
    session_close(&session);
    return done ? EXIT_PASS : failure_print(&failure, "compare");
}
