// SPDX-License-Identifier: Apache-2.0
// The roofline picture (Williams, Waterman, Patterson 2009) as SVG: work for each byte moved across, rate upwards, both
// logarithmic; the device's limits as lines, a mark for each case. A mark's distance below the line above it is what is
// left to gain.
#include "bench.h"
#include "svg.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define WIDTH 1000
#define HEIGHT 620
#define LEFT 80.0
#define RIGHT 770.0
#define TOP 60.0
#define BOTTOM 540.0

// Logarithms of what the edges stand for.
typedef struct frame {
    double left, right, bottom, top;
} frame;

static double across(const frame *f, double intensity) {
    return LEFT + (log10(intensity) - f->left) / (f->right - f->left) * (RIGHT - LEFT);
}

static double upwards(const frame *f, double rate) {
    return BOTTOM - (log10(rate) - f->bottom) / (f->top - f->bottom) * (BOTTOM - TOP);
}

// --- frame
// -------------------------------------------------------------------------------------------------------------

// A case's place. One without arithmetic goes to the left edge, where its bytes stand below the read line as they do
// anywhere on it.
static void place(double *intensity, double *rate, const bench_report *report, const bench_entry *entry, double edge) {
    bench_rates rates = bench_rates_of(&report->limits, &entry->result);
    bool computes = rates.gflops > 0.0;
    *intensity = computes ? rates.gflops / rates.cache_gbps : edge;
    *rate = computes ? rates.gflops : edge * rates.cache_gbps;
}

// The greatest 1, 2 or 5 times a power of ten that is at most `value`; with up, the least that is at least it.
static double rounded(double value, bool up) {
    static const double steps[] = {1.0, 2.0, 5.0, 10.0};
    double decade = pow(10.0, floor(log10(value)));
    for (int i = 0; i < 3; i++)
        if (value <= decade * steps[i + 1] * (1.0 - 1e-9))
            return decade * steps[up && value > decade * steps[i] ? i + 1 : i];
    return decade * 10.0;
}

static void widen(double *least, double *most, double value) {
    if (value < *least) *least = value;
    if (value > *most) *most = value;
}

static double highest(const bench_limits *l) {
    return fmax(fmax(l->fma.rate, l->int16_dot.rate), fmax(l->bf16_dot.rate, l->int8_dot.rate));
}

static frame fit(const bench_report *report, double *edge) {
    const bench_limits *l = &report->limits;
    double ridge = l->fma.rate / l->read.rate, left = ridge / 10.0, right = ridge * 10.0;
    for (size_t i = 0; i < report->count; i++) {
        const bench_result *r = &report->entries[i].result; // of a case that did not run: zeros
        if (r->flops > 0.0) widen(&left, &right, r->flops / r->bytes);
    }
    *edge = left = rounded(left / 1.3, false);
    double low = l->read.rate * left, high = l->fma.rate;
    widen(&low, &high, highest(l));
    for (size_t i = 0; i < report->count; i++) {
        double intensity, rate;
        if (!report->entries[i].ran) continue;
        place(&intensity, &rate, report, &report->entries[i], left);
        widen(&low, &high, rate);
    }
    return (frame){log10(left), log10(rounded(right * 1.3, true)), log10(rounded(low / 1.3, false)),
                   log10(rounded(high * 1.3, true))};
}

// --- the picture
// -------------------------------------------------------------------------------------------------------

static void put_head(FILE *out, const bench_report *report) {
    char title[320];
    svg_begin(out, WIDTH, HEIGHT,
              ".limit{stroke:#222;stroke-width:2}.other{stroke:#666;stroke-dasharray:6 4}"
              ".mark,.key{fill-opacity:.75;stroke:#fff;stroke-width:.7}");
    snprintf(title, sizeof title, "clmla %s on %s", clmla_version(), report->device);
    fprintf(out, "<g class=\"title\">\n");
    svg_label(out, LEFT, 30, "start", 0.0, title);
    fputs("</g>\n", out);
}

// The next 1, 2 or 5 times a power of ten.
static double next_tick(double tick) {
    return rounded(tick * 1.5, true);
}

static void put_ticks(FILE *out, const frame *f) {
    char label[32];
    for (double v = pow(10.0, f->left); log10(v) < f->right + 1e-6; v = next_tick(v)) {
        snprintf(label, sizeof label, "%g", v);
        svg_line(out, "grid", across(f, v), TOP, across(f, v), BOTTOM);
        svg_label(out, across(f, v), BOTTOM + 18, "middle", 0.0, label);
    }
    for (double v = pow(10.0, f->bottom); log10(v) < f->top + 1e-6; v = next_tick(v)) {
        snprintf(label, sizeof label, "%g", v);
        svg_line(out, "grid", LEFT, upwards(f, v), RIGHT, upwards(f, v));
        svg_label(out, LEFT - 8, upwards(f, v) + 4, "end", 0.0, label);
    }
}

static void put_axes(FILE *out, const frame *f) {
    put_ticks(out, f);
    svg_line(out, "axis", LEFT, BOTTOM, RIGHT, BOTTOM);
    svg_line(out, "axis", LEFT, TOP, LEFT, BOTTOM);
    svg_label(out, 0.5 * (LEFT + RIGHT), BOTTOM + 45, "middle", 0.0,
              "floating-point operations for each byte of rows, weights or states");
    svg_label(out, 22, 0.5 * (TOP + BOTTOM), "middle", -90.0, "GFLOP/s");
}

static void put_ceiling(FILE *out, const frame *f, const bench_limits *limits, const bench_limit *limit,
                        const char *class, const char *name, const char *unit) {
    char label[64];
    if (limit->rate <= 0.0) return;
    double y = upwards(f, limit->rate), ridge = across(f, limit->rate / limits->read.rate);
    svg_line(out, class, ridge < RIGHT ? fmax(ridge, LEFT) : RIGHT, y, RIGHT, y);
    snprintf(label, sizeof label, "%s %.0f %s", name, limit->rate, unit);
    svg_label(out, RIGHT + 8, y + 4, "start", 0.0, label);
}

static void put_limits(FILE *out, const frame *f, const bench_limits *limits) {
    char label[64];
    double read = limits->read.rate, left = pow(10.0, f->left);
    double end = fmin(highest(limits) / read, pow(10.0, f->right));
    double x1 = across(f, left), y1 = upwards(f, left * read), x2 = across(f, end), y2 = upwards(f, end * read);
    svg_line(out, "limit", x1, y1, x2, y2);
    snprintf(label, sizeof label, "read %.1f GB/s", read);
    double slope = (y2 - y1) / (x2 - x1), x = x1 + 0.3 * (x2 - x1);
    svg_label(out, x, y1 + slope * (x - x1) - 8, "middle", atan(slope) * 57.29578, label);
    put_ceiling(out, f, limits, &limits->fma, "limit", "f32 multiply-add", "GFLOP/s");
    put_ceiling(out, f, limits, &limits->int16_dot, "other", "int16 dot", "GOP/s");
    put_ceiling(out, f, limits, &limits->bf16_dot, "other", "bf16 dot", "GFLOP/s");
    put_ceiling(out, f, limits, &limits->int8_dot, "other", "int8 dot", "GOP/s");
}

static size_t operation_index(const bench_case *b) {
    size_t count;
    return (size_t)(b->operation - bench_operations(&count));
}

static void put_cases(FILE *out, const frame *f, const bench_report *report, double edge) {
    for (size_t i = 0; i < report->count; i++) {
        const bench_entry *e = &report->entries[i];
        const bench_case *b = &e->bench;
        char note[256];
        double intensity, rate;
        if (!e->ran) continue;
        bench_rates rates = bench_rates_of(&report->limits, &e->result);
        place(&intensity, &rate, report, e, edge);
        svg_mark(out, "mark", operation_index(b), across(f, intensity), upwards(f, rate));
        snprintf(note, sizeof note,
                 "%s %s %s, heads %u, tokens %u, batch %u, query tokens %u, page %u: %.4f ms, %.1f GFLOP/s, %.2f GB/s",
                 b->operation->name, e->result.variant, bench_format_name(b), b->heads, b->tokens, b->batch,
                 b->query_tokens, b->page, e->result.times.minimum * 1e3, rates.gflops, rates.cache_gbps);
        fputs("<title>", out);
        svg_text(out, note);
        fputs("</title></path>\n", out);
    }
}

static void put_legend(FILE *out, const bench_report *report) {
    size_t operations;
    const bench_operation *all = bench_operations(&operations);
    double y = BOTTOM - 18.0 * (double)operations - 10.0;
    bool still = false;
    for (size_t o = 0; o < operations; o++) {
        unsigned count = 0;
        char label[64];
        for (size_t i = 0; i < report->count; i++) {
            const bench_entry *e = &report->entries[i];
            count += e->ran && e->bench.operation == &all[o];
            still = still || (e->ran && e->result.flops == 0.0);
        }
        if (count == 0) continue;
        svg_mark(out, "key", o, RIGHT + 22, y);
        fputs("</path>\n", out);
        snprintf(label, sizeof label, "%s (%u)", all[o].name, count);
        svg_label(out, RIGHT + 36, y + 4, "start", 0.0, label);
        y += 18;
    }
    if (still) svg_label(out, RIGHT, BOTTOM + 45, "start", 0.0, "at the left edge: no arithmetic");
}

bool bench_plot(FILE *out, const char *path, const bench_report *report, failure *failure) {
    double edge;
    frame f = fit(report, &edge);
    put_head(out, report);
    put_axes(out, &f);
    put_limits(out, &f, &report->limits);
    put_cases(out, &f, report, edge);
    put_legend(out, report);
    svg_end(out);
    if (fflush(out) == 0 && !ferror(out)) return true;
    return failure_set(failure, "--plot %s: cannot be written", path);
}
