#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every bad input gets one sentence and exit code 2; every good one valid JSON."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import tool


class CommandLine(tool.ToolTest):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.here = pathlib.Path(self.folder.name)

    def copy(self, source, name='copy'):
        shutil.rmtree(self.here / name, ignore_errors=True)
        return pathlib.Path(shutil.copytree(source, self.here / name))

    def change_config(self, folder, **fields):
        config = json.loads((folder / 'config.json').read_text())
        (folder / 'config.json').write_text(json.dumps(config | fields))

    def truncate(self, path, size):
        path.write_bytes(path.read_bytes()[:size])

    # --- what every command does ---------------------------------------------------------------------------------

    def test_usage(self):
        for arguments in (['--help'], ['info', '--help'], ['verify', '--help'], ['generate', '-h'], ['formats', '-h'],
                          ['bench', '--help'], ['tune', '--help']):
            result = self.run_tool(*arguments)
            self.assertEqual((result.returncode, result.stderr), (0, b''))
            self.assertTrue(result.stdout.startswith(b'usage: clmla'))
        for command in ('info', 'verify', 'generate', 'compare', 'formats', 'bench', 'tune'):
            self.assertEqual(self.run_tool('help', command).stdout, self.run_tool(command, '--help').stdout)
        self.assert_refused('', 'help', 'dance', says="unknown command 'dance'")
        self.assertEqual(self.run_tool().returncode, 2)
        self.assertRegex(self.run_tool('--version').stdout.decode(), r'^clmla \d+\.\d+\.\d+\n$')

    def test_unknown_words(self):
        self.assert_refused('', 'dance', says="unknown command 'dance'")
        for command in ('info', 'verify', 'generate', 'compare', 'formats', 'bench', 'tune'):
            self.assert_refused(command, '--dance', says="unknown option '--dance'")
            self.assert_refused(command, '--device', says='--device needs a value')
            self.assert_refused(command, '--json=1', says='--json takes no value')
        self.assert_refused('info', 'extra', says="unexpected argument 'extra'")
        self.assert_refused('verify', 'a', 'b', says="unexpected argument 'b'")
        self.assert_refused('verify', says='CASE is missing')
        self.assert_refused('generate', says='MODEL is missing')

    def test_unknown_device(self):
        self.assert_refused('info', '--device', 'no such thing', says='no such thing')
        self.assert_refused('verify', self.cases / 'a_v2_tiny', '--device', '9:9', says='9:9')
        self.assert_refused('generate', self.model, '--prompt', 'And', '--device', 'no such thing', says='no such thing')

    def test_no_device_at_all(self):
        environment = os.environ | {'OCL_ICD_VENDORS': str(self.here)}
        self.assertEqual(self.run_json('info', environment=environment)['devices'], [])
        result = self.run_tool('info', environment=environment)
        self.assertEqual(result.returncode, 0)
        self.assertIn(b'No OpenCL device', result.stdout)
        self.assert_refused('info', '--device', 'gpu', says='device', environment=environment)
        self.assert_refused('verify', self.cases / 'a_v2_tiny', says='device', environment=environment)
        self.assert_refused('generate', self.model, '--prompt', 'And', says='device', environment=environment)
        self.assert_refused('bench', '--op', 'attend', says='device', environment=environment)
        self.assert_refused('tune', '--dry-run', says='device', environment=environment)

    def test_output_that_cannot_be_written(self):
        """A full disk is no pass, however much was written before it was full."""
        full = pathlib.Path('/dev/full')
        if not full.exists():
            self.skipTest('no /dev/full here')
        for arguments in (['info'], ['info', '--json'], ['formats', '--skip-layers', '--skip-model', '--json'], ['verify', self.cases / 'a_v2_tiny'],
                          ['generate', self.model, '--prompt', 'And', '-n', 4, '--json'], ['--version'], ['help', 'bench'],
                          ['compare', '--tokens', 1 << 22, '--nope', 1024, '--value', 1024, '--attention', 'mha', '--json']):
            with self.subTest(arguments=arguments), full.open('wb') as output:
                result = subprocess.run([self.clmla, *map(str, arguments)], stdout=output, stderr=subprocess.PIPE, timeout=120, check=False)
                sentence = result.stderr.decode()
                self.assertEqual(result.returncode, 2, sentence)
                self.assertRegex(sentence, rf'^clmla {arguments[0]}: the output cannot be written: [^\n]+\n$')

    # --- info ------------------------------------------------------------------------------------------------------

    def test_info(self):
        answer = self.run_json('info')
        self.assertGreater(len(answer['devices']), 0)
        self.assertEqual({f['name']: f['row_bytes'] for f in answer['row_formats']}, {
            'f32': 2304, 'f16': 1152, 'bf16': 1152, 'fp8': 656, 'fp8_flat': 576, 'fp8_paged': 648,
            'q8': 612, 'q6': 468, 'q5': 432, 'q4': 340})
        for device in answer['devices']:
            recordings = device['recordings']
            self.assertEqual(recordings['command_buffer'], recordings['reason'] == '', recordings)
            if not device['has_command_buffer']:
                self.assertIn('cl_khr_command_buffer', recordings['reason'])
            self.assertEqual(len(device['operations']), 2 * 15)
            self.assertEqual([fast['format'] for fast in device['attend_fast']], ['f16', 'bf16', 'q8'])
            self.assertEqual([exact['format'] for exact in device['attend_exact']], ['f16', 'bf16'])
            self.assertEqual({entry['heads'] for entry in device['attend_fast'] + device['attend_exact']}, {16})
            for operation in (device['operations'] + device['attend_exact'] + device['attend_fast'] + [device['attend_heads_fast']]):
                variants = operation['variants']
                self.assertEqual(sum(v['chosen'] for v in variants), 1, operation)
                self.assertEqual(variants[-1]['name'], 'naive')
                for variant in variants:
                    self.assertEqual(variant['accepted'], variant['reason'] == '', variant)
            # A model's prompt has keys of 192 elements, which no variant calls too wide.
            for operation in device['operations']:
                if operation['operation'] == 'attend_heads' and device['type'] == 'cpu':
                    self.assertEqual([v['name'] for v in operation['variants'] if v['chosen']], ['vector'])

    def test_info_of_another_shape(self):
        """Lists for the heads, formats and compute that are asked for; a format named twice is listed once."""
        shape = {'heads': 128, 'latent_dim': 256, 'rope_dim': 32}
        options = ('--heads', 128, '--latent', 256, '--rope', 32)
        for device in self.run_json('info', *options, '--format', 'q6,f16,q6', '--compute', 'fast')['devices']:
            self.assertNotIn('attend_exact', device)
            self.assertEqual([fast['format'] for fast in device['attend_fast']], ['q6', 'f16'])
            self.assertEqual({operation['heads'] for operation in device['operations']}, {128})
            for entry in device['attend_fast'] + [device['attend_heads_fast'] | {'latent_dim': 256}]:
                self.assertEqual({name: entry[name] for name in shape}, shape)
                self.assertEqual(entry['compute'], 'fast')
                self.assertEqual(sum(v['chosen'] for v in entry['variants']), 1, entry)
        answer = self.run_json('info', '--format', 'all', '--compute=exact', '--rope', 32)
        formats = [entry['name'] for entry in answer['row_formats']]
        self.assertEqual(answer['row_formats'][0]['row_bytes'], 4 * (512 + 32))
        for device in answer['devices']:
            self.assertNotIn('attend_heads_fast', device)
            self.assertEqual([(exact['format'], exact['heads'], exact['compute']) for exact in device['attend_exact']],
                             [(name, 16, 'exact') for name in formats])
        text = self.run_tool('info', *options, '--compute', 'fast').stdout.decode()
        for words in ('kernels for one token, 128 heads, rows of 256 + 32,', 'attend of fast compute, 128 heads, rows of 256 + 32,'):
            self.assertIn(words, text)
        self.assertNotIn('attend of exact compute', text)

    def test_info_of_new_tokens(self):
        def reasons(*options):
            answer = self.run_json('info', '--heads', 4, '--format', 'f16', '--compute', 'fast', *options)
            for device in answer['devices']:
                (entry,) = device['attend_fast']
                self.assertNotIn('query_tokens', device['attend_heads_fast'])
                for variant in entry['variants']:
                    yield entry['query_tokens'], variant['name'], variant['reason']
        few, many = list(reasons()), list(reasons('--query-tokens', 8))
        self.assertEqual({tokens for tokens, _, _ in few}, {1})
        self.assertEqual({tokens for tokens, _, _ in many}, {8})
        says = 'fewer than 8 heads times new tokens'
        self.assertTrue(any(name == 'matrix' and says in reason for _, name, reason in few))
        self.assertFalse([reason for _, _, reason in many if 'fewer than' in reason])
        text = self.run_tool('info', '--heads', 4, '--query-tokens', 8).stdout.decode()
        for words in ('kernels for 8 tokens, 4 heads, rows of 512 + 64,',
                      'attend of fast compute, 4 heads, 8 new tokens, rows of 512 + 64,'):
            self.assertIn(words, text)

    def test_info_bad_values(self):
        for names in ('q9', 'f16,', ',f16', '', 'all,f16', 'x' * 100):
            self.assert_refused('info', f'--format={names}', says=['row format: "', 'is none of f32, f16'])
        self.assert_refused('info', '--compute', 'wild', says='"wild" is none of exact, fast')
        for option, number in (('--heads', 0), ('--heads', 1025), ('--query-tokens', 0), ('--latent', 0),
                               ('--latent', 'x'), ('--rope', 257)):
            self.assert_refused('info', option, number, says=[option, f"'{number}'"])

    def test_info_of_one_device(self):
        for device in self.run_json('info')['devices']:
            picked = self.run_json('info', '--device', device['query'])['devices']
            self.assertEqual([d['name'] for d in picked], [device['name']])
        text = self.run_tool('info').stdout.decode()
        for words in ('attend', 'merge', 'row formats', 'f16', 'local memory', 'recordings', 'keys of 128 + 64',
                      'kernels for one token, 16 or 128 heads, rows of 512 + 64,', 'attend of exact compute, 16 heads, rows of 512 + 64,'):
            self.assertIn(words, text)

    # --- verify ----------------------------------------------------------------------------------------------------

    def test_verify_bad_values(self):
        case = self.cases / 'a_v2_tiny'
        self.assert_refused('verify', case, '--compute', 'wild', says='"wild" is none of exact, fast')
        self.assert_refused('verify', case, '--cache', 'f64', says=['f64', 'f32', 'f16', 'bf16', 'fp8', 'q8', 'q6', 'q5', 'q4'])
        self.assert_refused('verify', case, '--weights', 'f64', says=['--weights', "'f64'"])
        self.assert_refused('verify', case, '--rope-order', 'thirds', says=['--rope-order', "'thirds'"])
        for number in ('-1', '1.5', 'x', '', '99999999999', '2147483648'):
            self.assert_refused('verify', case, '--chunk', number, says=['--chunk', f"'{number}'"])
            self.assert_refused('verify', case, f'--page={number}', says=['--page', f"'{number}'"])

    def test_verify_missing_files(self):
        self.assert_refused('verify', self.here / 'nothing', says='nothing')
        for name in ('config.json', 'reference.json', 'reference.safetensors', 'model.safetensors'):
            case = self.copy(self.cases / 'a_v2_tiny')
            (case / name).unlink()
            self.assert_refused('verify', case, says=name)
        self.assert_refused('verify', self.cases / 'a_v2_tiny', '--config', self.here / 'other.json', says='other.json')

    def test_verify_broken_files(self):
        for name, size in (('config.json', 40), ('reference.json', 40), ('reference.safetensors', 4),
                           ('reference.safetensors', 700000), ('model.safetensors', 100), ('model.safetensors', 900000)):
            with self.subTest(name=name, size=size):
                case = self.copy(self.cases / 'a_v2_tiny')
                self.truncate(case / name, size)
                self.assert_refused('verify', case, says=name)

    def test_verify_tensors_that_do_not_fit(self):
        case = self.copy(self.cases / 'a_v2_tiny')
        reference = tool.read_safetensors(case / 'reference.safetensors')
        for name in ('hidden_states', 'positions', 'layers.0.attn_output', 'layers.1.latent', 'layers.0.k_pe'):
            without = {key: value for key, value in reference.items() if key != name}
            tool.write_safetensors(case / 'reference.safetensors', without)
            self.assert_refused('verify', case, says=name)
            shape, values = reference[name]
            tool.write_safetensors(case / 'reference.safetensors', reference | {name: ([1, *shape], values)})
            self.assert_refused('verify', case, says=name)
        shutil.copy(self.cases / 'a_v2_tiny/reference.safetensors', case)
        self.change_config(case, kv_lora_rank=128)
        self.assert_refused('verify', case, says='model.layers.0.self_attn')
        self.change_config(case, kv_lora_rank=-1)
        self.assert_refused('verify', case, says='kv_lora_rank')

    # --- generate --------------------------------------------------------------------------------------------------

    def test_generate_bad_values(self):
        self.assert_refused('generate', self.model, says='--prompt')
        self.assert_refused('generate', self.model, '--prompt', 'And', '--nll', 'x', says='--prompt')
        self.assert_refused('generate', self.model, '--prompt', '', says='--prompt is empty')
        self.assert_refused('generate', self.model, '--prompt', 'And', '-n', 0, says='-n')
        self.assert_refused('generate', self.model, '--prompt', 'And', '--cache', 'q9', says='q9')
        self.assert_refused('generate', self.model, '--prompt', 'And', '-n', 1024, says='max_position_embeddings is 1024')
        self.assert_refused('generate', self.model, '--nll', self.here / 'none', says='none')
        self.assert_refused('generate', '', '--prompt', 'And', says='MODEL is empty')
        self.assert_refused('generate', self.model, '--nll', 'x', '--load', 'x', says='--load')
        self.assert_refused('generate', self.model, '--nll', 'x', '--save', 'x', says='--save')
        self.assert_refused('generate', self.model, '--prompt', 'And', '--fork', 0, says='--fork')
        self.assert_refused('generate', self.model, '--load', self.here / 'none', says='none')
        self.assert_refused('generate', self.model, '--nll', self.model / 'eval.bin', '--segment', 1, says='--segment')
        (self.here / 'one').write_bytes(b'x')
        self.assert_refused('generate', self.model, '--nll', self.here / 'one', says='nothing to score')

    def test_generate_models_it_does_not_run(self):
        self.assert_refused('generate', self.here / 'none', '--prompt', 'And', says='none')
        for fields, says in (({'vocab_size': 32000}, 'vocab_size is 32000'), ({'vocab_size': 'many'}, 'vocab_size'),
                             ({'hidden_act': 'gelu'}, 'hidden_act'), ({'intermediate_size': None}, 'intermediate_size'),
                             ({'first_k_dense_replace': 1}, 'n_routed_experts')):
            with self.subTest(fields=fields):
                model = self.copy(self.model)
                self.change_config(model, **fields)
                self.assert_refused('generate', model, '--prompt', 'And', says=says)

    def test_generate_tensors_that_do_not_fit(self):
        model = self.copy(self.model)
        self.change_config(model, intermediate_size=512)
        self.assert_refused('generate', model, '--prompt', 'And', says=['model.layers.0.mlp.gate_proj.weight', '[512, 256]'])
        model = self.copy(self.model)
        self.change_config(model, num_hidden_layers=5, first_k_dense_replace=5)
        self.assert_refused('generate', model, '--prompt', 'And', says='model.layers.4')
        self.truncate(model / 'model.safetensors', 1000000)
        self.assert_refused('generate', model, '--prompt', 'And', says='model.safetensors')

    def test_texts_that_are_not_utf8_give_valid_json(self):
        answer = self.run_json('generate', self.model, '--prompt', os.fsdecode(b'In \xff\xc3\xa9 \xed\xa0\x80'), '-n', 3)
        self.assertEqual(answer['prompt'], 'In \ufffd\u00e9 \ufffd\ufffd\ufffd')
        self.assertEqual(len(answer['tokens']), 3)


if __name__ == '__main__':
    tool.main()
