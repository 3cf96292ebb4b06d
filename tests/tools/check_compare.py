#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""clmla compare: its JSON holds together, every attention's result is right, and what it cannot do is refused."""
import pathlib
import tempfile
import xml.etree.ElementTree

import tool

SHAPE = {'heads': 24, 'nope_dim': 32, 'value_dim': 48, 'latent_dim': 64, 'rope_dim': 16, 'hidden_size': 96, 'q_lora_rank': 40}
TOKENS = 300
QUICK = ('--tokens', TOKENS, '--seconds', '0.001', '--heads', SHAPE['heads'], '--nope', SHAPE['nope_dim'], '--value', SHAPE['value_dim'],
         '--latent', SHAPE['latent_dim'], '--rope', SHAPE['rope_dim'], '--hidden', SHAPE['hidden_size'])
FIELDS = {'attention', 'format', 'cache_bytes_per_token', 'attention_seconds', 'step_seconds', 'bytes_ratio_to_mha',
          'attention_speedup_to_mha', 'read_fraction', 'cos_diff', 'reason'}
# Of attention over rows of each format, against double precision over unrounded rows; others: quantised.
COS_DIFF = {'f32': 1e-11, 'f16': 5e-6, 'bf16': 5e-5}
QUANTISED_COS_DIFF = 5e-2


class Compare(tool.ToolTest):
    @classmethod
    def setUpClass(cls):
        cls.answer = cls().run_json('compare', *QUICK, '--q-lora', SHAPE['q_lora_rank'])
        cls.rows = cls.answer['rows']

    def runTest(self):
        """Only so that setUpClass can make one."""

    def one(self, attention):
        row, = (row for row in self.rows if row['attention'] == attention)
        return row

    def test_fields(self):
        self.assertEqual(set(self.answer), {'shape', 'device', 'tokens', 'rows'})
        self.assertEqual(self.answer['shape'], SHAPE)
        self.assertEqual(self.answer['tokens'], TOKENS)
        for row in self.rows:
            self.assertEqual(set(row), FIELDS)
            self.assertIsNone(row['reason'])

    def test_attentions_and_formats(self):
        self.assertEqual([row['attention'] for row in self.rows if row['attention'] != 'mla'],
                         ['mha', 'gqa8', 'mqa', 'mla_naive', 'mla_unfused'])
        self.assertLessEqual({'f32', 'f16', 'bf16', 'fp8'}, {row['format'] for row in self.rows if row['attention'] == 'mla'})
        for row in self.rows:
            if row['attention'] != 'mla':
                self.assertEqual(row['format'], 'f16')

    def test_bytes(self):
        head, row = 2 * (SHAPE['nope_dim'] + SHAPE['value_dim']), 2 * (SHAPE['latent_dim'] + SHAPE['rope_dim'])
        expected = {'mha': SHAPE['heads'] * head, 'gqa8': 8 * head, 'mqa': head, 'mla_naive': row, 'mla_unfused': row}
        for attention, size in expected.items():
            self.assertEqual(self.one(attention)['cache_bytes_per_token'], size)
        for row in self.rows:
            if (row['attention'], row['format']) == ('mla', 'f16'):
                self.assertEqual(row['cache_bytes_per_token'], expected['mla_unfused'])

    def test_ratios_follow_from_the_values(self):
        mha, rate = self.one('mha'), None
        for row in self.rows:
            self.assertAlmostEqual(row['bytes_ratio_to_mha'], mha['cache_bytes_per_token'] / row['cache_bytes_per_token'], delta=1e-9)
            speed = mha['attention_seconds'] / row['attention_seconds']
            self.assertAlmostEqual(row['attention_speedup_to_mha'], speed, delta=1e-6 * speed)
            self.assertGreater(row['step_seconds'], 0)
            found = row['cache_bytes_per_token'] * TOKENS / row['attention_seconds'] / row['read_fraction']
            rate = rate or found # one read rate for all
            self.assertAlmostEqual(found, rate, delta=1e-6 * rate)

    def test_results(self):
        for row in self.rows:
            with self.subTest(attention=row['attention'], format=row['format']):
                exact = row['attention'] in ('mha', 'gqa8', 'mqa')  # their keys are exact in f16
                bar = COS_DIFF['f32'] if exact else COS_DIFF.get(row['format'], QUANTISED_COS_DIFF)
                self.assertLess(abs(row['cos_diff']), bar)

    def test_some_attentions_alone(self):
        rows = self.run_json('compare', *QUICK, '--attention', 'mqa,mla_unfused', '--q-lora', 0)['rows']
        self.assertEqual([row['attention'] for row in rows], ['mqa', 'mla_unfused'])
        for row in rows:  # nothing to compare with
            self.assertIsNone(row['bytes_ratio_to_mha'])
            self.assertIsNone(row['attention_speedup_to_mha'])

    def test_what_has_no_room(self):
        """Its bytes and the reason are there, and nothing that would have to be measured."""
        many = ('--tokens', 1 << 22, '--nope', 1024, '--value', 1024, '--heads', 128)
        row, = self.run_json('compare', *many, '--attention', 'mha')['rows']
        self.assertEqual(row['cache_bytes_per_token'], 128 * 2 * 2 * 1024)
        self.assertIn('buffer', row['reason'])
        for field in ('attention_seconds', 'step_seconds', 'attention_speedup_to_mha', 'read_fraction', 'cos_diff'):
            self.assertIsNone(row[field])
        result = self.run_tool('compare', *many, '--attention', 'mha')
        self.assertEqual((result.returncode, result.stderr), (0, b''))
        self.assertIn(b'not run: it needs a buffer of', result.stdout)

    def test_table(self):
        result = self.run_tool('compare', *QUICK, '--attention', 'mha,mla_unfused,mla')
        self.assertEqual((result.returncode, result.stderr), (0, b''))
        for words in (b'read rate', b'mla_unfused', b'at 128K', b'fusion', b'best format of cos_diff < 1e-4'):
            self.assertIn(words, result.stdout)

    def test_fast_compute(self):
        rows = self.run_json('compare', *QUICK, '--attention', 'mla', '--compute', 'fast')['rows']
        for row in rows:
            with self.subTest(format=row['format']):  # as exact, but for fast compute's own bar
                self.assertLess(row['cos_diff'], COS_DIFF.get(row['format'], QUANTISED_COS_DIFF) + 2e-4)
        self.assert_refused('compare', '--compute', 'slow', says='slow')

    def test_plot(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / 'compare.svg'
            result = self.run_tool('compare', *QUICK, '--attention', 'mha,mla', '--plot', path)
            self.assertEqual((result.returncode, result.stderr), (0, b''))
            picture = xml.etree.ElementTree.parse(path)
            titles = [title.text for title in picture.iter('{http://www.w3.org/2000/svg}title')]
            for tokens in (18, 37, 75, 150, 300):
                self.assertTrue(any(title.startswith(f'mha f16, {tokens} tokens: ') for title in titles), tokens)
                self.assertTrue(any(title.startswith(f'mla f16, {tokens} tokens: ') for title in titles), tokens)
            self.assert_refused('compare', *QUICK, '--plot', pathlib.Path(folder) / 'none' / 'x.svg', says='cannot be opened')
        self.assert_refused('compare', '--tokens', 15, '--plot', 'x.svg', says='--plot needs at least 16 tokens')

    def test_refusals(self):
        for arguments, says in ((('--tokens', 0), '--tokens takes a whole number from 1'),
                                (('--attention', 'mha,swa'), "'swa'"), (('--attention', ''), 'names none'),
                                (('--nope', 40), '--nope takes a multiple of 16, not 40'), (('--latent', 100), '--latent'),
                                (('--heads', 20), 'gqa8 needs a multiple of 8 heads, not 20'),
                                (('--seconds', 'long'), '--seconds'), (('--dance',), "unknown option '--dance'"),
                                (('extra',), "unexpected argument 'extra'"),
                                (('--cache', 'q8'), '--cache is for --models alone'), (('--segment=9',), '--segment is for --models'),
                                (('--models', 'x', '--tokens', 64), '--tokens is not for --models'),
                                (('--device', 'no such thing'), 'no such thing')):
            with self.subTest(arguments=arguments):
                self.assert_refused('compare', *arguments, says=says)


if __name__ == '__main__':
    tool.main()
