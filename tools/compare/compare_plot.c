// SPDX-License-Identifier: Apache-2.0
// Two panels side by side over context length, all axes logarithmic: milliseconds of attention, and bytes of cache.
#include "compare.h"
#include "svg.h"
#include <math.h>

#define LENGTHS COMPARE_PLOT_LENGTHS
#define CURVES 8
#define WIDTH 1040
#define HEIGHT 470
#define TOP 80.0
#define BOTTOM 400.0
#define PANEL 370.0
#define LEGEND_LEFT 900.0

typedef struct curve {
    compare_attention attention;
    clmla_row_format format;
    double bytes_per_token;
    double seconds[LENGTHS]; // NaN = not measured
} curve;

typedef struct curves {
    uint32_t lengths[LENGTHS];
    curve list[CURVES];
    size_t count;
} curves;

// The attentions that are not clmla's, clmla's 16-bit rows, and its smallest rows that keep what they say.
static void choose(curves *out, const compare_report *report) {
    const compare_row *small = NULL;
    for (size_t i = 0; i < report->count; i++) {
        const compare_row *row = &report->rows[i];
        if (row->attention == COMPARE_MLA && row->cos_diff < COMPARE_KEPT &&
            (!small || row->bytes_per_token < small->bytes_per_token))
            small = row;
    }
    for (size_t i = 0; i < report->count && out->count < CURVES; i++) {
        const compare_row *row = &report->rows[i];
        if (row->attention == COMPARE_MLA && row->format != CLMLA_ROWS_F16 && row != small) continue;
        curve *curve = &out->list[out->count++];
        *curve = (struct curve){row->attention, row->format, row->bytes_per_token, {0}};
        for (int l = 0; l < LENGTHS; l++) curve->seconds[l] = NAN;
        if (!row->reason[0]) curve->seconds[LENGTHS - 1] = row->attention_seconds;
    }
}

// Attention at the lengths before the last. The naive form takes seconds and keeps its one point.
static bool measure(curves *out, const compare_task *task, uint32_t wanted, failure *failure) {
    compare_task shorter = *task;
    shorter.attention_alone = true;
    shorter.effort.seconds = 0.3 * task->effort.seconds;
    shorter.formats = 1u << CLMLA_ROWS_F16;
    for (size_t c = 0; c < out->count; c++)
        if (out->list[c].attention == COMPARE_MLA) shorter.formats |= 1u << out->list[c].format;
    for (int l = 0; l < LENGTHS - 1; l++) {
        compare_report report;
        shorter.tokens = out->lengths[l];
        if (!compare_run(&report, &shorter, wanted & ~(1u << COMPARE_MLA_NAIVE), failure)) return false;
        for (size_t c = 0; c < out->count; c++) {
            const compare_row *row = compare_find(&report, out->list[c].attention, out->list[c].format);
            if (row && !row->reason[0]) out->list[c].seconds[l] = row->attention_seconds;
        }
    }
    return true;
}

// --- the picture
// -------------------------------------------------------------------------------------------------

// One panel: logarithms of what its edges stand for.
typedef struct panel {
    double left; // pixels
    double first, last, bottom, top;
} panel;

static double across(const panel *p, double tokens) {
    return p->left + (p->last > p->first ? (log2(tokens) - p->first) / (p->last - p->first) * PANEL : 0.5 * PANEL);
}

static double upwards(const panel *p, double value) {
    return BOTTOM - (log10(value) - p->bottom) / (p->top - p->bottom) * (BOTTOM - TOP);
}

static double value_at(const curves *all, const curve *curve, bool bytes, int l) {
    return bytes ? curve->bytes_per_token * all->lengths[l] : curve->seconds[l] * 1e3;
}

static panel fit(const curves *all, double left, bool bytes) {
    double low = INFINITY, high = 0.0;
    for (size_t c = 0; c < all->count; c++)
        for (int l = 0; l < LENGTHS; l++) {
            double value = value_at(all, &all->list[c], bytes, l);
            low = fmin(low, value); // NaN is passed over
            high = fmax(high, value);
        }
    if (high == 0.0) low = high = 1.0; // nothing was run
    panel p = {left, log2(all->lengths[0]), log2(all->lengths[LENGTHS - 1]), floor(log10(low)), ceil(log10(high))};
    if (p.top <= p.bottom) p.top = p.bottom + 1.0;
    return p;
}

static void name_value(char *label, size_t size, double value, bool bytes) {
    if (!bytes || value < 1e3)
        snprintf(label, size, bytes ? "%g B" : "%g", value);
    else
        snprintf(label, size,
                 value < 1e6   ? "%g kB"
                 : value < 1e9 ? "%g MB"
                               : "%g GB",
                 value / (value < 1e6   ? 1e3
                          : value < 1e9 ? 1e6
                                        : 1e9));
}

static void put_axes(FILE *out, const panel *p, const curves *all, bool bytes) {
    char label[32];
    for (double power = p->bottom; power <= p->top; power += 1.0) {
        double value = pow(10.0, power), y = upwards(p, value);
        name_value(label, sizeof label, value, bytes);
        svg_line(out, "grid", p->left, y, p->left + PANEL, y);
        svg_label(out, p->left - 8, y + 4, "end", 0.0, label);
    }
    for (int l = 0; l < LENGTHS; l++) {
        double x = across(p, all->lengths[l]);
        snprintf(label, sizeof label, "%u", all->lengths[l]);
        svg_line(out, "grid", x, TOP, x, BOTTOM);
        svg_label(out, x, BOTTOM + 18, "middle", 0.0, label);
    }
    svg_line(out, "axis", p->left, BOTTOM, p->left + PANEL, BOTTOM);
    svg_line(out, "axis", p->left, TOP, p->left, BOTTOM);
    svg_label(out, p->left + 0.5 * PANEL, BOTTOM + 42, "middle", 0.0, "cached tokens");
    svg_label(out, p->left, TOP - 12, "start", 0.0,
              bytes ? "cache of one layer" : "attention of one layer, one token: milliseconds");
}

static void put_curve(FILE *out, const panel *p, const curves *all, size_t index, bool bytes) {
    const curve *curve = &all->list[index];
    bool started = false;
    fprintf(out, "<path class=\"curve\" stroke=\"%s\" d=\"", svg_colour(index));
    for (int l = 0; l < LENGTHS; l++) {
        double value = value_at(all, curve, bytes, l);
        if (!isfinite(value)) continue;
        fprintf(out, "%c%.1f %.1f", started ? 'L' : 'M', across(p, all->lengths[l]), upwards(p, value));
        started = true;
    }
    fputs("\"/>\n", out);
    for (int l = 0; l < LENGTHS; l++) {
        double value = value_at(all, curve, bytes, l);
        if (!isfinite(value)) continue;
        svg_mark(out, "mark", index, across(p, all->lengths[l]), upwards(p, value));
        fprintf(out, "<title>%s %s, %u tokens: %.4g %s</title></path>\n", compare_attention_name(curve->attention),
                clmla_row_format_name(curve->format), all->lengths[l], value, bytes ? "bytes" : "ms");
    }
}

static void put_legend(FILE *out, const curves *all) {
    for (size_t c = 0; c < all->count; c++) {
        char label[64];
        double y = TOP + 10.0 + 22.0 * (double)c;
        snprintf(label, sizeof label, "%s %s", compare_attention_name(all->list[c].attention),
                 clmla_row_format_name(all->list[c].format));
        svg_mark(out, "mark", c, LEGEND_LEFT, y);
        fputs("</path>\n", out);
        svg_label(out, LEGEND_LEFT + 14, y + 4, "start", 0.0, label);
    }
}

static void put_title(FILE *out, const compare_report *report) {
    char title[384];
    const compare_shape *s = &report->shape;
    snprintf(title, sizeof title, "clmla %s on %s", clmla_version(), report->device);
    fputs("<g class=\"title\">\n", out);
    svg_label(out, 60, 30, "start", 0.0, title);
    fputs("</g>\n", out);
    snprintf(title, sizeof title, "%u heads; keys and values of %u and %u, MLA: latent %u, rotary %u", s->heads,
             s->nope_dim, s->value_dim, s->latent_dim, s->rope_dim);
    svg_label(out, 60, 50, "start", 0.0, title);
}

bool compare_plot(FILE *out, const char *path, const compare_report *report, const compare_task *task, uint32_t wanted,
                  failure *failure) {
    curves all = {0};
    for (int l = 0; l < LENGTHS; l++) all.lengths[l] = report->tokens >> (LENGTHS - 1 - l);
    choose(&all, report);
    if (!measure(&all, task, wanted, failure)) return false;
    svg_begin(out, WIDTH, HEIGHT, ".curve{fill:none;stroke-width:2}.mark{stroke:#fff;stroke-width:.7}");
    put_title(out, report);
    for (int bytes = 0; bytes <= 1; bytes++) {
        panel p = fit(&all, bytes ? 510.0 : 60.0, bytes);
        put_axes(out, &p, &all, bytes);
        for (size_t c = 0; c < all.count; c++) put_curve(out, &p, &all, c, bytes);
    }
    put_legend(out, &all);
    svg_end(out);
    if (fflush(out) == 0 && !ferror(out)) return true;
    return failure_set(failure, "--plot %s: cannot be written", path);
}
