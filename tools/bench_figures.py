#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures attention and the rest of a step with clmla bench on this machine and writes the tables into docs/bench.md, between the
markers of MACHINE.

    tools/bench_figures.py MACHINE [CLMLA [OPTION ...]]     MACHINE: avx2, avx512, avx512_halves; default: build/tools/clmla; options go to clmla bench

Run it on a machine that does nothing else (ten minutes): what it writes beside the figures says whether that was so.
"""
import json
import subprocess
import sys

import figures

BEGIN, END = '<!-- bench {}: made by tools/bench_figures.py -->', '<!-- bench {}: end -->'  # of a machine
FORMATS = ('f32', 'f16', 'bf16', 'fp8', 'fp8_flat', 'fp8_paged', 'q8', 'q6', 'q5', 'q4')
HEADS = (16, 128)
TOKENS = (4096, 16384)
SHAPES = (  # what a row of the second table says, and its options
    *((f'{n} heads', ('--heads', n)) for n in (1, 2, 4, 8, 12, 20, 40, 64)),
    *((f'{n} heads, 131,072 tokens', ('--heads', n, '--tokens', 131072)) for n in (1, 2, 4)),
    *((f'{n} heads, 65,536 tokens', ('--heads', n, '--tokens', 65536)) for n in HEADS),
    *((f'{n} heads, {t} new tokens', ('--heads', n, '--query-tokens', t)) for n in HEADS for t in (2, 4, 8)),
    *((f'16 heads, pages of {p}' if p else '16 heads, one page', ('--heads', 16, '--page', p)) for p in (0, 1, 16)),
    *((f'{n} heads, 64 sequences of up to 4,096', ('--heads', n, '--batch', 64, '--op', 'attend_mixed')) for n in HEADS),
)
PARTS = ('project', 'absorb', 'output')
BATCHES = (1, 2, 4, 8, 64)
DOTS = (('int16_dot_gops', 'GOP/s', '16-bit dot products'), ('bf16_dot_gflops', 'GFLOP/s', 'bf16 dot products'),
        ('int8_dot_gops', 'GOP/s', '8-bit dot products'))
LAYERS = ('layer', 'layer_replayed')
LAYER_TOKENS = (1024, 4096, 16384)
LAYER_BATCHES = (1, 8)
LAYER_WEIGHTS = ('f16', 'bf16')
PROFILED = ((1, 4096), (8, 1024), (8, 4096))  # sequences, tokens


def share(value):
    return f'{value:.2f}'


class Bench:
    def __init__(self, clmla, options):
        self.command, self.options, self.limits, self.device = clmla, options, [], ''

    def cases(self, *arguments):
        command = [self.command, 'bench', '--json', *map(str, arguments), *self.options]
        answer = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        self.limits.append(answer['limits'])
        self.device = answer['device']
        for case in answer['cases']:
            if case['reason'] is not None:
                sys.exit(f'tools/bench_figures.py: {case["op"]} {case["format"]} did not run: {case["reason"]}')
        return answer['cases']


def format_table(bench):
    """Of the f32 multiply-add limit, exact and fast."""
    head = [f'{n} heads, {t:,}' for n in HEADS for t in TOKENS]
    lines = ['| rows | ' + ' | '.join(head) + ' | in fast compute | ' + ' | '.join(head) + ' |', '| --- |' + ' --- |' * (2 * len(head) + 1)]
    for name in FORMATS:
        asked = ('--op', 'attend', '--format', name, '--heads', ','.join(map(str, HEADS)), '--tokens', ','.join(map(str, TOKENS)))
        exact = bench.cases(*asked)
        fast = bench.cases(*asked, '--compute', 'fast')
        variants = ', '.join(dict.fromkeys(case['variant'] for case in fast))
        same = all(case['variant'] == exact[0]['variant'] for case in fast)
        cells = [share(case['fraction_of_fma']) for case in exact] + ['the same' if same else variants]
        cells += ['' if same else share(case['fraction_of_fma']) for case in fast]
        lines.append('| ' + ' | '.join((name, *cells)) + ' |')
    return lines


def shape_table(bench):
    lines = ['| f16 rows | ms | GFLOP/s | of the multiply-adds | of the reads |', '| --- | --- | --- | --- | --- |']
    for name, asked in SHAPES:
        case = bench.cases(*(() if '--op' in asked else ('--op', 'attend')), '--format', 'f16', *asked)[0]
        lines.append(f'| {name} | {case["seconds_min"] * 1e3:,.2f} | {case["gflops"]:.0f} | {share(case["fraction_of_fma"])} | '
                     f'{share(case["fraction_of_read"])} |')
    return lines


def part_table(bench):
    """Of the rate of reads, and of multiply-adds."""
    lines = ['| bf16 weights | heads | ' + ' | '.join(f'{n} token{"s" * (n > 1)}' for n in BATCHES) + ' |', '| --- |' + ' --- |' * (len(BATCHES) + 1)]
    for part in PARTS:
        for heads in HEADS:
            cases = bench.cases('--op', part, '--format', 'bf16', '--heads', heads, '--batch', ','.join(map(str, BATCHES)))
            cells = (f'{share(case["fraction_of_read"])} / {share(case["fraction_of_fma"])}' for case in cases)
            lines.append(f'| {part} | {heads} | ' + ' | '.join(cells) + ' |')
    return lines


def layer_table(bench):
    """Over the sum of the operations' limits: enqueued / replayed."""
    head = [f'{batch} of {tokens:,}' for batch in LAYER_BATCHES for tokens in LAYER_TOKENS]
    lines = ['| weights | heads | ' + ' | '.join(head) + ' |', '| --- |' + ' --- |' * (len(head) + 1)]
    for weights in LAYER_WEIGHTS:
        for heads in HEADS:
            cases = bench.cases('--op', ','.join(LAYERS), '--weights', weights, '--heads', heads, '--tokens', ','.join(map(str, LAYER_TOKENS)),
                                '--batch', ','.join(map(str, LAYER_BATCHES)))
            times = {(case['op'], case['batch'], case['tokens']): share(case['times_limit']) for case in cases}
            cells = (' / '.join(times[op, batch, tokens] for op in LAYERS) for batch in LAYER_BATCHES for tokens in LAYER_TOKENS)
            lines.append(f'| {weights} | {heads} | ' + ' | '.join(cells) + ' |')
    return lines


def launch_lines(bench, heads):
    """A line for each launch of a step: milliseconds on the device's clock and, where its work is counted, the time over its limit."""
    cases = [bench.cases('--op', 'layer', '--weights', 'bf16', '--heads', heads, '--tokens', tokens, '--batch', batch, '--profile')[0]
             for batch, tokens in PROFILED]
    for same in zip(*(case['launches'] for case in cases), strict=True):
        cells = [f'{launch["seconds_min"] * 1e3:,.3f}' + (f', {share(launch["seconds_min"] / launch["limit_seconds"])}' if launch['limit_seconds'] else '')
                 for launch in same]
        yield f'| {heads} | {same[0]["operation"]} | ' + ' | '.join(cells) + ' |'
    yield f'| {heads} | between them | ' + ' | '.join(f'{case["seconds_between"] * 1e3:,.3f}' for case in cases) + ' |'


def launch_table(bench):
    lines = ['| heads | kernel of | ' + ' | '.join(f'{batch} of {tokens:,}' for batch, tokens in PROFILED) + ' |', '| --- | --- |' + ' --- |' * len(PROFILED)]
    for heads in HEADS:
        lines += launch_lines(bench, heads)
    return lines


def limits(bench):
    """The largest of all runs: what the device can do does not change between them, but others' use of it does."""
    most = {name: max(run[name] for run in bench.limits) for name in bench.limits[0]}
    dots = ''.join(f', {most[name]:.0f} {unit} of {products}' for name, unit, products in DOTS if most[name] > 0)
    return (f'{most["fma_gflops"]:.0f} GFLOP/s of multiply-adds in f32{dots}, reads of {most["read_gbps"]:.0f} GB/s. Shares are of the limits '
            'each run measured for itself')


def main():
    given, begin, end = figures.start(__doc__, 'docs/bench.md', BEGIN, END, needed=1)
    before = figures.load()
    bench = Bench(given[1] if len(given) > 1 else figures.ROOT / 'build/tools/clmla', given[2:])
    formats, shapes, parts, layers, launches = (table(bench) for table in (format_table, shape_table, part_table, layer_table, launch_table))
    head, busy = figures.measured(bench.device, before)
    figures.replace('docs/bench.md', begin, end, [
        f'{head}: {limits(bench)}.{busy}', '',
        'Attention of one new token, rows of 512 + 64, as shares of the multiply-add limit:', '', *formats, '',
        'Of f16 rows, 4,096 tokens where nothing else is said:', '', *shapes, '',
        'Products with weights, as shares of the rate of reads and of multiply-adds:', '', *parts, '',
        'A layer step over the sum of its operations\' limits, enqueued / replayed, f16 rows, sequences of tokens:', '', *layers, '',
        'The kernels of such a step on the device\'s clock, bf16 weights: ms, and over their limits:', '', *launches])


if __name__ == '__main__':
    main()
