#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the reference case of a long prompt: a layer of DeepSeek-V2's form, computed in double precision by the plain formulas.

    make_long_prompt.py FOLDER

Keys and values of all heads are made from the latent, then ordinary causal multi-head attention follows; nothing is absorbed, no
library is used, and inputs, weights and results are rounded to f32 when they are written, weights and inputs before they are used.
"""
import array
import json
import math
import operator
import pathlib
import random
import struct
import sys

TOKENS, HIDDEN, HEADS, LATENT, NOPE, ROPE, VALUE = 600, 128, 4, 64, 32, 16, 32
THETA, EPSILON, SEED = 10000.0, 1e-6, 107
CONFIG = {
    'architectures': ['DeepseekV2ForCausalLM'], 'attention_bias': False, 'hidden_size': HIDDEN, 'kv_lora_rank': LATENT,
    'max_position_embeddings': 2048, 'model_type': 'deepseek_v2', 'num_attention_heads': HEADS, 'num_hidden_layers': 1,
    'num_key_value_heads': HEADS, 'q_lora_rank': None, 'qk_nope_head_dim': NOPE, 'qk_rope_head_dim': ROPE,
    'rms_norm_eps': EPSILON, 'rope_scaling': None, 'rope_theta': THETA, 'torch_dtype': 'float32', 'v_head_dim': VALUE,
    'vocab_size': 256}


def to_f32(values):
    return list(array.array('f', values))


def normal(source, count, mean, deviation):
    return to_f32([source.gauss(mean, deviation) for _ in range(count)])


def matrix(source, rows, columns, gain=1.0):
    return [normal(source, columns, 0.0, gain / math.sqrt(columns)) for _ in range(rows)]


def dot(a, b):
    return sum(map(operator.mul, a, b))


def product(weights, vector):
    return [dot(row, vector) for row in weights]


def norm(values, weight):
    scale = 1.0 / math.sqrt(dot(values, values) / len(values) + EPSILON)
    return [v * scale * w for v, w in zip(values, weight)]


def rotate(values, position):
    """Neighbours are a pair and stay neighbours."""
    out = []
    for i in range(0, ROPE, 2):
        angle = position * THETA ** (-i / ROPE)
        c, s = math.cos(angle), math.sin(angle)
        out += [values[i] * c - values[i + 1] * s, values[i] * s + values[i + 1] * c]
    return out


def attend(query, keys, values):
    """One head of one token over the keys it sees."""
    scores = [dot(query, key) / math.sqrt(NOPE + ROPE) for key in keys]
    top = max(scores)
    weights = [math.exp(score - top) for score in scores]
    total = math.fsum(weights)
    return [dot(weights, column[:len(weights)]) / total for column in values]


def run(inputs, w):
    """Outputs, latents and rotated keys of all tokens."""
    latents, ropes, outputs = [], [], []
    keys = [[] for _ in range(HEADS)]
    values = [[[] for _ in range(VALUE)] for _ in range(HEADS)]  # by column
    for position, x in enumerate(inputs):
        row, q = product(w['kv_a_proj_with_mqa'], x), product(w['q_proj'], x)
        latent, k_pe = norm(row[:LATENT], w['kv_a_layernorm'][0]), rotate(row[LATENT:], position)
        rebuilt, heads = product(w['kv_b_proj'], latent), []
        for h in range(HEADS):
            at = h * (NOPE + VALUE)
            keys[h].append(rebuilt[at:at + NOPE] + k_pe)
            for column, value in zip(values[h], rebuilt[at + NOPE:at + NOPE + VALUE]):
                column.append(value)
            own = q[h * (NOPE + ROPE):(h + 1) * (NOPE + ROPE)]
            heads += attend(own[:NOPE] + rotate(own[NOPE:], position), keys[h], values[h])
        outputs.append(product(w['o_proj'], heads))
        latents.append(latent)
        ropes.append(k_pe)
    return outputs, latents, ropes


def write_safetensors(path, tensors):
    header, data = {}, b''
    for name, (kind, shape, values) in tensors.items():
        raw = array.array({'F32': 'f', 'I64': 'q'}[kind], values).tobytes()
        header[name] = {'dtype': kind, 'shape': shape, 'data_offsets': [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)
    path.write_bytes(struct.pack('<Q', len(text)) + text + data)


def flat(rows):
    return [value for row in rows for value in row]


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    source = random.Random(SEED)
    # Scores spread by about 2: some tokens look at few keys, some at many.
    weights = {'kv_a_layernorm': [normal(source, LATENT, 1.0, 0.1)],
               'kv_a_proj_with_mqa': matrix(source, LATENT + ROPE, HIDDEN),
               'kv_b_proj': matrix(source, HEADS * (NOPE + VALUE), LATENT),
               'o_proj': matrix(source, HIDDEN, HEADS * VALUE),
               'q_proj': matrix(source, HEADS * (NOPE + ROPE), HIDDEN, 2.0)}
    inputs = [normal(source, HIDDEN, 0.0, 1.0) for _ in range(TOKENS)]
    outputs, latents, ropes = run(inputs, weights)
    (folder / 'config.json').write_text(json.dumps(CONFIG, indent=1) + '\n', encoding='ascii')
    (folder / 'reference.json').write_text(json.dumps(
        {'case': folder.name, 'batch': 1, 'tokens': TOKENS, 'layers': 1, 'weights': 'f32', 'seed': SEED,
         'computed_by': 'tests/data/make_long_prompt.py', 'k_pe_order': 'interleaved'}, indent=1) + '\n', encoding='ascii')
    write_safetensors(folder / 'model.safetensors', {
        f'model.layers.0.self_attn.{name}.weight':
            ('F32', [len(rows[0])] if name.endswith('layernorm') else [len(rows), len(rows[0])], flat(rows))
        for name, rows in weights.items()})
    write_safetensors(folder / 'reference.safetensors', {
        'positions': ('I64', [1, TOKENS], range(TOKENS)),
        'hidden_states': ('F32', [1, TOKENS, HIDDEN], flat(inputs)),
        'layers.0.attn_output': ('F32', [1, TOKENS, HIDDEN], flat(outputs)),
        'layers.0.latent': ('F32', [1, TOKENS, LATENT], flat(latents)),
        'layers.0.k_pe': ('F32', [1, TOKENS, ROPE], flat(ropes)),
        'layers.0.k_pe_interleaved': ('F32', [1, TOKENS, ROPE], flat(ropes))})


main()
