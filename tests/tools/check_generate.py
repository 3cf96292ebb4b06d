#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The bundled language model writes and scores exactly what Hugging Face's implementation does."""
import json
import os
import pathlib
import tempfile

import tool

# Below this distance between the two likeliest bytes a 16-bit cache may choose the other one.
SAFE_MARGIN = 0.05
NLL_TOLERANCE = 1e-4
# Each format is some programs to compile: in the short form one plain, one scaled and one quantised besides f32.
FORMATS = ['f32', 'f16', 'fp8', 'q5'] if os.environ.get('CLMLA_TEST_SHORT') == '1' else None


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
            if FORMATS and cache not in FORMATS:
                continue
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
            if FORMATS and cache not in FORMATS:
                continue
            with self.subTest(cache=cache):
                answer = self.run_json('generate', self.model, '--nll', self.model / 'eval.bin', '--cache', cache)
                self.assertAlmostEqual(answer['nll'], mean, delta=tolerance)
                self.assertEqual((answer['segments'], answer['scored_bytes']), (shape[0], len(values)))

    # --- saved texts and forks ---------------------------------------------------------------------------------------

    def test_a_saved_text_goes_on_as_if_never_interrupted(self):
        prompt, generated = self.expected(2)
        for cache, pages in (('f32', (64, 7, 0)), ('f16', (1, 64, 5)), ('bf16', (16, 3, 64))):
            whole = self.run_json('generate', self.model, '--prompt', prompt.decode(), '-n', 120, '--cache', cache)
            if cache == 'f32':
                self.assertEqual(bytes(whole['tokens']), generated[:120])
            with self.subTest(cache=cache), tempfile.TemporaryDirectory() as folder:
                one, two = f'{folder}/one', f'{folder}/two'
                written = self.run_json('generate', self.model, '--prompt', prompt.decode(), '-n', 50, '--cache', cache,
                                        '--page', pages[0], '--save', one)['tokens']
                # The saved text's own format is the default; page sizes may differ.
                answer = self.run_json('generate', self.model, '--load', one, '-n', 30, '--page', pages[1], '--save', two)
                self.assertEqual(answer['cache'], cache)
                written += answer['tokens']
                written += self.run_json('generate', self.model, '--load', two, '-n', 40, '--page', pages[2])['tokens']
                self.assertEqual(bytes(written), bytes(whole['tokens']))

    def test_a_text_that_cannot_be_saved(self):
        """That is told before anything is written; what is there already stays."""
        with tempfile.TemporaryDirectory() as folder:
            result = self.run_tool('generate', self.model, '--prompt', 'And ', '-n', 5, '--save', f'{folder}/none/x')
            self.assertEqual((result.returncode, result.stdout), (2, b''))
            self.assertIn(b'none/x', result.stderr)
            kept = pathlib.Path(folder, 'kept')
            kept.write_bytes(b'of before')
            result = self.run_tool('generate', self.model, '--prompt', 'And ', '--cache', 'q9', '--save', kept)
            self.assertEqual((result.returncode, kept.read_bytes()), (2, b'of before'))

    def test_a_saved_text_and_a_prompt_behind_it(self):
        with tempfile.TemporaryDirectory() as folder:
            first = self.run_json('generate', self.model, '--prompt', 'And ', '-n', 20, '--save', f'{folder}/x')['text']
            later = self.run_json('generate', self.model, '--load', f'{folder}/x', '--prompt', ' Then', '-n', 20)
            plain = self.run_json('generate', self.model, '--prompt', 'And ' + first + ' Then', '-n', 20)
            self.assertEqual(later['text'], plain['text'])

    def test_saved_texts_that_do_not_fit(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, 'x')
            self.run_json('generate', self.model, '--prompt', 'And ', '-n', 5, '--save', path)
            self.assert_refused('generate', self.model, '--load', path, '--cache', 'f16', says=['row format', 'f16', 'f32'])
            self.assert_refused('generate', self.model, '--load', folder, says='not a regular file')
            self.assert_refused('generate', self.model, '--load', path, '-n', 1020, says='max_position_embeddings')
            self.assert_refused('generate', self.model, '--prompt', 'A', '-n', 2, '--json', '--save', f'{folder}/no/x',
                                says='cannot be written')
            data = path.read_bytes()
            path.write_bytes(data[:-1])
            self.assert_refused('generate', self.model, '--load', path, says=[f'after {len(data) - 1} of {len(data)} bytes'])
            path.write_bytes(data[:-5] + bytes([data[-5] ^ 1]) + data[-4:])
            self.assert_refused('generate', self.model, '--load', path, says='checksum')

    def test_forks_write_the_same_and_share_pages(self):
        prompt, generated = self.expected(8)
        text = (prompt + generated[:100]).decode()
        alone = self.run_json('generate', self.model, '--prompt', text, '-n', 40, '--page', 16)
        forked = self.run_json('generate', self.model, '--prompt', text, '-n', 40, '--page', 16, '--fork', 5)
        self.assertEqual(forked['tokens'], alone['tokens'])
        tokens = len(text) + 40 - 1 # the last byte's row is not needed any more
        pages, full = -(-tokens // 16), len(text) // 16
        self.assertEqual((alone['sequences'], alone['pages_used'], alone['pages_shared']), (1, pages, 0))
        self.assertEqual(forked['sequences'], 5)
        self.assertEqual(forked['cached_tokens'], 5 * tokens)
        self.assertEqual(forked['pages_shared'], full)
        self.assertEqual(forked['pages_used'], full + 5 * (pages - full))
        self.assertEqual(forked['pages_without_sharing'], 5 * pages)
        self.assertAlmostEqual(forked['bytes_per_cached_token'],
                               forked['pages_used'] * 16 * forked['bytes_per_token'] / (5 * tokens))
        result = self.run_tool('generate', self.model, '--prompt', text, '-n', 40, '--page', 16, '--fork', 5)
        self.assertEqual(result.stdout, bytes(alone['tokens']))
        self.assertIn(f'{forked["pages_used"]} pages of 16, {full} of them shared'.encode(), result.stderr)

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
