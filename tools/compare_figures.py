#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures clmla compare's figures on this machine and writes them into docs/compare.md, between the markers of MACHINE, and
docs/compare_MACHINE.svg; the rows that matter most also into README.md, if it has markers of MACHINE.

    tools/compare_figures.py MACHINE [CLMLA [OPTION ...]]     MACHINE: avx2, avx512, avx512_halves; default: build/tools/clmla; options go to clmla compare

Run it on a machine that does nothing else: what it writes beside the figures says whether that was so.
"""
import json
import pathlib
import subprocess
import tempfile

import figures

BEGIN, END = '<!-- compare {}: made by tools/compare_figures.py -->', '<!-- compare {}: end -->'  # of a machine
FAMILY = ('mha', 'gqa', 'mqa', 'mla')
KEPT = 1e-4


def run(clmla, *arguments):
    return json.loads(subprocess.run([clmla, 'compare', *map(str, arguments), '--json'], check=True, stdout=subprocess.PIPE).stdout)


def size(count):
    return f'{count / 2**30:.2f} GiB' if count >= 2**30 else f'{count / 2**20:.1f} MiB'


def number(value, form, unit=''):
    """What was not measured, or has nothing to stand beside, is None."""
    return '-' if value is None else f'{value:{form}}{unit}'


def seconds(row, name):
    return 'not run' if row['reason'] else number(row[name] and row[name] * 1e3, ',.1f')


def quotient(above, below, name):
    """Of two rows; None where one of them is missing or was not measured."""
    return above[name] / below[name] if above and below and above[name] and below[name] else None


def multi_head(answer):
    return next((row for row in answer['rows'] if row['attention'] == 'mha'), None)


def reasons(*answers):
    """Why rows were not run, each once, as lines behind a table."""
    told = dict.fromkeys(f'{row["attention"]} over {row["format"]} was not run: {row["reason"]}.'
                         for answer in answers for row in answer['rows'] if row['reason'])
    return ['', *told] if told else []


def attention_table(answer, fast):
    """All of the first run, and clmla's rows of the one in fast compute, each beside its own run's multi-head attention."""
    rows = [(row, multi_head(answer), '') for row in answer['rows']]
    rows += [(row, multi_head(fast), ', fast') for row in fast['rows'] if row['attention'] == 'mla']
    lines = ['| attention | cache | bytes a token | at 4K | at 32K | at 128K | fewer bytes | attention, ms | faster | of the read rate | step, ms | faster | cos_diff |',
             '| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |']
    for row, mha, compute in rows:
        count = row['cache_bytes_per_token']
        lines.append(' '.join(('|', ' | '.join((
            row['attention'] + compute, row['format'], f'{count:,.0f}', *(size(count * n) for n in (4096, 32768, 131072)),
            number(row['bytes_ratio_to_mha'], '.1f', '×'), seconds(row, 'attention_seconds'),
            number(row['attention_speedup_to_mha'], '.2f', '×'), number(row['read_fraction'], '.0%').replace('%', ' %'),
            seconds(row, 'step_seconds'), number(quotient(mha, row, 'step_seconds'), '.2f', '×'), number(row['cos_diff'], '.1e'))), '|')))
    return lines + reasons(answer, fast)


def fastest(answer):
    """Of clmla's rows that keep what a row says, or None."""
    return min((row for row in answer['rows'] if row['attention'] == 'mla' and not row['reason'] and row['cos_diff'] < KEPT),
               key=lambda row: row['attention_seconds'], default=None)


def best(answer):
    row = fastest(answer)
    return f'{row["format"]}, {number(row["attention_speedup_to_mha"], ".2f", "×")}' if row else 'none'


def gains(answer, fast):
    """In words; a gain that hangs on a row that was not run is "-"."""
    one = {row['attention']: row for row in answer['rows'] if row['attention'] != 'mla'}
    mla = {row['format']: row for row in answer['rows'] if row['attention'] == 'mla'}
    gain = lambda slow, quick, form='.2f': number(quotient(slow, quick, 'attention_seconds'), form, '×')
    return [f'Absorption (mla_naive to mla_unfused) is worth {gain(one["mla_naive"], one["mla_unfused"], ",.0f")}, fusion (mla_unfused to '
            f'mla, both f16) {gain(one["mla_unfused"], mla["f16"])}. Beside multi-head attention, 16-bit rows give '
            f'{gain(one["mha"], mla["f16"])}, q8 {gain(one["mha"], mla["q8"])}; the fastest rows with cos_diff below 1e-4 are '
            f'{best(answer)}, and in fast compute {best(fast)}.']


def short_table(answer, fast):
    """For a first look: each attention at its best, clmla's with 16 bits and with the fastest rows that keep what they say."""
    rows = [row for row in answer['rows'] if row['attention'] != 'mla' or row['format'] == 'f16']
    kept, quick = fastest(answer), fastest(fast)
    rows += [kept] if kept and kept['format'] != 'f16' else []
    same = quick is None or any(row['format'] == quick['format'] and row['cos_diff'] == quick['cos_diff']  # the same kernel
                                for row in answer['rows'])
    lines = ['| attention | cache | bytes a token and layer | at 4K | at 32K | at 128K | attention, ms | | layer step, ms | | cos_diff |',
             '| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |']
    shown = [(row, multi_head(answer), '') for row in rows] + [(quick, multi_head(fast), ', fast')] * (not same)
    for row, mha, compute in shown:
        count = row['cache_bytes_per_token']
        cells = (row['attention'] + compute, row['format'], f'{count:,.0f}', *(size(count * n) for n in (4096, 32768, 131072)),
                 seconds(row, 'attention_seconds'), number(row['attention_speedup_to_mha'], '.2f', '×'), seconds(row, 'step_seconds'),
                 number(quotient(mha, row, 'step_seconds'), '.2f', '×'), number(row['cos_diff'], '.1e'))
        lines.append('| ' + ' | '.join(cells) + ' |')
    return lines + reasons({'rows': rows}, {'rows': [quick] if quick else []})


def family_table(answer):
    lengths = [rate['tokens'] for rate in answer['models'][0]['tokens_per_second']]
    lines = ['| model | parameters | held-out nats a byte | cache bytes a token (f32) | ' + ' | '.join(f'tokens/s at {n}' for n in lengths) + ' |',
             '| --- | --- | --- | --- |' + ' --- |' * len(lengths)]
    for model in answer['models']:
        rates = ' | '.join(f'{rate["rate"]:,.0f}' for rate in model['tokens_per_second'])
        lines.append(f'| {model["attention"]} | {model["parameters"]:,} | {model["nll"]:.5f} | {model["cache_bytes_per_token"]:,} | {rates} |')
    return lines


def main():
    given, begin, end = figures.start(__doc__, 'docs/compare.md', BEGIN, END, needed=1)
    machine, clmla, options = given[0], given[1] if len(given) > 1 else figures.ROOT / 'build/tools/clmla', given[2:]
    before, picture = figures.load(), f'compare_{machine}.svg'
    with tempfile.TemporaryDirectory() as folder:
        answer = run(clmla, '--plot', pathlib.Path(folder) / picture, *options)
        drawn = (pathlib.Path(folder) / picture).read_bytes()
    fast = run(clmla, '--attention', 'mha,mla', '--compute', 'fast', *options)
    models = run(clmla, '--models', *(figures.ROOT / 'data/family' / name for name in FAMILY))
    head, busy = figures.measured(answer['device'], before)
    figures.replace('docs/compare.md', begin, end, [
        f'{head}: {answer["tokens"]:,} cached tokens, {answer["shape"]["heads"]} heads.{busy}', '', *attention_table(answer, fast), '',
        *gains(answer, fast), '', f'![time and bytes against context length]({picture})', '', *family_table(models)])
    if begin in (figures.ROOT / 'README.md').read_text(encoding='utf-8'):
        figures.replace('README.md', begin, end, [
            f'{head}: one step over {answer["tokens"]:,} cached tokens, {answer["shape"]["heads"]} heads.{busy}', '',
            *short_table(answer, fast), '', *gains(answer, fast), '', f'![time and bytes against context length](docs/{picture})', '',
            'Four models of 3 million parameters that differ in their attention alone:', '', *family_table(models)])
    (figures.ROOT / 'docs' / picture).write_bytes(drawn)  # last: it belongs to what the pages say


if __name__ == '__main__':
    main()
