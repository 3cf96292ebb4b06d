#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""clmla verify says so when numbers differ: each part of a reference, spoiled in turn, must make it fail."""
import json
import math
import pathlib
import shutil
import tempfile

import tool

ROWS_BAR = 2e-6


class VerifyDiffers(tool.ToolTest):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.case = pathlib.Path(self.folder.name) / 'case'
        shutil.copytree(self.cases / 'a_v2_tiny', self.case)
        self.tensors = tool.read_safetensors(self.case / 'reference.safetensors')

    def verify(self, *options):
        result = self.run_tool('verify', self.case, '--chunk', 0, '--json', *options)
        self.assertEqual(result.stderr, b'')
        return result.returncode, json.loads(result.stdout)

    def spoil(self, name, amount, index=-1):
        self.tensors[name][1][index] += amount
        tool.write_safetensors(self.case / 'reference.safetensors', self.tensors)

    def test_untouched_passes(self):
        code, answer = self.verify('--page', 16)
        self.assertEqual((code, answer['pass']), (0, True))
        self.assertEqual(set(answer), {'device', 'cache', 'attend_variant', 'reconstructed_tokens', 'chunk', 'page', 'layers',
                                       'pass'})
        self.assertEqual((answer['cache'], answer['chunk'], answer['page']), ('f32', 0, 16))
        self.assertEqual([layer['layer'] for layer in answer['layers']], [0, 1])
        for layer in answer['layers']:
            self.assertEqual(set(layer), {'layer', 'output', 'latent', 'k_pe'})
            for part in ('output', 'latent', 'k_pe'):
                self.assertEqual(set(layer[part]), {'max_abs', 'rel_l2', 'max_abs_over_peak'})
                self.assertLessEqual(layer[part]['rel_l2'], ROWS_BAR)
                self.assertGreater(layer[part]['max_abs'], 0)

    def test_it_names_the_kernel_and_why_not_others(self):
        _, answer = self.verify()
        kernel = answer['attend_variant']
        plain = self.run_tool('verify', self.case, '--chunk', 0).stdout.decode()
        verbose = self.run_tool('verify', self.case, '--chunk', 0, '--verbose').stdout.decode()
        self.assertIn(f'attention by the kernel "{kernel}"', plain)
        self.assertNotIn('not wgmma: ', plain)
        self.assertRegex(verbose, rf'\n  attend: {kernel}; .*not wgmma: ')

    def test_each_part_is_compared_to_its_last_value(self):
        for layer in (0, 1):
            for name, part in (('attn_output', 'output'), ('latent', 'latent'), ('k_pe', 'k_pe')):
                with self.subTest(layer=layer, part=part):
                    self.spoil(f'layers.{layer}.{name}', 1.0)
                    code, answer = self.verify()
                    self.assertEqual((code, answer['pass']), (1, False))
                    self.assertAlmostEqual(answer['layers'][layer][part]['max_abs'], 1.0, delta=1e-4)
                    self.assertGreater(answer['layers'][layer][part]['rel_l2'], ROWS_BAR)
                    self.spoil(f'layers.{layer}.{name}', -1.0)

    def test_nan_fails(self):
        self.tensors['layers.0.latent'][1][5] = math.nan
        tool.write_safetensors(self.case / 'reference.safetensors', self.tensors)
        code, answer = self.verify()
        self.assertEqual((code, answer['pass']), (1, False))
        self.assertIsNone(answer['layers'][0]['latent']['rel_l2'])

    def test_another_position_fails(self):
        self.spoil('positions', 1)
        code, answer = self.verify()
        self.assertEqual((code, answer['pass']), (1, False))

    def test_another_rotary_base_fails(self):
        config = json.loads((self.case / 'config.json').read_text())
        (self.case / 'config.json').write_text(json.dumps(config | {'rope_theta': 5000}))
        code, answer = self.verify()
        self.assertEqual((code, answer['pass']), (1, False))

    def test_sixteen_bit_rows_do_not_pass_as_f32(self):
        for cache, least in (('f16', 1e-5), ('bf16', 1e-4)):
            code, answer = self.verify('--cache', cache)
            self.assertEqual((code, answer['pass']), (0, True))
            self.assertGreater(answer['layers'][0]['latent']['rel_l2'], least)

    def test_scaled_rows_do_not_pass_as_finer_ones(self):
        for cache, least, most in (('fp8', 2e-2, 4e-2), ('q8', 4e-3, 1.5e-2), ('q6', 1.5e-2, 4e-2), ('q5', 2e-2, 6.5e-2),
                                   ('q4', 5e-2, 0.15)):
            with self.subTest(cache=cache):
                code, answer = self.verify('--cache', cache)
                self.assertEqual((code, answer['pass'], answer['cache']), (0, True, cache))
                self.assertGreater(answer['layers'][0]['latent']['rel_l2'], least)
                self.assertLess(answer['layers'][0]['latent']['rel_l2'], most)
                self.spoil('layers.1.latent', 1e3)
                self.assertEqual(self.verify('--cache', cache)[0], 1)
                self.spoil('layers.1.latent', -1e3)

    def test_text_says_which(self):
        self.spoil('layers.1.latent', 1.0)
        result = self.run_tool('verify', self.case, '--chunk', 0)
        self.assertEqual(result.returncode, 1)
        self.assertEqual(result.stdout.count(b'DIFFERS'), 1)
        self.assertIn(b'FAIL', result.stdout)


if __name__ == '__main__':
    tool.main()
