#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Four models that differ in their attention alone: scores, texts and sizes as Hugging Face's implementation has them."""
import json
import os
import pathlib
import shutil
import tempfile

import tool

NLL_TOLERANCE = 1e-4
LAYERS = 4


class Family(tool.ToolTest):
    @classmethod
    def setUpClass(cls):
        cls.family = cls.model.parent / 'family'
        cls.reference = json.loads((cls.family / 'reference.json').read_text(encoding='utf-8'))
        cls.names = ['mha', 'gqa', 'mqa', 'mla']

    def changed(self, name, **fields):
        """A copy of a model with other fields in its config; None removes one."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        copy = pathlib.Path(shutil.copytree(self.family / name, pathlib.Path(folder.name) / name))
        config = json.loads((copy / 'config.json').read_text()) | fields
        (copy / 'config.json').write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
        return copy

    def check_model(self, name, model):
        expected = self.reference[name]
        self.assertEqual(model['attention'], name)
        self.assertAlmostEqual(model['nll'], expected['nats_per_byte'], delta=NLL_TOLERANCE)
        self.assertEqual(model['scored_bytes'], 65536 // 256 * 255)
        self.assertEqual(model['parameters'], expected['parameters'])
        self.assertEqual(model['cache_bytes_per_token'], 4 * LAYERS * expected['cache_elements_per_token_per_layer'])
        self.assertEqual([rate['tokens'] for rate in model['tokens_per_second']], [112, 496, 1008])
        self.assertTrue(all(rate['rate'] > 0 for rate in model['tokens_per_second']))

    def test_scores(self):
        """Of 65,000 bytes each: keys of all heads by their groups, and latents. CLMLA_TEST_FULL=1 has all four scored."""
        for name in self.names if os.environ.get('CLMLA_TEST_FULL') == '1' else ['gqa', 'mla']:
            with self.subTest(model=name):
                answer = self.run_json('compare', '--models', self.family / name)
                self.assertEqual((answer['segment'], answer['cache']), (256, 'f32'))
                self.check_model(name, *answer['models'])

    def test_several_models_and_a_text(self):
        text = self.model / 'eval.bin'
        models = self.run_json('compare', '--models', *(self.family / name for name in self.names), '--nll', text)['models']
        self.assertEqual([model['attention'] for model in models], self.names)
        for name, model in zip(self.names, models):
            self.assertEqual(model['nll'], self.run_json('generate', self.family / name, '--nll', text)['nll'])

    def test_greedy_texts(self):
        for name in self.names:
            for prompt, text in self.reference[name]['greedy'].items():
                for page in (64, 7):
                    with self.subTest(model=name, prompt=prompt, page=page):
                        answer = self.run_json('generate', self.family / name, '--prompt', prompt, '-n', len(text), '--page', page)
                        self.assertEqual(answer['text'], text)

    def test_sixteen_bit_caches(self):
        with tempfile.NamedTemporaryFile() as file:
            file.write((self.family / 'heldout.bin').read_bytes()[:4096])
            file.flush()
            for name in ('mha', 'gqa', 'mqa'):
                exact = self.run_json('generate', self.family / name, '--nll', file.name)
                for cache, tolerance in (('f16', 1e-3), ('bf16', 5e-3)):
                    with self.subTest(model=name, cache=cache):
                        answer = self.run_json('generate', self.family / name, '--nll', file.name, '--cache', cache)
                        self.assertAlmostEqual(answer['nll'], exact['nll'], delta=tolerance)
                        self.assertEqual(answer['bytes_per_token'] * 2, exact['bytes_per_token'])

    def test_what_is_not_run(self):
        for fields, says in (({'rope_scaling': {'type': 'linear'}}, 'rope_scaling is set'), ({'attention_bias': True}, 'attention_bias'),
                             ({'num_key_value_heads': 3}, 'num_attention_heads is 8, no multiple of num_key_value_heads, 3'), ({'head_dim': 40}, 'head_dim is 40'),
                             ({'rope_theta': 'ten'}, 'rope_theta'), ({'num_attention_heads': None}, 'num_attention_heads'),
                             ({'intermediate_size': 512}, 'model.layers.0.mlp.gate_proj.weight')):
            with self.subTest(fields=fields):
                self.assert_refused('generate', self.changed('gqa', **fields), '--prompt', 'And', says=says)
        self.assert_refused('generate', self.family / 'mha', '--prompt', 'And', '--cache', 'fp8', says='not fp8')
        self.assert_refused('generate', self.family / 'mha', '--prompt', 'And', '-n', 1100, says='max_position_embeddings is 1024')

    def test_fields_that_change_the_mathematics(self):
        """Each is refused by name, but not with the value that changes nothing; heads are of 32."""
        changing = {'partial_rotary_factor': 0.5, 'final_logit_softcapping': 30.0, 'attn_logit_softcapping': 50.0,
                    'attention_multiplier': 1.0, 'residual_multiplier': 0.22, 'embedding_multiplier': 12, 'logits_scaling': 8,
                    'query_pre_attn_scalar': 256, 'qk_norm': True, 'use_qk_norm': True, 'quantization_config': {'bits': 4}}
        for name, value in changing.items():
            for field in (value, 'much'):
                with self.subTest(name=name, field=field):
                    self.assert_refused('generate', self.changed('gqa', **{name: field}), '--prompt', 'And', says=f'config.json: {name} is ')
        neutral = {'partial_rotary_factor': 1.0, 'attention_multiplier': 0.17677669529663687, 'residual_multiplier': 1,
                   'embedding_multiplier': 1.0, 'logits_scaling': 1, 'query_pre_attn_scalar': 32, 'qk_norm': False, 'use_qk_norm': False,
                   'attn_logit_softcapping': 0.0, 'attention_dropout': 0.1}
        plain = self.run_json('generate', self.family / 'gqa', '--prompt', 'And', '-n', 4)
        folder = self.changed('gqa', **neutral)
        self.assertEqual(self.run_json('generate', folder, '--prompt', 'And', '-n', 4)['text'], plain['text'])
        config = json.loads((folder / 'config.json').read_text()) | dict.fromkeys(changing)
        (folder / 'config.json').write_text(json.dumps(config))
        self.assertEqual(self.run_json('generate', folder, '--prompt', 'And', '-n', 4)['text'], plain['text'])

    def test_refusals(self):
        self.assert_refused('compare', '--models', says='--models needs a value')
        self.assert_refused('compare', '--models', self.family / 'none', '--nll', self.family / 'heldout.bin', says='none')
        self.assert_refused('compare', '--models', self.family / 'mha', '--nll', self.family / 'none', says='none')
        self.assert_refused('compare', '--models', self.family / 'mha', '--segment', 2000, says='segments take 2000')
        self.assert_refused('compare', '--models', self.family / 'none', says=['none', 'config.json'])
        self.assert_refused('compare', '--models', self.model, says=['heldout.bin', '--nll'])
        self.assert_refused('compare', f'--models={self.family / "gqa"}', '--cache', 'q9', says='q9')
        self.assert_refused('compare', '--models', *['x'] * 17, says='up to 16 folders')


if __name__ == '__main__':
    tool.main()
