# SPDX-License-Identifier: Apache-2.0
"""What the programs share that measure on this machine and write the figures into a page, between two markers."""
import datetime
import os
import pathlib
import re
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def start(document, page, begin, end, needed=0):
    """The command line's arguments and the page's markers, before anything is measured: what cannot be written is not worth minutes.

    `begin` and `end` are the markers with {} for the first argument. Ends the program for --help, where an argument that is needed
    is missing, and where the page lacks the markers.
    """
    given = sys.argv[1:]
    if {'-h', '--help'} & set(given):
        print(document.strip())
        sys.exit(0)
    if len(given) < needed:
        print(document.strip(), file=sys.stderr)
        sys.exit(2)
    markers = [marker.format(*given[:needed]) for marker in (begin, end)]
    text = (ROOT / page).read_text(encoding='utf-8')
    if markers[1] not in text.partition(markers[0])[2]:
        print(f'{pathlib.Path(sys.argv[0]).name}: {page} has no "{markers[0]}" with "{markers[1]}" behind it, between which the figures '
              'would go', file=sys.stderr)
        sys.exit(2)
    return given, *markers


def cpu_name():
    names = [line.split(':', 1)[1].strip() for line in pathlib.Path('/proc/cpuinfo').read_text().splitlines() if line.startswith('model name')]
    return names[0] if names else 'a CPU'


def implementation(device):
    """Of a device of clmla info's, the OpenCL implementation behind it."""
    pocl = re.search(r'PoCL [\d.]+\d', device['platform_version'])
    return pocl[0] if pocl else 'Intel\'s CPU runtime' if device['platform'] == 'Intel(R) OpenCL' else device['platform']


def ticks():
    """What the processors have spent since they were started: doing nothing, and altogether."""
    spent = [int(count) for count in pathlib.Path('/proc/stat').read_text().split('\n', 1)[0].split()[1:9]]
    return spent[3] + spent[4], sum(spent)


def load():
    """The share of its time that the machine has something else to do; to be asked before anything is measured."""
    (idle, total), _ = ticks(), time.sleep(3)
    idle_after, total_after = ticks()
    return 1 - (idle_after - idle) / max(total_after - total, 1)


def measured(device, before):
    """Where and when: the sentence's beginning, and what is to be said of a machine that was not idle."""
    head = (f'Measured {datetime.date.today()} on {os.cpu_count()} cores of {cpu_name()} ({device}), which had other work for '
            f'{before * 100:.0f} % of their time before the run')
    busy = (' **Other programs had the machine at the same time: these times are too long, and their ratios are no more than a hint.**'
            if before > 0.1 else '')
    return head, busy


def replace(page, begin, end, lines):
    """Puts lines between the markers `begin` and `end` of a page."""
    path = ROOT / page
    text = path.read_text(encoding='utf-8')
    first = text.index(begin)
    last = text.index(end, first)
    path.write_text(text[:first] + '\n'.join([begin, '', *lines, '', '']) + text[last:], encoding='utf-8')
