#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""clmla bench: its JSON has exactly the stated fields, its rates follow from its times, its picture is whole."""
import itertools
import pathlib
import tempfile
import xml.etree.ElementTree

import tool

LATENT, ROPE, NOPE, VALUE = 512, 64, 128, 128
LIMITS = {'fma_gflops', 'int16_dot_gops', 'bf16_dot_gflops', 'int8_dot_gops', 'read_gbps'}
FIGURES = {'parts', 'splits', 'seconds_min', 'seconds_median', 'gflops', 'cache_gbps', 'fraction_of_fma', 'fraction_of_read',
           'limit_seconds', 'times_limit'}
NUMBERS = {'heads', 'tokens', 'batch', 'query_tokens', 'page', 'latent', 'rope'} | FIGURES
NAMES = {'op', 'variant', 'format', 'weights', 'compute'}
PROFILE = {'launches', 'seconds_between'}
SVG = '{http://www.w3.org/2000/svg}'


class Bench(tool.ToolTest):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.here = pathlib.Path(self.folder.name)

    def assert_close(self, found, expected):
        self.assertLessEqual(abs(found - expected), 1e-6 * abs(expected), (found, expected))

    def check_answer(self, answer):
        """What holds for every answer, whatever the cases."""
        self.assertEqual(set(answer), {'device', 'vector_width', 'limits', 'cases'})
        self.assertIsInstance(answer['device'], str)
        self.assertIn(answer['vector_width'], (0, 4, 8, 16))
        limits = answer['limits']
        self.assertEqual(set(limits), LIMITS)
        self.assertGreater(limits['fma_gflops'], 0)
        self.assertGreater(limits['read_gbps'], 0)
        for rate in limits.values():
            self.assertGreaterEqual(rate, 0)
        for case in answer['cases']:
            self.assertEqual(set(case) - PROFILE, NAMES | NUMBERS | {'reason'})
            self.assertIn(case['compute'], ('exact', 'fast'))
            if case['reason'] is not None:
                self.assertTrue(case['reason'])
                self.assertEqual({name for name in NUMBERS if case[name] is None}, FIGURES)
                continue
            for name in NAMES:
                self.assertIsInstance(case[name], str)
                self.assertTrue(case[name], case)
            for name in NUMBERS:
                self.assertGreaterEqual(case[name], 0, case)
            self.assertGreater(case['seconds_min'], 0)
            self.assertGreaterEqual(case['seconds_median'], case['seconds_min'])
            self.assert_close(case['fraction_of_fma'], case['gflops'] / limits['fma_gflops'])
            self.assert_close(case['fraction_of_read'], case['cache_gbps'] / limits['read_gbps'])
            self.assertGreater(case['limit_seconds'], 0)
            self.assert_close(case['times_limit'], case['seconds_min'] / case['limit_seconds'])
            whole = max(case['fraction_of_fma'], case['fraction_of_read']) * case['seconds_min']
            if case['op'].startswith(('layer', 'prefill')):
                self.assertGreater(case['limit_seconds'], (1 - 1e-6) * whole)
            else:
                self.assert_close(case['limit_seconds'], whole)

    def check_picture(self, path, answer):
        cases = [case for case in answer['cases'] if case['reason'] is None]
        root = xml.etree.ElementTree.parse(path).getroot()
        self.assertEqual(root.tag, SVG + 'svg')
        marks = [e for e in root.iter(SVG + 'path') if e.get('class') == 'mark']
        self.assertEqual(len(marks), len(cases))
        for mark, case in zip(marks, cases):
            self.assertTrue(mark.find(SVG + 'title').text.startswith(f"{case['op']} {case['variant']} {case['format']}, "))
            x, y = mark.get('d')[1:].split('m')[0].split()
            self.assertTrue(0 < float(x) < float(root.get('width')) and 0 < float(y) < float(root.get('height')))
        texts = ' '.join(e.text for e in root.iter(SVG + 'text'))
        for words in ('GFLOP/s', 'floating-point operations for each byte', 'f32 multiply-add', 'read', 'clmla'):
            self.assertIn(words, texts)
        for name, words in (('int16_dot_gops', 'int16 dot'), ('bf16_dot_gflops', 'bf16 dot'), ('int8_dot_gops', 'int8 dot')):
            self.assertEqual(words in texts, answer['limits'][name] > 0, name)
        for op, group in itertools.groupby(sorted(case['op'] for case in cases)):
            self.assertIn(f'{op} ({len(list(group))})', texts)

    def test_attend(self):
        picture = self.here / 'attend.svg'
        answer = self.run_json('bench', '--op', 'attend', '--format', 'f16,f32', '--heads', '3,16', '--tokens', 70, '--batch',
                               2, '--query-tokens', '1,2', '--page', '0,16', '--repeat', 2, '--plot', picture, timeout=300)
        self.check_answer(answer)
        self.check_picture(picture, answer)
        shapes = [(c['format'], c['heads'], c['query_tokens'], c['page']) for c in answer['cases']]
        self.assertEqual(shapes, list(itertools.product(('f16', 'f32'), (3, 16), (1, 2), (0, 16))))
        for case in answer['cases']:
            self.assertEqual((case['op'], case['tokens'], case['batch']), ('attend', 70, 2))
            self.assertEqual((case['compute'], case['latent'], case['rope']), ('exact', LATENT, ROPE))
            self.assertGreaterEqual(case['parts'], 1)
            keys = 2 * case['tokens']
            flops = 2 * case['heads'] * case['query_tokens'] * keys * (LATENT + ROPE + LATENT)
            self.assert_close(case['gflops'] * 1e9, flops / case['seconds_min'])
            row = {'f16': 2, 'f32': 4}[case['format']] * (LATENT + ROPE)
            self.assert_close(case['cache_gbps'] * 1e9, keys * row / case['seconds_min'])

    def test_all_operations_and_formats(self):
        picture = self.here / 'all.svg'
        ops = ('attend', 'attend_mixed', 'project', 'absorb', 'output', 'append', 'gather', 'attend_heads', 'merge',
               'layer', 'layer_replayed', 'prefill', 'prefill_absorbed', 'prefill_reconstructed')
        answer = self.run_json('bench', '--op', ','.join(ops), '--format', 'all', '--heads', 4, '--tokens', 40, '--batch', 2,
                               '--repeat', 1, '--plot', picture, timeout=300)
        self.check_answer(answer)
        self.check_picture(picture, answer)
        formats = [f['name'] for f in self.run_json('info')['row_formats']]
        weights, states = ['f32', 'f16', 'bf16', 'f8_e4m3'], ['f32', 'f16', 'bf16']
        for op in ops:
            kind = weights if op in ('project', 'absorb', 'output') else states if op == 'merge' else ['f32'] if op == 'attend_heads' else formats
            cases = [c for c in answer['cases'] if c['op'] == op]
            self.assertEqual([c['format'] for c in cases], kind)
            for case in cases:
                self.check_shape(op, case)
                layer = op.startswith(('layer', 'prefill'))
                self.assertEqual(case['weights'], case['format'] if kind is weights else 'bf16' if layer else 'none')

    def test_layer_limit(self):
        """The sum over a layer's operations of the longer of multiply-adds and reads."""
        heads, tokens, new, hidden, lora = 33, 40, 2, 7168, 1536
        for weights, size, profile in (('f32', 4, ()), ('f16', 2, ('--profile',))):
            answer = self.run_json('bench', '--op', 'layer', '--weights', weights, '--heads', heads, '--tokens', tokens, '--batch', new,
                                   '--repeat', 1, *profile, timeout=300)
            self.check_answer(answer)
            case, = answer['cases']
            self.assertEqual(PROFILE & set(case), PROFILE if profile else set())
            if profile:
                self.check_launches(case)
            self.assertEqual(case['weights'], weights)
            fma, read = (answer['limits'][name] * 1e9 for name in ('fma_gflops', 'read_gbps'))
            matrices = (hidden * (lora + LATENT + ROPE), lora * heads * (NOPE + ROPE), heads * NOPE * LATENT, heads * VALUE * LATENT,
                        heads * VALUE * hidden)
            row = 2 * (LATENT + ROPE)
            limit = sum(max(2 * new * n / fma, n * size / read) for n in matrices) + new * row / read
            limit += max(2 * heads * new * tokens * (2 * LATENT + ROPE) / fma, new * tokens * row / read)
            self.assert_close(case['limit_seconds'], limit)

    def check_launches(self, case):
        """Every operation's kernel, in the step's order; what each could take at least is what the step could."""
        launches = case['launches']
        self.assertEqual([launch['operation'] for launch in launches if launch['limit_seconds'] is not None],
                         ['project', 'append', 'project', 'absorb', 'attend', 'output', 'project'])
        self.assert_close(sum(launch['limit_seconds'] or 0 for launch in launches), case['limit_seconds'])
        self.assertGreaterEqual(case['seconds_between'], 0)
        for launch in launches:
            self.assertEqual(set(launch), {'operation', 'kernel', 'seconds_min', 'seconds_median', 'limit_seconds'})
            self.assertTrue(launch['kernel'].startswith(launch['operation']), launch)
            self.assertGreater(launch['seconds_min'], 0)
            self.assertGreaterEqual(launch['seconds_median'], launch['seconds_min'])

    def test_profile_of_fast_compute(self):
        """What lays out queries before attention's kernel is told as attend, too; the limit is the kernel's."""
        answer = self.run_json('bench', '--op', 'layer', '--format', 'bf16', '--compute', 'fast', '--heads', 16, '--tokens', 200, '--repeat', 1,
                               '--profile', timeout=300)
        self.check_answer(answer)
        case, = answer['cases']
        attend = [launch for launch in case['launches'] if launch['operation'] == 'attend']
        limited = [launch['kernel'] for launch in attend if launch['limit_seconds'] is not None]
        self.assertEqual(len(limited), 1)
        self.assertTrue(limited[0].startswith('attend_' + case['variant']), limited)
        self.assertEqual(len(attend) > 1, case['variant'] != 'vector')

    def check_shape(self, op, case):
        """Numbers an operation does not have are 0, and its arithmetic is that of its formula."""
        new, keys = 2, {'attend_mixed': 20 + 40}.get(op, 2 * 40)
        attend = 2 * 4 * keys * (2 * LATENT + ROPE)
        hidden, queries = 2048, 4 * (NOPE + ROPE)
        absorb, values = 2 * new * 4 * NOPE * LATENT, 2 * new * 4 * VALUE * LATENT
        project, output = 2 * new * queries * hidden, 2 * new * hidden * 4 * VALUE
        flops = {'attend': attend, 'attend_mixed': attend, 'project': project, 'absorb': absorb, 'output': values + output,
                 'append': 0, 'gather': 0, 'merge': 2 * 4 * new * 4 * LATENT,
                 'attend_heads': 2 * 2 * 4 * (40 * 41 // 2) * (NOPE + ROPE + VALUE)}
        layer = project + 2 * new * hidden * (LATENT + ROPE) + absorb + attend + values + output
        if op.startswith('prefill'):
            # All 40 tokens of both sequences are new; the mask leaves about half of the pairs.
            self.assertIn(case['variant'], ('absorbed', 'reconstructed'))
            self.assertIn(op, ('prefill', f"prefill_{case['variant']}"))
            pair = NOPE + ROPE + VALUE if case['variant'] == 'reconstructed' else 2 * LATENT + ROPE
            layer = (layer - attend) * 40 + 2 * 2 * 4 * (40 * 41 // 2) * pair
        self.assert_close(case['gflops'] * 1e9, flops.get(op, layer) / case['seconds_min'])
        self.assertGreater(case['cache_gbps'], 0)
        self.assertEqual(case['heads'], 0 if op in ('append', 'gather') else 4)
        self.assertEqual(case['tokens'], 0 if op in ('project', 'absorb', 'output', 'merge') else 40)
        self.assertEqual(case['page'], 0 if op in ('project', 'absorb', 'output', 'merge', 'attend_heads') else 64)
        self.assertEqual(case['query_tokens'], 0 if op in ('gather', 'attend_heads') or op.startswith('prefill') else 1)

    def test_table(self):
        result = self.run_tool('bench', '--op=attend', '--heads=2', '--tokens=20', '--variant=naive', '--seconds=0.01')
        self.assertEqual((result.returncode, result.stderr), (0, b''))
        lines = result.stdout.decode().split('\n')
        head = next(i for i, line in enumerate(lines) if line.startswith('op '))
        for words in ('variant', 'format', 'weights', 'splits', 'min ms', 'median ms', 'GFLOP/s', 'of FMA', 'of read', 'x limit'):
            self.assertIn(words, lines[head])
        self.assertEqual(lines[head + 1].split()[:9], ['attend', 'naive', 'f16', 'none', '2', '20', '1', '1', '64'])
        self.assertEqual(lines[head + 2], '')
        result = self.run_tool('bench', '--op=layer', '--heads=2', '--tokens=20', '--seconds=0.01', '--profile')
        self.assertEqual((result.returncode, result.stderr), (0, b''))
        kernels = [line.split() for line in result.stdout.decode().split('\n') if line.startswith('  ') and '%' in line]
        self.assertEqual([words[0] for words in kernels], ['project', 'append', 'absorb', 'attend', 'output', 'project', 'between'])
        for words in ('f32 multiply-add', 'int16 dot', 'bf16 dot', 'int8 dot', 'read', 'wall time'):
            self.assertIn(words, result.stdout.decode())

    def test_bad_values(self):
        for option, least in (('--heads', 1), ('--tokens', 1), ('--batch', 1), ('--query-tokens', 1), ('--page', 0)):
            for value in ('x', '-1', '1.5', '', ',', '1,', ',1', '1,,2', '1,x', '99999999999', '1,4294967297'):
                self.assert_refused('bench', f'{option}={value}', says=[option, f"whole numbers from {least} to", f"'{value}'"])
            if least:
                self.assert_refused('bench', option, 0, says=[option, 'from 1 to', "'0'"])
        self.assert_refused('bench', '--heads', ','.join(['1'] * 65), says=['--heads', 'up to 64'])
        self.assert_refused('bench', '--op', 'dance', says=['--op', 'attend', 'layer_replayed', "'dance'"])
        self.assert_refused('bench', '--op', 'layer', '--weights', 'f8_e4m3', says=['--weights', 'f32, f16, bf16', 'f8_e4m3'])
        self.assert_refused('bench', '--weights', 'q4', says=['--weights', 'f32, f16, bf16', "'q4'"])
        for ops in ('attend', 'project,absorb,merge'):
            self.assert_refused('bench', '--op', ops, '--weights', 'f16', says=['--weights is of layers and prefill'])
        self.assert_refused('bench', '--op', 'attend', '--profile', says=['--profile is of layer', 'no case is one'])
        self.assert_refused('bench', '--op', 'prefill,layer_replayed', '--profile', says='--profile is of layer')
        self.assert_refused('bench', '--variant', 'waltz', says=['--variant', 'naive', "'waltz'"])
        self.assert_refused('bench', '--op', 'append,prefill_reconstructed', '--variant', 'waltz', says=['--variant', 'naive', "'waltz'"])
        self.assert_refused('bench', '--compute', 'slow', says=['--compute', 'exact', 'fast', "slow"])
        self.assert_refused('bench', '--group', 48, says=['group_items is 48', '32, 64, 128 and 256'])
        self.assert_refused('bench', '--op', 'attend,', says=['--op', "'attend,'"])
        self.assert_refused('bench', '--format', 'q99', says=['--format', 'attend', 'f16', "'q99'"])
        self.assert_refused('bench', '--op', 'project', '--format', 'fp8', says=['--format', 'project', 'f8_e4m3', "'fp8'"])
        self.assert_refused('bench', '--query-tokens', 8, '--tokens', 7, says=['--query-tokens 8', '--tokens 7'])
        for option in ('--repeat', '--latent'):
            self.assert_refused('bench', option, 0, says=[option, "from 1 to", "'0'"])
        self.assert_refused('bench', '--rope', 257, says=['--rope', '256', "'257'"])
        for value in ('0', 'x', '-1', '1e3', '3601', '1.2.3', ''):
            self.assert_refused('bench', f'--seconds={value}', says=['--seconds', f"'{value}'"])
        many = ','.join(str(n) for n in range(1, 65))
        self.assert_refused('bench', '--heads', many, '--batch', many, '--page', '1,2', says='more than 4096 cases')
        self.assert_refused('bench', 'attend', says="unexpected argument 'attend'")
        self.assert_refused('bench', '--device', 'no such device', says='no such device')
        self.assert_refused('bench', '--plot', self.here / 'none/x.svg', says=['--plot', 'none/x.svg: cannot be written'])
        self.assert_refused('bench', '--plot', self.here, says=['--plot', str(self.here), 'cannot be written'])

    def test_dot_limits(self):
        """A dot product has a rate where the device has the instruction and a trial of it was right, and only there."""
        device, = self.run_json('info', '--device', '')['devices']
        limits = self.run_json('bench', '--op', 'merge', '--format', 'f32', '--heads', 1, '--tokens', 16, '--repeat', 1)['limits']
        accepted = {v['name'] for of in device['attend_fast'] for v in of['variants'] if v['accepted']}
        for fact, variant, name in (('has_int16_dot', 'int16_dot', 'int16_dot_gops'), ('has_bf16_dot', 'bf16_dot', 'bf16_dot_gflops'),
                                    ('has_int8_dot', 'int8_dot', 'int8_dot_gops')):
            if not device[fact]:
                self.assertEqual(limits[name], 0, name)
            elif variant in accepted:
                self.assertGreater(limits[name], 0, name)

    def test_fast_compute(self):
        """Of attention alone; in vectors of a width that is asked for."""
        answer = self.run_json('bench', '--op', 'attend,layer,append', '--format', 'bf16,q8', '--heads', 16, '--tokens', 100, '--compute', 'fast',
                               '--latent', 256, '--rope', 32, '--vector-width', 8, '--repeat', 1, timeout=300)
        self.check_answer(answer)
        self.assertIn(answer['vector_width'], (0, 8))
        self.assertEqual([case['compute'] for case in answer['cases']], ['fast'] * 4 + ['exact'] * 2)
        self.assertEqual({(case['latent'], case['rope']) for case in answer['cases']}, {(256, 32)})
        self.assertEqual({case['parts'] for case in answer['cases'][4:]}, {0})

    def test_cases_that_cannot_run(self):
        """They are rows with a reason, and the others run; where none runs, the first one's reason is the failure."""
        picture = self.here / 'some.svg'
        some = ('--op', 'gather', '--format', 'f32', '--tokens', '4194304,16', '--batch', 1024, '--repeat', 1)
        answer = self.run_json('bench', *some, '--plot', picture)
        self.check_answer(answer)
        self.check_picture(picture, answer)
        self.assertEqual([(case['tokens'], case['reason'] is None) for case in answer['cases']], [(4194304, False), (16, True)])
        self.assertIn('4294967296 rows are too many', answer['cases'][0]['reason'])
        result = self.run_tool('bench', *some)
        self.assertEqual((result.returncode, result.stderr), (0, b''))
        refused, ran = (line for line in result.stdout.decode().split('\n') if line.startswith('gather '))
        self.assertRegex(refused, r'^gather +- +f32 +none +0 +4194304 +1024 +0 +64 not run: 4294967296 rows are too many$')
        self.assertNotIn('not run', ran)
        none = ('--op', 'attend', '--variant', 'int8_dot', '--heads', 2, '--tokens', '16,32', '--repeat', 1) # of fast compute alone
        says = r'^clmla bench: attend f16, heads 2, tokens 16, .*int8_dot.*\n$'
        picture.write_text('of an earlier run')
        result = self.run_tool('bench', *none, '--json', '--plot', picture)
        self.assertEqual((result.returncode, result.stdout), (2, b''))
        self.assertRegex(result.stderr.decode(), says)
        self.assertEqual(picture.read_text(), 'of an earlier run')
        result = self.run_tool('bench', *none)
        self.assertEqual(result.returncode, 2)
        self.assertRegex(result.stderr.decode(), says)
        self.assertEqual(result.stdout.count(b' not run: '), 2)


if __name__ == '__main__':
    tool.main()
