#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tools/compare_figures.py: the tables it writes hold what clmla compare measured, and a row that was not run says why.

Neither it nor the other programs that write figures measure before they know that there is a place for them.
"""
import copy
import pathlib
import subprocess
import sys
import unittest

import tool

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / 'tools'))
import compare_figures  # noqa: E402

ATTENTIONS = ('mha', 'gqa8', 'mqa', 'mla_naive', 'mla_unfused')
FORMATS = {'f32': 2304, 'f16': 1152, 'bf16': 1152, 'q8': 612}
NO_ROOM = ('--tokens', 1 << 22, '--nope', 1024, '--value', 1024, '--heads', 128, '--attention', 'mha')
MEASURED = ('attention_seconds', 'step_seconds', 'attention_speedup_to_mha', 'read_fraction', 'cos_diff')


def cells(lines):
    return [[cell.strip() for cell in line.split('|')[1:-1]] for line in lines if line.startswith('| ')]


def made_row(attention, name, row_bytes, milliseconds, cos_diff):
    """As clmla compare answers it (check_compare.py): multi-head attention takes 40 ms of a step of 50."""
    return {'attention': attention, 'format': name, 'cache_bytes_per_token': row_bytes, 'attention_seconds': milliseconds * 1e-3,
            'step_seconds': (milliseconds + 10) * 1e-3, 'bytes_ratio_to_mha': 65536 / row_bytes,
            'attention_speedup_to_mha': 40 / milliseconds, 'read_fraction': 0.5, 'cos_diff': cos_diff, 'reason': None}


def made_answer(attentions, pace, cos_diff):
    rows = [made_row(name, 'f16', 65536 >> i, 40 >> i, 1e-13) for i, name in enumerate(attentions)]
    return {'rows': rows + [made_row('mla', name, row_bytes, pace * row_bytes / 64, cos_diff) for name, row_bytes in FORMATS.items()]}


class CompareFigures(tool.ToolTest):
    answer = made_answer(ATTENTIONS, 1.0, 1e-6)
    fast = made_answer(('mha',), 0.75, 1e-5)

    @classmethod
    def setUpClass(cls):
        cls.no_room, = cls().run_json('compare', *NO_ROOM)['rows']

    def runTest(self):
        """Only so that setUpClass can make one."""

    def test_rows_are_as_compare_answers_them(self):
        for answer in (self.answer, self.fast):
            for made in answer['rows']:
                self.assertEqual(set(made), set(self.no_room))

    def without(self, answer, attention):
        """What compare answers when that attention has no room: a real reason, in place of what it measured."""
        answer = copy.deepcopy(answer)
        for other in answer['rows']:
            if other['attention'] == attention:
                other.update({name: self.no_room[name] for name in MEASURED}, reason=self.no_room['reason'])
            if attention == 'mha':
                other['attention_speedup_to_mha'] = None
        return answer, self.no_room['reason']

    def test_all_run(self):
        table = compare_figures.attention_table(self.answer, self.fast)
        head, *rows = cells(table)
        rows = rows[1:]  # the line of dashes
        mla = [row for row in self.fast['rows'] if row['attention'] == 'mla']
        self.assertEqual(len(rows), len(self.answer['rows']) + len(mla))
        for words, row in zip(rows, self.answer['rows'] + mla, strict=True):
            self.assertEqual((len(words), words[1]), (len(head), row['format']))
            self.assertEqual(float(words[7].replace(',', '')), round(row['attention_seconds'] * 1e3, 1))
            self.assertEqual(words[8], f'{row["attention_speedup_to_mha"]:.2f}×')
            self.assertEqual(words[12], f'{row["cos_diff"]:.1e}')
            self.assertNotIn('-', words)
        self.assertTrue(table[-1].startswith('|'))  # no reasons behind it
        short = cells(compare_figures.short_table(self.answer, self.fast))[2:]
        self.assertEqual([words[:2] for words in short[5:]], [['mla', 'f16'], ['mla', 'q8'], ['mla, fast', 'q8']])
        self.assertEqual([words[0] for words in short[:5]], list(ATTENTIONS))

    def test_a_row_that_was_not_run(self):
        answer, reason = self.without(self.answer, 'mla_naive')
        for table in (compare_figures.attention_table(answer, self.fast), compare_figures.short_table(answer, self.fast)):
            row, = (words for words in cells(table) if words[0] == 'mla_naive')
            self.assertIn('not run', row)
            self.assertEqual(row[-1], '-')
            self.assertEqual(table[-2:], ['', f'mla_naive over f16 was not run: {reason}.'])
        self.assertIn('mla_unfused) is worth -, fusion', compare_figures.gains(answer, self.fast)[0])

    def test_without_multi_head_attention(self):
        """Then nothing stands beside it, and the rest is there."""
        answer, reason = self.without(self.answer, 'mha')
        fast, _ = self.without(self.fast, 'mha')
        table = compare_figures.attention_table(answer, fast)
        self.assertEqual(table[-1], f'mha over f16 was not run: {reason}.')  # once
        for words in cells(table)[2:]:
            self.assertEqual((words[8], words[11]), ('-', '-'))
        self.assertIn('16-bit rows give -, q8 -;', compare_figures.gains(answer, fast)[0])
        self.assertEqual(cells(compare_figures.short_table(answer, fast))[2][6:], ['not run', '-', 'not run', '-', '-'])

    def test_without_clmla(self):
        """Nothing is the fastest then."""
        answer, _ = self.without(self.answer, 'mla')
        fast, _ = self.without(self.fast, 'mla')
        self.assertIn('below 1e-4 are none, and in fast compute none.', compare_figures.gains(answer, fast)[0])
        formats = len({row['format'] for row in answer['rows']})
        told = [line for line in compare_figures.attention_table(answer, fast) if line.startswith('mla over')]
        self.assertEqual(len(told), formats)
        self.assertEqual(cells(compare_figures.short_table(answer, fast))[-1][:2], ['mla', 'f16'])


class BeforeMeasuring(unittest.TestCase):
    PROGRAMS = {'compare_figures.py': 'docs/compare.md', 'bench_figures.py': 'docs/bench.md'}  # that want a machine's name

    def start(self, name, *arguments):
        """Its code, what it printed and its complaint. A clmla that is not there would raise an exception."""
        pages = {path: path.read_bytes() for path in (ROOT / 'README.md', *(ROOT / 'docs').iterdir())}
        result = subprocess.run([sys.executable, ROOT / 'tools' / name, *arguments], capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(pages, {path: path.read_bytes() for path in (ROOT / 'README.md', *(ROOT / 'docs').iterdir())})
        self.assertNotIn('Traceback', result.stderr)
        return result.returncode, result.stdout, result.stderr

    def test_help(self):
        for name in (*self.PROGRAMS, 'start_figures.py'):
            for arguments in (['--help'], ['-h'], ['avx2', '--help']):
                code, text, complaint = self.start(name, *arguments)
                self.assertEqual((code, complaint), (0, ''))
                self.assertIn(f'tools/{name} ', text)

    def test_a_machine_is_missing(self):
        for name in self.PROGRAMS:
            code, text, complaint = self.start(name)
            self.assertEqual((code, text), (2, ''))
            self.assertIn(f'tools/{name} MACHINE', complaint)

    def test_a_page_without_the_machine(self):
        for name, page in self.PROGRAMS.items():
            for machine in ('abacus', '--json', '{}', ''):
                code, text, complaint = self.start(name, machine, 'no_such_clmla')
                self.assertEqual((code, text, complaint.count('\n')), (2, '', 1), complaint)
                self.assertIn(f'{page} has no "<!-- {name.split("_")[0]} {machine}: made by', complaint)


if __name__ == '__main__':
    tool.main()
