#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the two files of tools/device_report.sh from what its steps left.

    device_report.py WORK OUT DEVICE QUICK REVISION
"""
import datetime
import json
import pathlib
import platform
import re
import sys

KEPT = 20000  # bytes of an output that is no JSON: its end says what went wrong
QUOTED = 30  # lines of it in the text
FAILURES = ('failed', 'stopped', 'interrupted')


def text(path):
    return path.read_text(encoding='utf-8', errors='replace') if path.is_file() else ''


def sentence(error, output):
    """The line that says why: the program's own, else the last one."""
    lines = [line for line in (error or output).splitlines() if line.strip() and not line.startswith('A full log can be found')]
    own = [line for line in lines if line.startswith('clmla ')]
    return (own or lines or ['it said nothing'])[-1].strip()


def read_step(folder):
    step = {'name': text(folder / 'name'), 'command': text(folder / 'command').strip()}
    if (folder / 'not_run').is_file():
        return step | {'outcome': 'not run', 'reason': text(folder / 'not_run').strip()}
    code, output, error = int(text(folder / 'code')), text(folder / 'out'), text(folder / 'err')
    step |= {'exit_code': code, 'seconds': int(text(folder / 'seconds'))}
    try:
        step['result'] = json.loads(output)
    except ValueError:
        step['output'] = output[-KEPT:]
    if (folder / 'interrupted').is_file():
        return step | {'outcome': 'interrupted', 'reason': text(folder / 'interrupted').strip(), 'errors': error[-KEPT:]}
    if code == 0:
        return step | {'outcome': 'passed'}
    # The program answers 2, with one sentence, to what it will not do.
    refused = code == 2 and '/clmla ' in step['command']
    outcome = 'refused' if refused else 'stopped' if code == 124 else 'failed'
    return step | {'outcome': outcome, 'reason': sentence(error, output), 'errors': error[-KEPT:]}


def read_tests(path):
    """[{name, result, seconds}] of meson's log, with the output of those that did not pass."""
    tests = []
    for line in text(path).splitlines():
        try:
            test = json.loads(line)
        except ValueError:  # the last one, cut short by an interruption
            continue
        entry = {'name': test['name'], 'result': test['result'], 'seconds': round(test['duration'], 2)}
        if test['result'] != 'OK':
            entry['output'] = (test.get('stdout', '') + test.get('stderr', ''))[-KEPT:]
        tests.append(entry)
    return tests


def device_of(steps):
    """The facts of the device that was asked for, as clmla info gave them; {} if it gave none."""
    for step in steps:
        if step['name'] == 'info' and isinstance(step.get('result'), dict):
            devices = step['result'].get('devices', [])
            return devices[0] if devices else {}
    return {}


def table(rows):
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(rows[0]))]
    return [('  ' + '  '.join(str(cell).ljust(width) for cell, width in zip(row, widths))).rstrip() for row in rows]


def bench_lines(step):
    rows = [('op', 'variant', 'format', 'heads', 'tokens', 'batch', 'ms', 'GFLOP/s', 'GB/s', 'of fma', 'of read')]
    reasons = []
    for case in step['result']['cases']:
        name = (case['op'], case['variant'] or '-', case['format'], case['heads'], case['tokens'], case['batch'])
        if case.get('reason'):
            reasons.append(f"  {' '.join(map(str, name))}: not run: {case['reason']}")
            continue
        rows.append((*name, f"{1e3 * case['seconds_min']:.3f}", f"{case['gflops']:.1f}", f"{case['cache_gbps']:.1f}",
                     f"{case['fraction_of_fma']:.2f}", f"{case['fraction_of_read']:.2f}"))
    limits = ', '.join(f'{name} {value:.1f}' for name, value in step['result']['limits'].items())
    return ['', f'bench: {limits}'] + table(rows) + reasons


def compare_lines(step):
    rows = [('attention', 'format', 'bytes/token', 'ms', 'of mha', 'of read', 'step ms', 'cos_diff')]
    number = lambda value, form: '-' if value is None else format(value, form)
    for row in step['result']['rows']:
        times = [(row['attention_seconds'], 1e3, '.3f'), (row['attention_speedup_to_mha'], 1, '.2f'), (row['read_fraction'], 1, '.2f'),
                 (row['step_seconds'], 1e3, '.3f'), (row['cos_diff'], 1, '.1e')]
        rows.append((row['attention'], row['format'], f"{row['cache_bytes_per_token']:.0f}",
                     *(number(value and value * factor, form) for value, factor, form in times)))
    reasons = [f"  {row['attention']} {row['format']}: not run: {row['reason']}" for row in step['result']['rows'] if row['reason']]
    return ['', f"compare: {step['result']['tokens']} tokens, {step['result']['shape']['heads']} heads"] + table(rows) + reasons


def tune_lines(step):
    result = step['result']
    rows = [('number', 'default', 'found', 'tried')]
    rows += [(n['name'], n['before'], n['now'], n['tried']) for n in result['numbers'] if n['used']]
    shapes = [f"{s['heads']} heads {s['format']} {s['compute']} {s['variant']}: {1e3 * s['seconds_before']:.3f} ms, then {1e3 * s['seconds_now']:.3f} ms"
              for s in result['shapes']]
    defaults = [f'  {row}' for row in result.get('default_rows', [])]
    return ['', 'tune: ' + '; '.join(shapes)] + table(rows) + (['rows for lib/tuning_defaults.c:'] + defaults if defaults else [])


def proof_lines(device):
    """Variants of attention that gave the naive ones' results on the device, and those that did not."""
    sentences = device.get('proofs', [])
    refused = [sentence for sentence in sentences if ' is not used: ' in sentence]
    if not sentences:
        return []
    return ['', f'variants tried beside the naive ones: {len(sentences) - len(refused)} proven, {len(refused)} refused'] + \
        ['  ' + sentence for sentence in sentences]


def quoted_lines(steps):
    """The ends of what failed steps printed: a compiler's errors are there, not in the last line."""
    lines = []
    for step in steps:
        ends = [line for key in ('output', 'errors') for line in step.get(key, '').splitlines()[-QUOTED:]]
        if step['outcome'] in FAILURES and ends:
            lines += ['', f"--- {step['name']}: {step['outcome']}, the last lines"] + ends
    return lines


def report_text(report):
    device = report['device']
    lines = [f"clmla on {device.get('name', 'an unknown device')}, {report['date']}",
             f"driver {device.get('driver_version', '?')}, revision {report['revision']}, {report['host']}",
             'quick form: small shapes, few tests' if report['quick'] else 'full form', '']
    lines += table([('step', 'outcome', 'seconds')] +
                   [(s['name'], s['outcome'], s.get('seconds', '')) for s in report['steps']])
    lines += [''] + [f"{s['name']}: {s['outcome']}: {s['reason']}" for s in report['steps'] if 'reason' in s]
    lines += quoted_lines(report['steps'])
    lines += proof_lines(device)
    counts = report['test_counts']
    if report['tests']:
        lines += ['', 'tests: ' + ', '.join(f'{count} {result}' for result, count in sorted(counts.items()))]
        for test in report['tests']:
            if test['result'] != 'OK':
                lines += [f"--- {test['name']}: {test['result']}"] + test['output'].splitlines()[-QUOTED:]
    for step in report['steps']:
        if step['name'] == 'bench' and 'result' in step and 'cases' in step['result']:
            lines += bench_lines(step)
        if step['name'] == 'compare' and 'rows' in step.get('result', {}):
            lines += compare_lines(step)
        if step['name'] == 'tune' and 'result' in step and 'numbers' in step['result']:
            lines += tune_lines(step)
    return '\n'.join(lines) + '\n'


def main():
    work, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    steps = [read_step(folder) for folder in sorted(work.iterdir()) if (folder / 'command').is_file()]
    tests = read_tests(work / 'tests.json')
    device = device_of(steps)
    results = [test['result'] for test in tests]
    date = datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%dT%H:%M:%SZ')
    report = {'format': 'clmla device report 1', 'date': date, 'query': sys.argv[3], 'quick': sys.argv[4] == 'true',
              'revision': sys.argv[5], 'host': platform.platform(), 'device': device, 'steps': steps, 'tests': tests,
              'test_counts': {result: results.count(result) for result in results}}
    name = re.sub(r'[^A-Za-z0-9]+', '-', device.get('name', 'unknown')).strip('-')[:60] or 'unknown'
    stem = out / f"clmla-report-{name}-{re.sub('[:-]', '', date)}"
    for suffix, content in (('json', json.dumps(report, indent=1)), ('txt', report_text(report))):
        path = pathlib.Path(f'{stem}.{suffix}')
        path.write_text(content, encoding='utf-8')
        print(path)
    sys.exit(1 if any(step['outcome'] in FAILURES for step in steps) else 0)


if __name__ == '__main__':
    main()
