#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures clmla compare's figures on this machine and writes them into docs/compare.md, between the markers of MACHINE, and
docs/compare_MACHINE.svg; the rows that matter most also into README.md, if it has markers of MACHINE.

    tools/compare_figures.py MACHINE [CLMLA [OPTION ...]]     MACHINE: avx2, avx512; default: build/tools/clmla; options go to clmla compare

Run it on a machine that does nothing else: what it writes beside the figures says whether that was so.
"""
import json
import subprocess
import sys

import figures

FAMILY = ('mha', 'gqa', 'mqa', 'mla')
KEPT = 1e-4


def run(clmla, *arguments):
    return json.loads(subprocess.run([clmla, 'compare', *map(str, arguments), '--json'], check=True, stdout=subprocess.PIPE).stdout)


def size(count):
    return f'{count / 2**30:.2f} GiB' if count >= 2**30 else f'{count / 2**20:.1f} MiB'


def seconds(value):
    return f'{value * 1e3:,.1f}' if value else '-'


def attention_table(answer, fast):
    """All of the first run, and clmla's rows of the one in fast compute, each beside its own run's multi-head attention."""
    rows = [(row, answer['rows'][0], '') for row in answer['rows']]
    rows += [(row, fast['rows'][0], ', fast') for row in fast['rows'] if row['attention'] == 'mla']
    lines = ['| attention | cache | bytes a token | at 4K | at 32K | at 128K | fewer bytes | attention, ms | faster | of the read rate | step, ms | faster | cos_diff |',
             '| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |']
    for row, mha, compute in rows:
        count = row['cache_bytes_per_token']
        lines.append(' '.join(('|', ' | '.join((
            row['attention'] + compute, row['format'], f'{count:,.0f}', *(size(count * n) for n in (4096, 32768, 131072)),
            f'{row["bytes_ratio_to_mha"]:.1f}×', seconds(row['attention_seconds']), f'{row["attention_speedup_to_mha"]:.2f}×',
            f'{row["read_fraction"] * 100:.0f} %', seconds(row['step_seconds']),
            f'{mha["step_seconds"] / row["step_seconds"]:.2f}×', f'{row["cos_diff"]:.1e}')), '|')))
    return lines


def fastest(answer):
    """Of clmla's rows that keep what a row says."""
    return min((row for row in answer['rows'] if row['attention'] == 'mla' and row['cos_diff'] < KEPT),
               key=lambda row: row['attention_seconds'])


def gains(answer, fast):
    one = {row['attention']: row for row in answer['rows'] if row['attention'] != 'mla'}
    mla = {row['format']: row for row in answer['rows'] if row['attention'] == 'mla'}
    exact, quick = fastest(answer), fastest(fast)
    quotient = lambda slow, fast: slow['attention_seconds'] / fast['attention_seconds']
    return [f'Absorption (mla_naive to mla_unfused) is worth {quotient(one["mla_naive"], one["mla_unfused"]):,.0f}×, fusion (mla_unfused to '
            f'mla, both f16) {quotient(one["mla_unfused"], mla["f16"]):.2f}×. Beside multi-head attention, 16-bit rows give '
            f'{quotient(one["mha"], mla["f16"]):.2f}×, q8 {quotient(one["mha"], mla["q8"]):.2f}×; the fastest rows with cos_diff below 1e-4 are '
            f'{exact["format"]}, {exact["attention_speedup_to_mha"]:.2f}×, and in fast compute {quick["format"]}, '
            f'{quick["attention_speedup_to_mha"]:.2f}×.']


def short_table(answer, fast):
    """For a first look: each attention at its best, clmla's with 16 bits and with the fastest rows that keep what they say."""
    rows = [row for row in answer['rows'] if row['attention'] != 'mla' or row['format'] == 'f16']
    rows += [fastest(answer)] if fastest(answer)['format'] != 'f16' else []
    quick = fastest(fast)
    same = any(row['format'] == quick['format'] and row['cos_diff'] == quick['cos_diff'] for row in answer['rows'])  # the same kernel
    lines = ['| attention | cache | bytes a token and layer | at 128K | attention | | cos_diff |', '| --- | --- | --- | --- | --- | --- | --- |']
    for row, compute in [(row, '') for row in rows] + [(quick, ', fast')] * (not same):
        count = row['cache_bytes_per_token']
        lines.append(f'| {row["attention"]}{compute} | {row["format"]} | {count:,.0f} | {size(count * 131072)} | '
                     f'{seconds(row["attention_seconds"])} ms | {row["attention_speedup_to_mha"]:.2f}× | {row["cos_diff"]:.1e} |')
    return lines


def family_table(answer):
    lengths = [rate['tokens'] for rate in answer['models'][0]['tokens_per_second']]
    lines = ['| model | parameters | held-out nats a byte | cache bytes a token (f32) | ' + ' | '.join(f'tokens/s at {n}' for n in lengths) + ' |',
             '| --- | --- | --- | --- |' + ' --- |' * len(lengths)]
    for model in answer['models']:
        rates = ' | '.join(f'{rate["rate"]:,.0f}' for rate in model['tokens_per_second'])
        lines.append(f'| {model["attention"]} | {model["parameters"]:,} | {model["nll"]:.5f} | {model["cache_bytes_per_token"]:,} | {rates} |')
    return lines


def main():
    machine, clmla = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else figures.ROOT / 'build/tools/clmla'
    begin, end = f'<!-- compare {machine}: made by tools/compare_figures.py -->', f'<!-- compare {machine}: end -->'
    before, options, picture = figures.load(), sys.argv[3:], f'compare_{machine}.svg'
    answer = run(clmla, '--plot', figures.ROOT / 'docs' / picture, *options)
    fast = run(clmla, '--attention', 'mha,mla', '--compute', 'fast', *options)
    models = run(clmla, '--models', *(figures.ROOT / 'data/family' / name for name in FAMILY))
    head, busy = figures.measured(answer['device'], before)
    figures.replace('docs/compare.md', begin, end, [
        f'{head}: {answer["tokens"]:,} cached tokens, {answer["shape"]["heads"]} heads.{busy}', '', *attention_table(answer, fast), '',
        *gains(answer, fast), '', f'![time and bytes against context length]({picture})', '', *family_table(models)])
    if begin in (figures.ROOT / 'README.md').read_text(encoding='utf-8'):
        figures.replace('README.md', begin, end, [
            f'{head}: one step over {answer["tokens"]:,} cached tokens, {answer["shape"]["heads"]} heads.{busy}', '',
            *short_table(answer, fast), '', f'![time and bytes against context length](docs/{picture})'])


main()
