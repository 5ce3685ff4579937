//! Kernels whose columns are tokens of slots of their own, against CPU twins; idle columns leave everything as it was.

use crate::common::gpu::{block_on, raw_gpu};
use crate::common::kernels::{
    LIMIT, columns, devices, devices_and_choices, f32_matrix, ordered_matrix, plain, poisoned, run_with_state, upload,
    upload_ids,
};
use crate::common::reference::{self, check, noise};
use trice::gpu::choices::{NARROW_CHUNK, WIDE_CHUNK};
use trice::gpu::{Buffer, Choices, Gpu, OneColumn};
use trice::kernels::attention::{
    Heads, KvBuffers, KvType, Qkv, Rope, Scores, Span, Splits, attention, rope_append, split_len,
};
use trice::kernels::matmul::{Ids, Output, Product, RmsPrologue, Store, embed, multiply};
use trice::kernels::sample::{SAMPLING_BYTES, sample, write_sampling};
use trice::kernels::{ColumnsAre, Pass, Place, STATE_BYTES, write_slots_state, write_state};
use trice::text::{SamplingParams, sampling};

/// What an unwritten value of `poisoned` columns is.
const POISON: f32 = 1e6;

/// Runs what `body` records with a column at each place.
fn run_slots(gpu: &Gpu, vectors: &Buffer, places: &[Place], body: impl FnOnce(&mut Pass<'_>)) -> Buffer {
    let state = gpu.uniform("state", STATE_BYTES);
    write_slots_state(gpu, &state, places);
    run_with_state(gpu, vectors, &state, ColumnsAre::Slots, body);
    state
}

/// Runs what `body` records with `n_tokens` columns from `first` on.
fn run_sequence(gpu: &Gpu, vectors: &Buffer, first: Place, n_tokens: usize, body: impl FnOnce(&mut Pass<'_>)) {
    let state = gpu.uniform("state", STATE_BYTES);
    write_state(gpu, &state, first, n_tokens);
    run_with_state(gpu, vectors, &state, ColumnsAre::Sequence, body);
}

pub(crate) fn place(slot: usize, position: usize) -> Place {
    Place { slot, position }
}

pub(crate) fn read_u32(gpu: &Gpu, buffer: &Buffer, n: usize) -> Vec<u32> {
    bytemuck::pod_collect_to_vec(&block_on(gpu.read(buffer, 0, n as u64 * 4)).unwrap())
}

#[test]
fn embed_takes_each_columns_own_history() {
    for gpu in devices() {
        let (n_rows, n_cols, stride) = (9usize, 40usize, 11u32);
        let values = noise(1, n_rows * n_cols);
        let weights = f32_matrix(&gpu, n_rows, n_cols, &values);
        let ids: Vec<u32> = (0..3 * stride).map(|i| i * 7 % n_rows as u32).collect();
        let (history, y) = (upload_ids(&gpu, &ids), poisoned(&gpu, 4, n_cols as u32));
        let vectors = upload(&gpu, &[0.0; 4]);
        let places = [place(2, 10), place(0, 0), place(1, 4)];
        run_slots(&gpu, &vectors, &places, |pass| {
            embed(pass, &weights, 1.0, Ids::ByPosition { history: &history, stride }, &y, Store::Set);
        });
        let found = block_on(y.read(&gpu, 4)).unwrap();
        for (column, at) in places.iter().enumerate() {
            let id = ids[at.slot * stride as usize + at.position] as usize;
            assert_eq!(found[column], values[id * n_cols..(id + 1) * n_cols], "column {column}");
        }
        assert!(found[3].iter().all(|v| *v == POISON), "an idle column was written");
    }
}

/// A prompt in each of three slots, then one more token in two of them at once.
#[test]
fn attention_sees_its_own_slot_and_nothing_else() {
    for gpu in devices() {
        for (kv_type, limit) in [(KvType::F32, LIMIT), (KvType::F16, 1e-5)] {
            for rope in [Rope::Interleaved, Rope::Neox] {
                attend(&gpu, kv_type, rope, limit);
            }
        }
    }
}

fn attend(gpu: &Gpu, kv_type: KvType, rope: Rope, limit: f64) {
    const D: usize = 20;
    const CONTEXT: usize = 40;
    // Five query heads per kv head: no whole number of tiles.
    let heads = Heads { n_heads: 10, n_kv_heads: 2, head_dim: D as u32, context_len: CONTEXT as u32, kv_type };
    let width = 14 * D;
    let angles: Vec<[f32; 2]> = noise(3, CONTEXT * D / 2).iter().map(|a| [a.cos(), a.sin()]).collect();
    let angle_buffer = upload(gpu, angles.as_flattened());
    let cache_bytes = 3 * 2 * CONTEXT as u64 * kv_type.row_bytes(D as u32);
    let cache = KvBuffers { k: gpu.buffer("k", cache_bytes).unwrap(), v: gpu.buffer("v", cache_bytes).unwrap() };
    let vectors = upload(gpu, &[0.0; 4]);
    let texts: Vec<Vec<f32>> = (0..3).map(|slot| noise(8 + slot, CONTEXT * width)).collect();
    for (slot, n) in [30usize, 12, 39].into_iter().enumerate() {
        let x = columns(gpu, 40, width as u32, &texts[slot][..n * width]);
        let q = poisoned(gpu, 40, 10 * D as u32);
        let qkv = Qkv { heads: &heads, rope, norm: None, angles: &angle_buffer, q: &q, cache: &cache, staged: None };
        run_sequence(gpu, &vectors, place(slot, 0), n, |pass| rope_append(pass, &qkv, &x));
    }
    let places = [place(2, 39), place(0, 7)];
    let tokens: Vec<f32> =
        places.iter().flat_map(|at| texts[at.slot][at.position * width..][..width].to_vec()).collect();
    let x = columns(gpu, 4, width as u32, &tokens);
    let (q, y) = (poisoned(gpu, 4, 10 * D as u32), poisoned(gpu, 4, 10 * D as u32));
    let qkv = Qkv { heads: &heads, rope, norm: None, angles: &angle_buffer, q: &q, cache: &cache, staged: None };
    run_slots(gpu, &vectors, &places, |pass| {
        rope_append(pass, &qkv, &x);
        attention(pass, &heads, &Scores::plain(&heads, Span::Causal), &q, &cache, &Splits::NONE, &y);
    });
    let found = block_on(y.read(gpu, 4)).unwrap();
    for (column, at) in places.iter().enumerate() {
        let head_of = |position: usize, head: usize| &texts[at.slot][(position * 14 + head) * D..][..D];
        let rotated = |position: usize, head: usize| {
            let row = &angles[position * D / 2..(position + 1) * D / 2];
            match rope {
                Rope::None => head_of(position, head).to_vec(),
                Rope::Interleaved => reference::rope(head_of(position, head), row, |t| (2 * t, 2 * t + 1)),
                Rope::Neox => reference::rope(head_of(position, head), row, |t| (t, t + D / 2)),
                Rope::NeoxPart { .. } => unreachable!("no part of a head is rotated here"),
            }
        };
        for head in 0..10 {
            let k: Vec<_> = (0..=at.position).map(|p| rotated(p, 10 + head / 5)).collect();
            let v: Vec<_> = (0..=at.position).map(|p| head_of(p, 12 + head / 5).to_vec()).collect();
            let wanted = reference::attention(&rotated(at.position, head), &k, &v);
            let name = format!("{kv_type:?} {rope:?} {at:?} head {head}");
            check(&name, &found[column][head * D..(head + 1) * D], &wanted, limit);
        }
    }
    assert!(found[2..].iter().flatten().all(|v| *v == POISON), "an idle column was written");
}

/// The same column gives the same bits alone and beside longer ones, in whole spans and in parts.
#[test]
fn attention_beside_others_equals_attention_alone() {
    let chunks = [NARROW_CHUNK, WIDE_CHUNK].map(|chunk| Choices { chunk, ..Choices::default() });
    for gpu in devices_and_choices(&chunks) {
        let split_len = split_len(&gpu.choices());
        let context = 3 * split_len;
        let heads = Heads { n_heads: 6, n_kv_heads: 2, head_dim: 64, context_len: context, kv_type: KvType::F32 };
        let n = (3 * 2 * context * 64) as usize;
        let cache = KvBuffers { k: upload(&gpu, &noise(41, n)), v: upload(&gpu, &noise(42, n)) };
        let vectors = upload(&gpu, &[0.0; 4]);
        let places = [place(1, 2 * split_len as usize + 17), place(2, 5), place(0, split_len as usize)];
        let values = noise(43, 3 * 384);
        let (q, y) = (columns(&gpu, 4, 384, &values), poisoned(&gpu, 4, 384));
        let splits = Splits::new(&gpu, &heads, 4, 3).unwrap();
        run_slots(&gpu, &vectors, &places, |pass| {
            attention(pass, &heads, &Scores::plain(&heads, Span::Causal), &q, &cache, &splits, &y);
        });
        let together = block_on(y.read(&gpu, 3)).unwrap();
        for (column, at) in places.into_iter().enumerate() {
            let q = columns(&gpu, 1, 384, &values[column * 384..(column + 1) * 384]);
            // As many parts as its own position needs: what a step alone takes.
            let splits = Splits::new(&gpu, &heads, 1, (at.position as u32 + 1).div_ceil(split_len)).unwrap();
            let y = poisoned(&gpu, 1, 384);
            run_sequence(&gpu, &vectors, at, 1, |pass| {
                attention(pass, &heads, &Scores::plain(&heads, Span::Causal), &q, &cache, &splits, &y);
            });
            assert_eq!(block_on(y.read(&gpu, 1)).unwrap()[0], together[column], "{at:?}");
        }
    }
}

/// Normed products of 2, 4 and 8 columns, some of them idle: the bits of one column alone.
#[test]
fn products_beside_others_equal_products_alone() {
    let alike = |one_column| Choices { one_column, alike: true, ..Choices::default() };
    let ways = [OneColumn::Tile16, OneColumn::Tile64, OneColumn::Team1, OneColumn::Team2, OneColumn::Team8].map(alike);
    for gpu in devices_and_choices(&ways) {
        let (n_rows, n_cols) = (37usize, 96usize);
        let weights = f32_matrix(&gpu, n_rows, n_cols, &noise(51, n_rows * n_cols));
        let (values, vectors) = (noise(52, 8 * n_cols), upload(&gpu, &noise(53, n_cols)));
        let norm = Some(RmsPrologue { weight: 0, eps: 1e-5 });
        for (capacity, n_live) in [(2u32, 2usize), (4, 3), (8, 5), (8, 8)] {
            let (x, y) = (
                columns(&gpu, capacity, n_cols as u32, &values[..n_live * n_cols]),
                poisoned(&gpu, capacity, n_rows as u32),
            );
            let places: Vec<Place> = (0..n_live).map(|slot| place(slot, 3)).collect();
            run_slots(&gpu, &vectors, &places, |pass| multiply(pass, &Product { norm, ..plain(&weights, &x, &y) }));
            let together = block_on(y.read(&gpu, capacity as usize)).unwrap();
            for column in 0..n_live {
                let x = columns(&gpu, 1, n_cols as u32, &values[column * n_cols..(column + 1) * n_cols]);
                let y = poisoned(&gpu, 1, n_rows as u32);
                run_sequence(&gpu, &vectors, place(0, 3), 1, |pass| {
                    multiply(pass, &Product { norm, ..plain(&weights, &x, &y) });
                });
                assert_eq!(block_on(y.read(&gpu, 1)).unwrap()[0], together[column], "column {column} of {n_live}");
            }
            assert!(together[n_live..].iter().flatten().all(|v| *v == POISON), "an idle column was written");
        }
    }
}

/// The product that ends in q and the cache leaves there what a plain product and `rope_append` leave.
#[test]
fn qkv_of_a_product_goes_to_its_slot() {
    for gpu in devices() {
        let heads = Heads { n_heads: 3, n_kv_heads: 1, head_dim: 12, context_len: 20, kv_type: KvType::F32 };
        let (n_cols, n_rows) = (40usize, 60usize);
        let values = noise(31, n_rows * n_cols);
        let weights = f32_matrix(&gpu, n_rows, n_cols, &values);
        let by_quads = ordered_matrix(&gpu, n_rows, n_cols, &values, Rope::Neox.row_order(heads.head_dim));
        let vectors = upload(&gpu, &noise(32, 96));
        let angles = upload(&gpu, &noise(33, 20 * 12));
        let x = columns(&gpu, 4, n_cols as u32, &noise(34, 3 * n_cols));
        let places = [place(3, 19), place(1, 0), place(0, 6)];
        let cache_bytes = 4 * 20 * 12 * 4;
        let results = [true, false].map(|is_fused| {
            let buffer = |name: &str| gpu.buffer(name, cache_bytes).unwrap();
            let cache = KvBuffers { k: buffer("k"), v: buffer("v") };
            let (q, y) = (poisoned(&gpu, 4, 36), poisoned(&gpu, 4, n_rows as u32));
            let qkv = Qkv {
                heads: &heads,
                rope: Rope::Neox,
                norm: None,
                angles: &angles,
                q: &q,
                cache: &cache,
                staged: None,
            };
            run_slots(&gpu, &vectors, &places, |pass| {
                let product = Product { bias: Some(2), ..plain(&weights, &x, &y) };
                if is_fused {
                    multiply(pass, &Product { weights: &by_quads, output: Output::Qkv(qkv), ..product });
                } else {
                    multiply(pass, &product);
                    rope_append(pass, &qkv, &y);
                }
            });
            let read = |buffer: &Buffer| -> Vec<f32> {
                bytemuck::pod_collect_to_vec(&block_on(gpu.read(buffer, 0, cache_bytes)).unwrap())
            };
            [block_on(q.read(&gpu, 4)).unwrap().concat(), read(&cache.k), read(&cache.v)]
        });
        for (fused, wanted) in results[0].iter().zip(&results[1]) {
            check("qkv", fused, &wanted.iter().map(|v| f64::from(*v)).collect::<Vec<_>>(), 1e-12);
        }
        for (i, v) in results[0][1].iter().enumerate() {
            let (slot, position) = (i / 240, i / 12 % 20);
            let is_written = places.contains(&place(slot, position));
            assert_eq!(*v != 0.0, is_written, "slot {slot} position {position}");
        }
    }
}

/// Every column by its own request, behind its own history.
#[test]
fn sample_serves_every_column_its_own_request() {
    let Some(gpu) = raw_gpu() else { return };
    let (vocab, context) = (777usize, 16usize);
    let greedy = SamplingParams::default();
    let warm = SamplingParams { temperature: 0.8, ..greedy };
    let requests = [
        SamplingParams { top_k: 50, top_p: 0.9, min_p: 0.05, repeat_penalty: 1.3, temperature: 1.5, ..greedy },
        greedy,
        SamplingParams { top_p: 0.7, seed: 5, ..warm },
        SamplingParams { repeat_penalty: 1.8, repeat_last_n: 4, ..greedy },
        SamplingParams { top_k: 5, seed: 9, ..warm },
    ];
    // The history up to the place is the column's text; the next token goes behind it.
    let places = [place(5, 6), place(0, 0), place(2, 15), place(7, 9), place(1, 3)];
    let logits: Vec<f32> = noise(71, requests.len() * vocab).iter().map(|v| v * 6.0).collect();
    let ids: Vec<u32> = (0..8 * (context + 1)).map(|i| (i * 37 % vocab) as u32).collect();
    let (history, sampling) = (upload_ids(&gpu, &ids), gpu.uniform("sampling", SAMPLING_BYTES));
    (0..8).for_each(|column| write_sampling(&gpu, &sampling, column, requests.get(column).unwrap_or(&greedy)));
    let (logit_columns, vectors) = (columns(&gpu, 8, vocab as u32, &logits), upload(&gpu, &[0.0; 4]));
    let state = run_slots(&gpu, &vectors, &places, |pass| {
        sample(pass, &sampling, &logit_columns, &history, context as u32);
    });
    let mut wanted = ids.clone();
    for (column, at) in places.iter().enumerate() {
        let row = at.slot * (context + 1);
        let text = &ids[row..=row + at.position];
        let logits = &logits[column * vocab..(column + 1) * vocab];
        wanted[row + at.position + 1] = sampling::sample(logits, text, &requests[column]).unwrap();
    }
    assert_eq!(read_u32(&gpu, &history, ids.len()), wanted);
    let state = read_u32(&gpu, &state, 16);
    assert_eq!(state[1], 5, "columns at work");
    assert_eq!(state[8..13], [7, 1, 16, 10, 4], "positions move on");
}
