# SPDX-License-Identifier: Apache-2.0
"""What the programs share that measure on this machine and write the figures into a page, between two markers."""
import datetime
import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent


def cpu_name():
    names = [line.split(':', 1)[1].strip() for line in pathlib.Path('/proc/cpuinfo').read_text().splitlines() if line.startswith('model name')]
    return names[0] if names else 'a CPU'


def load():
    """The load average; to be asked before anything is measured."""
    return os.getloadavg()[0]


def measured(device, before):
    """Where and when: the sentence's beginning, and what is to be said of a machine that was not idle."""
    cores = os.cpu_count()
    head = f'Measured {datetime.date.today()} on {cores} cores of {cpu_name()} ({device}), load average {before:.1f} before the run'
    busy = (' **Other programs had the machine at the same time: these times are too long, and their ratios are no more than a hint.**'
            if before > 0.3 * cores else '')
    return head, busy


def replace(page, begin, end, lines):
    """Puts lines between the markers `begin` and `end` of a page."""
    path = ROOT / page
    text = path.read_text(encoding='utf-8')
    first = text.index(begin)
    last = text.index(end, first)
    path.write_text(text[:first] + '\n'.join([begin, '', *lines, '', '']) + text[last:], encoding='utf-8')
