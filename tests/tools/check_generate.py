#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The bundled language model writes and scores exactly what Hugging Face's implementation does."""
import json
import tempfile

import tool

# Below this distance between the two likeliest bytes a 16-bit cache may choose the other one.
SAFE_MARGIN = 0.05
NLL_TOLERANCE = 1e-4


class Generate(tool.ToolTest):
    @classmethod
    def setUpClass(cls):
        cls.facts = json.loads((cls.model / 'greedy_reference.json').read_text(encoding='utf-8'))
        cls.tensors = tool.read_safetensors(cls.model / 'greedy_reference.safetensors')

    def expected(self, index):
        return bytes(self.tensors[f'prompt.{index}'][1]), bytes(self.tensors[f'generated.{index}'][1])

    def continued(self, index, *options):
        prompt, generated = self.expected(index)
        answer = self.run_json('generate', self.model, '--prompt', prompt.decode(), '-n', len(generated), *options)
        return bytes(answer['tokens']), generated

    def test_f32_cache_is_exact_for_every_prompt(self):
        self.assertEqual(len(self.facts['prompts']), 10)
        for index in range(10):
            with self.subTest(prompt=index):
                self.assertEqual(*self.continued(index))

    def test_f16_cache_is_exact_where_the_choice_is_clear(self):
        clear = [i for i, p in enumerate(self.facts['prompts']) if p['min_top1_margin'] >= SAFE_MARGIN]
        self.assertGreaterEqual(len(clear), 3)
        for index in clear:
            with self.subTest(prompt=index):
                self.assertEqual(*self.continued(index, '--cache', 'f16'))

    def test_page_sizes_do_not_matter(self):
        for page in (1, 7, 0):
            with self.subTest(page=page):
                self.assertEqual(*self.continued(0, '--page', page))

    def test_stdout_is_the_text_alone(self):
        prompt, generated = self.expected(3)
        result = self.run_tool('generate', self.model, '--prompt', prompt.decode(), '-n', len(generated))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stdout, generated)
        for words in (b'tokens/s', b'cache: ', b'multi-head attention would take', b'ready after', b'programs: '):
            self.assertIn(words, result.stderr)

    def test_cache_bytes(self):
        # 64 + 16 elements a layer, 4 layers; multi-head attention: 8 heads of 32 + 16 + 32.
        for cache, row, size in (('f32', 320, 4), ('f16', 160, 2), ('bf16', 160, 2), ('fp8', 100, 2), ('fp8_flat', 80, 2),
                                 ('q8', 88, 2), ('q6', 76, 2), ('q5', 72, 2), ('q4', 60, 2)):
            answer = self.run_json('generate', self.model, '--prompt', 'And', '-n', 5, '--cache', cache, '--page', 4)
            self.assertEqual(answer['bytes_per_token'], 4 * row)
            self.assertEqual(answer['mha_bytes_per_token'], 8 * 80 * 4 * size)
            self.assertEqual(answer['cache_bytes'], 8 * answer['bytes_per_token'])
            self.assertEqual(len(answer['tokens']), 5)
            self.assertEqual(answer['text'].encode(), bytes(answer['tokens']))

    def test_score_of_held_out_text(self):
        shape, values = self.tensors['eval_nll']
        mean = sum(values) / len(values)
        self.assertAlmostEqual(mean, self.facts['eval_mean_nll'], delta=1e-6)
        text = bytes(self.tensors['eval_bytes'][1])
        self.assertEqual((self.model / 'eval.bin').read_bytes(), text)
        for cache, tolerance in (('f32', NLL_TOLERANCE), ('f16', 1e-3), ('bf16', 5e-3), ('fp8', 5e-3), ('q8', 2e-3),
                                 ('q6', 3e-3), ('q5', 3e-3), ('q4', 1e-2)):
            with self.subTest(cache=cache):
                answer = self.run_json('generate', self.model, '--nll', self.model / 'eval.bin', '--cache', cache)
                self.assertAlmostEqual(answer['nll'], mean, delta=tolerance)
                self.assertEqual((answer['segments'], answer['scored_bytes']), (shape[0], len(values)))

    def score(self, text, segment):
        with tempfile.NamedTemporaryFile() as file:
            file.write(text)
            file.flush()
            return self.run_json('generate', self.model, '--nll', file.name, '--segment', segment)

    def test_shorter_segments(self):
        (rows, width), values = self.tensors['eval_nll']
        text = bytes(self.tensors['eval_bytes'][1])
        starts = [text[row * (width + 1):][:100] for row in range(rows)]
        mean = sum(sum(values[row * width:][:99]) for row in range(rows)) / (rows * 99)
        answer = self.score(b''.join(starts), 100)
        self.assertEqual((answer['segments'], answer['scored_bytes']), (rows, rows * 99))
        self.assertAlmostEqual(answer['nll'], mean, delta=NLL_TOLERANCE)

    def test_segments_longer_than_a_step_and_a_short_last_one(self):
        (_, width), values = self.tensors['eval_nll']
        text = bytes(self.tensors['eval_bytes'][1])
        answer = self.score(text, 600)
        self.assertEqual((answer['segments'], answer['scored_bytes']), (2, len(text) - 2))
        # The first step's 255 bytes are known; the two after them cross into the second step.
        answer = self.score(text[:width + 3], 600)
        self.assertEqual((answer['segments'], answer['scored_bytes']), (1, width + 2))
        rest = answer['nll'] * (width + 2) - sum(values[:width])
        self.assertGreater(rest, 0)
        self.assertLess(rest, 2 * 12)

    def test_a_prompt_longer_than_a_step(self):
        prompt, generated = self.expected(8)
        text = (prompt + generated + b'\nAnd it came to pass, when they had gone')[:250].decode()
        whole = self.run_json('generate', self.model, '--prompt', text, '-n', 40)['text']
        later = self.run_json('generate', self.model, '--prompt', text + whole[:20], '-n', 20)['text']
        self.assertEqual(len(text), 250)
        self.assertEqual(later, whole[20:])


if __name__ == '__main__':
    tool.main()
