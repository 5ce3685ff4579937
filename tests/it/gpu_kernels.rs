//! Kernels beside products on the GPU (norms, attention, pooling, sampling, …) against their CPU twins, on devices with and
//! without subgroups.

use crate::common::gpu::{block_on, raw_gpu};
use crate::common::kernels::{
    LIMIT, apply, columns, devices, devices_and_choices, f32_matrix, many_columns, one_column, ordered_matrix, plain,
    poisoned, run, run_with_state, upload, upload_ids,
};
use crate::common::reference::{self, check, noise};
use trice::gpu::choices::{NARROW_CHUNK, WIDE_CHUNK};
use trice::gpu::{Buffer, Choices, Gpu};
use trice::kernels::attention::{
    HeadNorm, Heads, KvBuffers, KvType, NO_WINDOW, Qkv, Rope, Score, Scores, Span, Splits, Staged, attention, kv_store,
    rope_append, split_len,
};
use trice::kernels::elementwise::{NormKind, NormWeights, Pooling, Scaling, gate, norm, pool};
use trice::kernels::matmul::{Activation, Output, Product, multiply};
use trice::kernels::sample::{SAMPLING_BYTES, mask, mask_words, nll, sample, write_sampling};
use trice::kernels::{ColumnsAre, STATE_BYTES, write_state};
use trice::text::{SamplingParams, sampling};

#[test]
fn norm_of_both_kinds_leaves_padding_zero() {
    for gpu in devices() {
        // 44 values: a vec4 remainder of a granule, and padding that must stay out of the mean.
        let (n, n_tokens) = (44usize, 3);
        let (x, g, b) = (noise(1, n * n_tokens), noise(2, 64), noise(3, 64));
        let mut padded = [[0.0; 64]; 2];
        padded[0][..n].copy_from_slice(&g[..n]);
        padded[1][..n].copy_from_slice(&b[..n]);
        let vectors = upload(&gpu, padded.as_flattened());
        let (r, no_r) = (noise(4, n * n_tokens), vec![0.0; n * n_tokens]);
        let residual = columns(&gpu, 8, n as u32, &r);
        let kinds = [NormKind::Rms, NormKind::Layer { bias: 16 }];
        for (kind, has_residual) in kinds.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
            let (x_columns, y) = (columns(&gpu, 8, n as u32, &x), poisoned(&gpu, 8, n as u32));
            let weights = NormWeights { kind, weight: 0, eps: 1e-6 };
            let (added, r) = if has_residual { (Some(&residual), &r) } else { (None, &no_r) };
            run(&gpu, &vectors, 0, n_tokens as u32, |pass| norm(pass, weights, &x_columns, added, &y));
            let found = block_on(y.read(&gpu, n_tokens)).unwrap();
            for (column, x) in x.chunks(n).enumerate() {
                let normed: Vec<f64> = match kind {
                    NormKind::Rms => reference::rms_norm(x, &g[..n], 1e-6).into_iter().map(f64::from).collect(),
                    NormKind::Layer { .. } => reference::layer_norm(x, &g[..n], &b[..n], 1e-6),
                };
                let wanted: Vec<f64> = normed.iter().zip(&r[column * n..]).map(|(v, r)| v + f64::from(*r)).collect();
                check("norm", &found[column], &wanted, LIMIT);
            }
        }
    }
}

#[test]
fn gate_multiplies_activated_gate_and_up() {
    for gpu in devices() {
        let (n, n_tokens) = (172usize, 3usize);
        let x = noise(9, 2 * n * n_tokens);
        for activation in [Activation::Silu, Activation::Gelu, Activation::GeluTanh, Activation::Relu] {
            let (x_columns, y) = (columns(&gpu, 8, 2 * n as u32, &x), poisoned(&gpu, 8, n as u32));
            let vectors = upload(&gpu, &[0.0; 4]);
            run(&gpu, &vectors, 0, n_tokens as u32, |pass| gate(pass, activation, &x_columns, &y));
            let found = block_on(y.read(&gpu, n_tokens)).unwrap();
            for (column, x) in x.chunks(2 * n).enumerate() {
                let wanted: Vec<f64> =
                    (0..n).map(|i| apply(f64::from(x[i]), activation) * f64::from(x[n + i])).collect();
                check("gate", &found[column], &wanted, LIMIT);
            }
        }
    }
}

/// What `attend` is to do.
#[derive(Clone, Copy, Debug)]
struct Attend {
    kv_type: KvType,
    rope: Rope,
    window: u32,
    scale: f32,
    softcap: Option<f32>,
    norm: Option<HeadNorm>,
    /// Positions of the cache.
    cells: u32,
}

const PLAIN: Attend = Attend {
    kv_type: KvType::F32,
    rope: Rope::Neox,
    window: NO_WINDOW,
    scale: 0.2,
    softcap: None,
    norm: None,
    cells: 40,
};

/// Grouped heads, all orders of rotation, both cache types: a prompt in two chunks, then one token.
#[test]
fn attention_over_an_appended_cache() {
    for gpu in devices() {
        for (kv_type, limit) in [(KvType::F32, LIMIT), (KvType::F16, 1e-5), (KvType::Q8, 1e-3)] {
            for rope in [Rope::None, Rope::Interleaved, Rope::Neox, Rope::NeoxPart { rotated: 8 }] {
                attend(&gpu, Attend { kv_type, rope, ..PLAIN }, limit);
            }
        }
    }
}

/// Windows shorter and longer than what there is, bounded scores, another scale.
#[test]
fn attention_of_a_window_and_with_bounded_scores() {
    for gpu in devices() {
        for window in [1, 7, 16, 100] {
            attend(&gpu, Attend { window, ..PLAIN }, LIMIT);
        }
        attend(&gpu, Attend { softcap: Some(0.3), window: 5, scale: 0.9, ..PLAIN }, LIMIT);
        // A ring that holds no more than the first chunk's last query and window need.
        for kv_type in [KvType::F32, KvType::Q8] {
            let limit = if kv_type == KvType::F32 { LIMIT } else { 1e-3 };
            attend(&gpu, Attend { kv_type, window: 7, cells: 30, ..PLAIN }, limit);
        }
    }
}

/// Every kind of norm of q and k: one weight for all heads, one for each, one over all heads.
#[test]
fn q_and_k_are_normed_before_they_are_rotated() {
    for gpu in devices() {
        let norm = HeadNorm { is_layer: false, over_all: false, q: 1, k: 40, stride: 0, eps: 1e-5 };
        for norm in [
            norm,
            HeadNorm { stride: 5, ..norm },
            HeadNorm { stride: 5, over_all: true, ..norm },
            HeadNorm { stride: 5, is_layer: true, ..norm },
        ] {
            attend(&gpu, Attend { norm: Some(norm), ..PLAIN }, LIMIT);
        }
    }
}

/// The product that ends in q and the cache leaves there what a plain product and `rope_append` leave.
#[test]
fn qkv_of_a_product_equals_rope_append() {
    for gpu in devices_and_choices(&[one_column(), many_columns()].concat()) {
        let heads = Heads { n_heads: 3, n_kv_heads: 1, head_dim: 12, context_len: 20, kv_type: KvType::F32 };
        let (n_cols, n_rows) = (40usize, 60usize);
        let values = noise(31, n_rows * n_cols);
        let weights = f32_matrix(&gpu, n_rows, n_cols, &values);
        let vectors = upload(&gpu, &noise(32, 96));
        let angles = upload(&gpu, &noise(33, 20 * 12));
        let part = Rope::NeoxPart { rotated: 8 };
        for (rope, n_tokens) in [(Rope::Neox, 1u32), (Rope::Interleaved, 11), (Rope::None, 5), (part, 3)] {
            let by_quads = ordered_matrix(&gpu, n_rows, n_cols, &values, rope.row_order(heads.head_dim));
            let capacity = if n_tokens == 1 { 1 } else { 16 };
            let x = columns(&gpu, capacity, n_cols as u32, &noise(34, n_tokens as usize * n_cols));
            let results = [true, false].map(|is_fused| {
                let cache_bytes = 20 * 12 * 4;
                let cache =
                    KvBuffers { k: gpu.buffer("k", cache_bytes).unwrap(), v: gpu.buffer("v", cache_bytes).unwrap() };
                let (q, y) = (poisoned(&gpu, capacity, 36), poisoned(&gpu, capacity, n_rows as u32));
                let qkv = Qkv { heads: &heads, rope, norm: None, angles: &angles, q: &q, cache: &cache, staged: None };
                run(&gpu, &vectors, 4, n_tokens, |pass| {
                    let product = Product { bias: Some(2), ..plain(&weights, &x, &y) };
                    if is_fused {
                        multiply(pass, &Product { weights: &by_quads, output: Output::Qkv(qkv), ..product });
                    } else {
                        multiply(pass, &product);
                        rope_append(pass, &qkv, &y);
                    }
                });
                let q = block_on(q.read(&gpu, n_tokens as usize)).unwrap().concat();
                let read = |buffer: &Buffer| block_on(gpu.read(buffer, 0, cache_bytes)).unwrap();
                let kv: Vec<f32> = bytemuck::pod_collect_to_vec(&[read(&cache.k), read(&cache.v)].concat());
                [q, kv].concat()
            });
            let wanted: Vec<f64> = results[1].iter().map(|v| f64::from(*v)).collect();
            assert!(wanted.iter().any(|v| *v != 0.0));
            check(&format!("qkv {rope:?}"), &results[0], &wanted, 1e-12);
        }
    }
}

fn attend(gpu: &Gpu, what: Attend, limit: f64) {
    const D: usize = 20;
    let Attend { kv_type, rope, window, scale, softcap, norm, cells } = what;
    let heads = Heads { n_heads: 6, n_kv_heads: 2, head_dim: D as u32, context_len: cells, kv_type };
    let (n_heads, width) = (10usize, 10 * D);
    let n_angles = rope.rotated(D as u32) as usize / 2;
    let angles: Vec<[f32; 2]> = noise(3, 40 * n_angles.max(1)).iter().map(|a| [a.cos(), a.sin()]).collect();
    let angle_buffer = upload(gpu, angles.as_flattened());
    let cache_bytes = 2 * u64::from(cells) * kv_type.row_bytes(D as u32);
    let cache = KvBuffers { k: gpu.buffer("k", cache_bytes).unwrap(), v: gpu.buffer("v", cache_bytes).unwrap() };
    let weights = noise(4, 256);
    let vectors = upload(gpu, &weights);
    let x = noise(8, 33 * width);
    let rotate = |head: &[f32], position: usize| {
        let row = &angles[position * n_angles..(position + 1) * n_angles];
        match rope {
            Rope::None => head.to_vec(),
            Rope::Interleaved => reference::rope(head, row, |t| (2 * t, 2 * t + 1)),
            Rope::Neox => reference::rope(head, row, |t| (t, t + D / 2)),
            Rope::NeoxPart { .. } => reference::rope(head, row, |t| (t, t + n_angles)),
        }
    };
    let head_of = |position: usize, head: usize| &x[(position * n_heads + head) * D..][..D];
    // q's 6 heads, then k's 2, normed and rotated.
    let rotated = |position: usize, head: usize| {
        let Some(norm) = norm else { return rotate(head_of(position, head), position) };
        let (first, n, weight) = if head < 6 { (0, 6, norm.q) } else { (6, 2, norm.k) };
        let all = &x[(position * n_heads + first) * D..][..n * D];
        let own = (head - first) * D..(head - first + 1) * D;
        let among = if norm.over_all { all } else { &all[own.clone()] };
        let mean = if norm.is_layer { among.iter().sum::<f32>() / among.len() as f32 } else { 0.0 };
        let square = among.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / among.len() as f32;
        let g = &weights[4 * (weight as usize + (head - first) * norm.stride as usize)..];
        let normed: Vec<f32> =
            all[own].iter().zip(g).map(|(v, g)| (v - mean) / (square + norm.eps).sqrt() * g).collect();
        rotate(&normed, position)
    };
    for (first, n) in [(0usize, 24usize), (24, 8), (32, 1)] {
        let capacity = n.next_multiple_of(8) as u32;
        let qkv_columns = columns(gpu, capacity, width as u32, &x[first * width..(first + n) * width]);
        let (q, y) = (poisoned(gpu, capacity, 6 * D as u32), poisoned(gpu, capacity, 6 * D as u32));
        let staged = Staged::new(gpu, &heads, capacity).unwrap();
        let (angles, staged) = (&angle_buffer, staged.as_ref());
        let qkv = Qkv { heads: &heads, rope, norm, angles, q: &q, cache: &cache, staged };
        run(gpu, &vectors, first as u32, n as u32, |pass| {
            rope_append(pass, &qkv, &qkv_columns);
            kv_store(pass, &qkv);
            let score = softcap.map_or(Score::Plain, Score::SoftCap);
            let scores = Scores { span: Span::Causal, window, scale, score };
            attention(pass, &heads, &scores, &q, &cache, &Splits::NONE, &y);
        });
        let found = block_on(y.read(gpu, n)).unwrap();
        for (column, found) in found.iter().enumerate() {
            for head in 0..6 {
                let position = first + column;
                let seen = (position + 1).saturating_sub(window as usize)..=position;
                let k: Vec<_> = seen.clone().map(|p| rotated(p, 6 + head / 3)).collect();
                let v: Vec<_> = seen.map(|p| head_of(p, 8 + head / 3).to_vec()).collect();
                let q = rotated(position, head);
                let wanted = reference::scored_attention(&q, &k, &v, |score| {
                    let score = f64::from(scale) * score;
                    softcap.map_or(score, |bound| f64::from(bound) * (score / f64::from(bound)).tanh())
                });
                let name = format!("{what:?} position {position} head {head}");
                check(&name, &found[head * D..(head + 1) * D], &wanted, limit);
            }
        }
    }
}

/// A long span in parts, and columns that see fewer positions than there are parts.
#[test]
fn split_attention_equals_whole_attention() {
    let chunks = [NARROW_CHUNK, WIDE_CHUNK].map(|chunk| Choices { chunk, ..Choices::default() });
    for gpu in devices_and_choices(&chunks) {
        let split_len = split_len(&gpu.choices());
        let context = 3 * split_len;
        let heads = Heads { n_heads: 3, n_kv_heads: 1, head_dim: 64, context_len: context, kv_type: KvType::F16 };
        let n_words = (context * 64 / 2) as usize;
        let halves = |seed| -> Vec<u32> {
            noise(seed, 2 * n_words)
                .chunks(2)
                .map(|pair| {
                    let [a, b] = [pair[0], pair[1]].map(|v| u32::from(half::f16::from_f32(v).to_bits()));
                    a | b << 16
                })
                .collect()
        };
        let cache = KvBuffers { k: upload_ids(&gpu, &halves(41)), v: upload_ids(&gpu, &halves(42)) };
        let vectors = upload(&gpu, &[0.0; 4]);
        for (position, n_tokens) in [(2 * split_len + 17, 1u32), (split_len - 3, 7), (5, 1)] {
            let capacity = if n_tokens == 1 { 1 } else { 8 };
            let q = columns(&gpu, capacity, 192, &noise(43, 192 * n_tokens as usize));
            let results = [1u32, 4].map(|n_splits| {
                let splits = Splits::new(&gpu, &heads, capacity, n_splits).unwrap();
                let y = poisoned(&gpu, capacity, 192);
                run(&gpu, &vectors, position, n_tokens, |pass| {
                    attention(pass, &heads, &Scores::plain(&heads, Span::Causal), &q, &cache, &splits, &y);
                });
                block_on(y.read(&gpu, n_tokens as usize)).unwrap().concat()
            });
            let wanted: Vec<f64> = results[0].iter().map(|v| f64::from(*v)).collect();
            check(&format!("split attention at {position}"), &results[1], &wanted, 1e-10);
        }
    }
}

#[test]
fn pool_of_every_kind() {
    for gpu in devices() {
        let (n, spans) = (36usize, [[0u32, 3], [3, 4], [4, 11]]);
        let x = noise(2, 11 * n);
        let (x_columns, texts) = (columns(&gpu, 16, n as u32, &x), upload_ids(&gpu, spans.as_flattened()));
        let vectors = upload(&gpu, &[0.0; 4]);
        for pooling in [Pooling::Mean, Pooling::Cls, Pooling::Last] {
            for scaling in [Scaling::Raw, Scaling::Unit] {
                let y = poisoned(&gpu, 8, n as u32);
                run(&gpu, &vectors, 0, 3, |pass| pool(pass, pooling, scaling, &texts, &x_columns, &y));
                let found = block_on(y.read(&gpu, 3)).unwrap();
                for (i, [first, end]) in spans.into_iter().enumerate() {
                    let columns: Vec<&[f32]> = x.chunks(n).take(end as usize).skip(first as usize).collect();
                    let wanted = pooled(&columns, pooling, scaling);
                    check(&format!("pool {pooling:?} {scaling:?}"), &found[i], &wanted, LIMIT);
                }
            }
        }
    }
}

fn pooled(columns: &[&[f32]], pooling: Pooling, scaling: Scaling) -> Vec<f64> {
    let n = columns[0].len();
    let mut vector: Vec<f64> = (0..n)
        .map(|d| match pooling {
            Pooling::Mean => columns.iter().map(|c| f64::from(c[d])).sum::<f64>() / columns.len() as f64,
            Pooling::Cls => f64::from(columns[0][d]),
            Pooling::Last => f64::from(columns[columns.len() - 1][d]),
        })
        .collect();
    if scaling == Scaling::Unit {
        let length = vector.iter().map(|v| v * v).sum::<f64>().sqrt();
        vector.iter_mut().for_each(|v| *v /= length);
    }
    vector
}

#[test]
fn nll_of_every_column() {
    for gpu in devices() {
        let (n, n_tokens, position) = (1000usize, 5usize, 7usize);
        let logits: Vec<f32> = noise(4, n * n_tokens).iter().map(|v| v * 12.0).collect();
        let history: Vec<u32> = (0..20u32).map(|p| p * 37 % 1000).collect();
        let (columns, ids) = (columns(&gpu, 8, n as u32, &logits), upload_ids(&gpu, &history));
        let y = gpu.buffer("scores", 32).unwrap();
        let vectors = upload(&gpu, &[0.0; 4]);
        run(&gpu, &vectors, position as u32, n_tokens as u32, |pass| nll(pass, &columns, &ids, &y));
        let found: Vec<f32> = bytemuck::pod_collect_to_vec(&block_on(gpu.read(&y, 0, 20)).unwrap());
        let wanted: Vec<f64> = logits
            .chunks(n)
            .enumerate()
            .map(|(column, row)| reference::nll(row, history[position + column + 1] as usize))
            .collect();
        check("nll", &found, &wanted, LIMIT);
    }
}

/// The sampler against its CPU twin over many requests, and what it leaves in history and state.
#[test]
fn sample_chooses_as_its_twin() {
    let Some(gpu) = raw_gpu() else { return };
    let greedy = SamplingParams::default();
    let warm = SamplingParams { temperature: 0.8, ..greedy };
    let requests = [
        greedy,
        SamplingParams { repeat_penalty: 1.8, repeat_last_n: 4, ..greedy },
        warm,
        SamplingParams { top_k: 5, ..warm },
        SamplingParams { top_p: 0.7, ..warm },
        SamplingParams { min_p: 0.2, ..warm },
        SamplingParams { top_k: 50, top_p: 0.9, min_p: 0.05, repeat_penalty: 1.3, temperature: 1.5, ..greedy },
    ];
    let (n, vocab) = (6u32, 777usize);
    for (i, request) in requests.iter().enumerate() {
        for seed in 0..12 {
            let params = SamplingParams { seed, ..*request };
            let logits: Vec<f32> = noise(u64::from(seed) * 31 + 7, vocab).iter().map(|v| v * 6.0).collect();
            let history: Vec<u32> = (0..n).map(|p| sampling::sample(&logits, &[p], &greedy).unwrap() + p % 3).collect();
            let wanted = sampling::sample(&logits, &history, &params).unwrap();
            assert_eq!(sample_on(&gpu, &logits, &history, &params), (wanted, n, 1), "request {i}, seed {seed}");
        }
    }
    let mut broken = noise(1, vocab);
    broken[300] = f32::NAN;
    assert_eq!(sample_on(&gpu, &broken, &[0; 6], &greedy).0, u32::MAX, "a NaN is noticed");
}

/// Each column loses what its own mask does not allow, and the sampler chooses from the rest as its twin does.
#[test]
fn mask_leaves_what_is_allowed() {
    let Some(gpu) = raw_gpu() else { return };
    let (vocab, n_columns) = (777usize, 3usize);
    let n_words = mask_words(vocab as u32);
    let logits: Vec<f32> = noise(5, n_columns * vocab).iter().map(|v| v * 6.0).collect();
    // A tenth of the tokens, one, and all.
    let tenth = noise(6, n_words * 32);
    let bits = |at: usize| (0..32).fold(0, |word, bit| word | u32::from(tenth[at * 32 + bit] > 0.8) << bit);
    let mut allowed: Vec<u32> = (0..n_words).map(bits).collect();
    allowed.extend((0..n_words).map(|at| u32::from(at == 9) << 13));
    allowed.extend(vec![u32::MAX; n_words]);
    let (masks, vectors) = (upload_ids(&gpu, &allowed), upload(&gpu, &[0.0; 4]));
    let logit_columns = columns(&gpu, n_columns as u32, vocab as u32, &logits);
    run(&gpu, &vectors, 0, n_columns as u32, |pass| mask(pass, &masks, &logit_columns));
    let found = block_on(logit_columns.read(&gpu, n_columns)).unwrap();
    let warm = SamplingParams { temperature: 1.2, ..SamplingParams::default() };
    let requests = [
        SamplingParams::default(),
        warm,
        SamplingParams { top_k: 200, ..warm },
        SamplingParams { top_p: 0.9, min_p: 0.05, repeat_penalty: 1.5, ..warm },
    ];
    for (column, found) in found.iter().enumerate() {
        let allowed = &allowed[column * n_words..(column + 1) * n_words];
        let wanted = reference::mask(allowed, &logits[column * vocab..(column + 1) * vocab]);
        assert_eq!(*found, wanted, "column {column}");
        for (request, seed) in requests.iter().flat_map(|request| (0..5).map(move |seed| (request, seed))) {
            let (params, history) = (SamplingParams { seed, ..*request }, [3, 301, 7]);
            let token = sampling::sample(&wanted, &history, &params).unwrap();
            assert_eq!(sample_on(&gpu, found, &history, &params).0, token, "column {column}, {params:?}");
            assert!((allowed[token as usize / 32] >> (token % 32)) & 1 == 1, "token {token} was not allowed");
        }
    }
}

/// Token, position and columns after sampling from `logits` behind `history`.
fn sample_on(gpu: &Gpu, logits: &[f32], history: &[u32], params: &SamplingParams) -> (u32, u32, u32) {
    let n = history.len() as u32;
    let columns = columns(gpu, 1, logits.len() as u32, logits);
    let ids = gpu.buffer("history", 17 * 4).unwrap();
    gpu.write(&ids, 0, bytemuck::cast_slice(history));
    let (state, uniform) = (gpu.uniform("state", STATE_BYTES), gpu.uniform("sampling", SAMPLING_BYTES));
    write_state(gpu, &state, (n as usize - 2).into(), 2);
    write_sampling(gpu, &uniform, 0, params);
    let vectors = upload(gpu, &[0.0; 4]);
    run_with_state(gpu, &vectors, &state, ColumnsAre::Sequence, |pass| sample(pass, &uniform, &columns, &ids, 16));
    let read = |buffer: &Buffer, offset: u64| -> u32 {
        bytemuck::pod_read_unaligned(&block_on(gpu.read(buffer, offset, 4)).unwrap())
    };
    (read(&ids, u64::from(n) * 4), read(&state, 0), read(&state, 4))
}
