#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""clmla formats: its figures follow from each other, errors are what 64 bits of arithmetic here say they may be, and the
table in docs/format_costs.md is what it prints, and README's short one agrees."""
import json
import math
import os
import pathlib
import re
import subprocess
import tempfile

import tool

ROOT = pathlib.Path(__file__).resolve().parents[2]
CASES = ['a_v2_tiny', 'b_v3_tiny_yarn', 'c_v2lite_dims', 'f_v3_fp8']
BARS = [(468, 6e-4), (432, 1.3e-3)]
# Largest rel_l2 of the attention output of any case; of formats that are not listed, the last. Twice as much with outliers.
REL_L2 = {'f32': 2e-6, 'f16': 1e-3, 'bf16': 5e-3, 'fp8': 4e-2, 'fp8_paged': 4e-2, 'fp8_flat': 5e-2, 'q8': 1.5e-2, 'q6': 4e-2,
          'q5': 6.5e-2}
REL_L2_OF_OTHERS = 0.15
# Rows of 512 + 64 values.
ROW_BYTES = {'f32': 2304, 'f16': 1152, 'bf16': 1152, 'fp8': 656, 'fp8_flat': 576, 'fp8_paged': 648, 'q8': 612, 'q6': 468,
             'q5': 432, 'q4': 340}
# Heads, layers with MLA, and L, R, N, V, as published.
MODELS = {'DeepSeek-V2-Lite': (16, 27, 512, 64, 128, 128), 'DeepSeek-V2': (128, 60, 512, 64, 128, 128),
          'DeepSeek-V3': (128, 61, 512, 64, 128, 128), 'Kimi-K2': (64, 61, 512, 64, 128, 128),
          'Moonlight-16B-A3B': (16, 27, 512, 64, 128, 128), 'Kimi-Linear-48B-A3B': (32, 7, 512, 64, 128, 128),
          'MiniCPM3-4B': (40, 62, 256, 32, 64, 64), 'GLM-4.7-Flash': (20, 47, 512, 64, 192, 256),
          'Youtu-LLM-2B': (16, 32, 512, 64, 128, 128)}
DIMENSIONS = ('heads', 'layers', 'latent_dim', 'rope_dim', 'nope_dim', 'value_dim')


class Formats(tool.ToolTest):
    @classmethod
    def setUpClass(cls):
        options = ['--reference', str(cls.cases), '--model', str(cls.model)]
        cls.result = subprocess.run([cls.clmla, 'formats', *options, '--json'], capture_output=True, timeout=500, check=False)
        cls.answer = json.loads(cls.result.stdout)
        cls.text = subprocess.run([cls.clmla, 'formats', *options], capture_output=True, timeout=500, check=False)

    def formats(self):
        return {entry['name']: entry for entry in self.answer['formats']}

    def test_lists_the_formats_of_the_library(self):
        names = [entry['name'] for entry in self.run_json('info')['row_formats']]
        self.assertEqual(list(self.formats()), names)
        for model in self.answer['models']:
            self.assertEqual([entry['name'] for entry in model['formats']], names)

    def test_row_bytes(self):
        for name, entry in self.formats().items():
            self.assertEqual(entry['row_bytes'], ROW_BYTES[name], name)
            self.assertAlmostEqual(entry['bits_per_value'], entry['row_bytes'] / 72)

    def test_bytes_per_token(self):
        self.assertEqual([model['name'] for model in self.answer['models']], list(MODELS))
        for model in self.answer['models']:
            heads, layers, latent, rope, nope, value = (model[name] for name in DIMENSIONS)
            self.assertEqual((heads, layers, latent, rope, nope, value), MODELS[model['name']])
            for name, kv_heads in (('mha', heads), ('gqa8', 8), ('mqa', 1)):
                self.assertEqual(model[f'{name}_bytes_per_token'], layers * kv_heads * (nope + rope + value) * 2)
            for entry in model['formats']:
                self.assertEqual(entry['bytes_per_token'], layers * entry['row_bytes'])
                if (latent, rope) == (512, 64):
                    self.assertEqual(entry['row_bytes'], ROW_BYTES[entry['name']])
                for name in ('mha', 'gqa8', 'mqa'):
                    self.assertAlmostEqual(entry[f'{name}_ratio'] * entry['bytes_per_token'],
                                           model[f'{name}_bytes_per_token'], delta=1e-3)

    def test_papers_comparison(self):
        self.assertEqual(self.answer['paper'], {'layers': 95, 'elements_per_token': 95 * 8 * 2 * 128,
                                                'bytes_per_token': 389120, 'mla_layers': 60})
        for name, entry in self.formats().items():
            self.assertAlmostEqual(entry['paper_ratio'], 389120 / (60 * ROW_BYTES[name]))

    def test_errors_of_layers(self):
        for name, entry in self.formats().items():
            self.assertEqual(list(entry['errors']), CASES)
            for case, error in [*entry['errors'].items(), ('outliers', entry['outliers'])]:
                with self.subTest(format=name, case=case):
                    self.assertEqual(set(error), {'rel_l2', 'cos_diff'})
                    self.assertLess(error['rel_l2'], REL_L2.get(name, REL_L2_OF_OTHERS) * (2 if case == 'outliers' else 1))
                    self.assertGreater(error['rel_l2'], 0)
                    # Of two vectors of nearly one length the one is half the other's square.
                    self.assertAlmostEqual(error['cos_diff'] / (error['rel_l2'] ** 2 / 2), 1, delta=0.1)
        f32 = self.formats()['f32']
        self.assertLess(f32['outliers']['rel_l2'], 2e-6) # outliers leave the layer's output as it was

    def test_surprise_of_the_model(self):
        _, values = tool.read_safetensors(self.model / 'greedy_reference.safetensors')['eval_nll']
        mean = sum(values) / len(values)
        for name, entry in self.formats().items():
            tolerance = {'f32': 1e-4, 'f16': 1e-3, 'bf16': 5e-3}.get(name, 0.05)
            self.assertAlmostEqual(entry['nll'], mean, delta=tolerance, msg=name)

    def test_bars(self):
        bars = self.answer['bars']
        self.assertEqual([(bar['row_bytes'], bar['cos_diff'], bar['case']) for bar in bars],
                         [(*bar, 'c_v2lite_dims') for bar in BARS])
        for bar in bars:
            meeting = [name for name, entry in self.formats().items() if entry['row_bytes'] <= bar['row_bytes']
                       and max(entry['errors']['c_v2lite_dims']['cos_diff'], entry['outliers']['cos_diff']) < bar['cos_diff']]
            self.assertEqual(bar['formats'], meeting)
            self.assertEqual(bar['met'], bool(meeting))
            # A format that was made for a bar must meet it.
            small = [name for name, entry in self.formats().items() if entry['row_bytes'] == bar['row_bytes']]
            self.assertEqual([name for name in small if name not in meeting], [])
        self.assertEqual(self.answer['pass'], all(bar['met'] for bar in bars))
        for result in (self.result, self.text):
            self.assertEqual(result.returncode, 0 if self.answer['pass'] else 1)
            self.assertEqual(result.stderr, b'')

    def test_text_says_the_same(self):
        lines = self.text.stdout.decode().splitlines()
        for name, entry in self.formats().items():
            words = next(line.split() for line in lines if line.split()[:1] == [name])
            error = entry['errors']['c_v2lite_dims']
            self.assertEqual(words[1], str(entry['row_bytes']))
            self.assertEqual(words[8:10], [f"{error['rel_l2']:.1e}", f"{error['cos_diff']:.1e}"])
            self.assertEqual(words[-1], f"{entry['nll']:.5f}")
        for model in self.answer['models']:
            words = next(line.split() for line in lines if line.split()[:1] == [model['name']])
            self.assertEqual(words[2:], [str(entry['bytes_per_token']) for entry in model['formats']] + [
                str(model[f'{name}_bytes_per_token']) for name in ('mha', 'gqa8', 'mqa')])
        bars = [line for line in lines if 'with cos_diff below' in line]
        self.assertEqual(['MET BY NONE' not in line for line in bars], [bar['met'] for bar in self.answer['bars']])

    def test_docs_have_this_table(self):
        """The rows of docs/format_costs.md's table: bytes to the digit, errors within a tenth unless they are rounding noise."""
        printed = format_rows(self.text.stdout.decode())
        written = format_rows((ROOT / 'docs/format_costs.md').read_text(encoding='utf-8'))
        again = 'print it with build/tools/clmla formats and put its first table into docs/format_costs.md'
        self.assertEqual(list(written), list(printed), again)
        for name, words in printed.items():
            self.assertEqual(written[name][:3], words[:3], again)
            for ours, theirs in zip(words[3:], written[name][3:], strict=True):
                here, there = float(ours), float(theirs)
                self.assertTrue(math.isclose(here, there, rel_tol=0.1) or max(here, there) < 2e-6, f'{name}: {again}')

    def test_readme_has_its_figures(self):
        """README's table of formats: bytes, and cos_diff on c_v2lite_dims as it is and with outliers."""
        lines = (ROOT / 'README.md').read_text(encoding='utf-8').split('## The cache')[1].split('\n## ')[0].splitlines()
        rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in lines if line.startswith('| ')][2:]
        self.assertEqual([row[0] for row in rows], list(self.formats()))
        for (name, row_bytes, *errors, _), entry in zip(rows, self.formats().values()):
            self.assertEqual(row_bytes, str(entry['row_bytes']), name)
            for written, error in zip(errors, (entry['errors']['c_v2lite_dims'], entry['outliers']), strict=True):
                here, there = float(written), error['cos_diff']
                self.assertTrue(math.isclose(here, there, rel_tol=0.1) or max(here, there) < 2e-6, f'{name}: {there}')

    def test_header_has_its_bytes(self):
        """The table of rows.h: lines of a format's names, or of two, and the bytes of its row."""
        text = (ROOT / 'include/clmla/rows.h').read_text(encoding='utf-8')
        lines = re.findall(r'^//   ((?:[a-z]+\d*(?:_[a-z]+)? )+) *(\d+) +\S', text, re.MULTILINE)
        told = {name: int(count) for names, count in lines for name in names.split()}
        self.assertEqual(told, {name: entry['row_bytes'] for name, entry in self.formats().items()})

    # --- without parts of it -----------------------------------------------------------------------------------------

    def test_sizes_need_no_device(self):
        with tempfile.TemporaryDirectory() as nothing:
            environment = os.environ | {'OCL_ICD_VENDORS': nothing}
            answer = self.run_json('formats', '--skip-layers', '--skip-model', environment=environment)
            self.assertNotIn('bars', answer)
            self.assertNotIn('device', answer)
            self.assertEqual(answer['models'], self.answer['models'])
            for entry in answer['formats']:
                self.assertEqual(set(entry), {'name', 'row_bytes', 'bits_per_value', 'paper_ratio'})
            self.assert_refused('formats', '--skip-model', says='device', environment=environment)

    def test_parts_left_out(self):
        answer = self.run_json('formats', '--skip-layers', '--model', self.model)
        for entry in answer['formats']:
            self.assertNotIn('errors', entry)
            self.assertEqual(entry['nll'], self.formats()[entry['name']]['nll'])

    def test_says_what_is_missing(self):
        with tempfile.TemporaryDirectory() as nothing:
            self.assert_refused('formats', '--reference', nothing, says=['a_v2_tiny', nothing, '--reference', '--skip-layers'])
            self.assert_refused('formats', '--skip-layers', '--model', nothing, says=['eval.bin', nothing, '--model', '--skip-model'])
            result = subprocess.run([os.path.abspath(self.clmla), 'formats'], cwd=nothing, capture_output=True, timeout=60, check=False)
            self.assertEqual(result.returncode, 2)
            self.assertIn(b'tests/data', result.stderr)

    def test_bad_words(self):
        self.assert_refused('formats', '--dance', says="unknown option '--dance'")
        self.assert_refused('formats', 'extra', says="unexpected argument 'extra'")
        self.assert_refused('formats', '--device', 'no such thing', says='no such thing')


def format_rows(text):
    """Name -> the words after it, of the first table's rows."""
    rows = {}
    for line in text.split('row formats:')[1].splitlines()[2:]:
        words = line.split()
        if len(words) != 15:
            break
        rows[words[0]] = words[1:3] + [words[3].rstrip('x')] + words[4:]
    return rows


if __name__ == '__main__':
    tool.main()
