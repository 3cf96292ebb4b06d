#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures how long clmla generate takes until it is ready, from nothing and again, and writes the table into README.md.

    tools/start_figures.py [CLMLA [DRIVERS ...]]     default: build/tools/clmla, and the OpenCL implementation the loader finds

DRIVERS are values of OCL_ICD_VENDORS, a row of the table each; "" stands for the loader's own. What the driver keeps on disk counts as
nothing, too, of PoCL. Run it on a machine that does nothing else: what it writes beside the figures says whether that was so.
"""
import json
import os
import subprocess
import tempfile

import figures

PROMPT = 'In the beginning God '
ROWS = 'f16'
BEGIN, END = '<!-- start: made by tools/start_figures.py -->', '<!-- start: end -->'
AGAIN = 3  # starts, of which the shortest counts


def run(clmla, environment, *arguments):
    return json.loads(subprocess.run([clmla, *arguments, '--json'], env=environment, check=True, stdout=subprocess.PIPE).stdout)


def start(clmla, environment):
    return run(clmla, environment, 'generate', str(figures.ROOT / 'data/tinylm'), '--prompt', PROMPT, '-n', '200', '--cache', ROWS)


def row(clmla, drivers):
    """A line of the table, and the device's name."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {'CLMLA_PROGRAM_CACHE': f'{folder}/programs', 'POCL_CACHE_DIR': f'{folder}/driver', 'CLMLA_TUNING': 'off'}
        if drivers:
            environment['OCL_ICD_VENDORS'] = drivers
        first = start(clmla, environment)
        device = run(clmla, environment, 'info', '--device', '')['devices'][0]  # it builds programs, too
        second = min((start(clmla, environment) for _ in range(AGAIN)), key=lambda answer: answer['startup_seconds'])
    assert second['programs']['built'] == 0, second['programs']
    return (f'| {figures.implementation(device)} | {first["programs"]["built"]} | {first["startup_seconds"]:.1f} s | '
            f'{second["startup_seconds"]:.2f} s | {second["tokens_per_second"]:,.0f} |'), device['name']


def main():
    given, begin, end = figures.start(__doc__, 'README.md', BEGIN, END)
    clmla = os.path.abspath(given[0]) if given else str(figures.ROOT / 'build/tools/clmla')
    before = figures.load()
    lines, devices = zip(*(row(clmla, drivers) for drivers in given[1:] or ['']))
    head, busy = figures.measured(', '.join(dict.fromkeys(devices)), before)
    figures.replace('README.md', begin, end, [
        f'{head}.{busy}', '', '| OpenCL implementation | programs | ready, first start | ready, second start | tokens/s, second start |',
        '| --- | --- | --- | --- | --- |', *lines])


if __name__ == '__main__':
    main()
