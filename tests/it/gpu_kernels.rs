//! Every kernel on the GPU against its CPU twin, on devices with and without subgroups. Weights are the bytes of real
//! blocks of every type, decoded by PyPI's `gguf` (tests/golden), so quantization adds no slack.

use crate::common::gguf_writer::GgufWriter;
use crate::common::gpu::{block_on, has_f16, open_bytes, raw_gpu};
use crate::common::reference::{self, check, noise};
use std::rc::Rc;
use trice::format::DType;
use trice::format::planes::RowOrder;
use trice::gpu::tensor::{Columns, Matrix};
use trice::gpu::{Buffer, Choices, Gpu, Math, OneColumn, Share};
use trice::kernels::attention::{Heads, KvBuffers, KvType, Qkv, Rope, SPLIT, Span, Splits, attention, rope_append};
use trice::kernels::elementwise::{NormWeights, Pooling, Scaling, gate, norm, pool};
use trice::kernels::matmul::{
    Activation, Ids, Output, Product, RmsPrologue, Store, TILE_COLUMNS, Wanted, embed, multiply,
};
use trice::kernels::sample::{SAMPLING_BYTES, nll, sample, write_sampling};
use trice::kernels::{ColumnsAre, Pass, STATE_BYTES, write_state};
use trice::text::{SamplingParams, sampling};

const TYPES: &[u8] = include_bytes!("../golden/gguf_types.gguf");
const TYPES_DECODED: &[u8] = include_bytes!("../golden/gguf_types.f32");

/// The fixture's tensors, named by their types.
const ORDER: [&str; 10] = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"];

/// Their rows.
const ROWS: u32 = 5;

/// NMSE that f32 arithmetic keeps.
pub(crate) const LIMIT: f64 = 1e-6;

/// The device as it is and, where it has subgroups, as one that has none.
pub(crate) fn devices() -> Vec<Rc<Gpu>> {
    let Some(gpu) = raw_gpu() else { return Vec::new() };
    let mut all = vec![];
    if gpu.caps().subgroups {
        all.extend(raw_gpu().map(|gpu| Rc::new(gpu.without_subgroups())));
    }
    all.push(Rc::new(gpu));
    all
}

/// The same devices with every way of sharing out one column, then many.
pub(crate) fn devices_and_choices(all: &[Choices]) -> Vec<Rc<Gpu>> {
    let mut made = Vec::new();
    for choices in all {
        let Some(gpu) = raw_gpu() else { return Vec::new() };
        made.push(Rc::new(gpu.with_choices(*choices)));
        made.extend(raw_gpu().map(|gpu| Rc::new(gpu.without_subgroups().with_choices(*choices))));
    }
    made
}

pub(crate) fn one_column() -> Vec<Choices> {
    let choices = Choices::default();
    [
        (OneColumn::Team2, Share::Broadcast),
        (OneColumn::Team8, Share::Shuffle),
        (OneColumn::Tile16, Share::Broadcast),
        (OneColumn::Tile64, Share::Shuffle),
    ]
    .map(|(one_column, share)| Choices { one_column, share, ..choices })
    .to_vec()
}

fn many_columns() -> Vec<Choices> {
    [(4, Share::Broadcast), (8, Share::Shuffle), (16, Share::Broadcast)]
        .map(|(tile_columns, share)| Choices { tile_columns, share, ..Choices::default() })
        .to_vec()
}

/// x as a device's tiles take it: integers are 127ths of the largest of what lanes load together.
fn as_taken(gpu: &Gpu, dtype: DType, x: &[f32]) -> Vec<f32> {
    if gpu.choices().math != Math::Int8 || dtype.is_float() {
        return x.to_vec();
    }
    let rounded = |values: &[f32]| {
        let range = values.iter().fold(0.0f32, |most, v| most.max(v.abs())) / 127.0;
        values.iter().map(|v| (v / range).round_ties_even() * range).collect::<Vec<_>>()
    };
    x.chunks(4 * gpu.caps().share_lanes() as usize).flat_map(rounded).collect()
}

/// 16-bit floats: each value within a few roundings of all that was added to it, whatever cancels. Rows whose sums 16 bits
/// cannot hold, as no trained model has, are left out.
fn check_in_f16(what: &str, found: &[f32], wanted: &[f64], weights: &[f32], x: &[f32]) {
    let magnitudes = |values: &[f32]| values.iter().map(|v| v.abs()).collect::<Vec<_>>();
    let added = reference::matvec(&magnitudes(weights), &magnitudes(x));
    let rows: Vec<usize> = (0..found.len()).filter(|row| added[*row] < 6e4).collect();
    assert!(2 * rows.len() > found.len(), "{what}: too few rows are checked");
    for (found, wanted, added) in rows.into_iter().map(|row| (found[row], wanted[row], added[row])) {
        assert!((f64::from(found) - wanted).abs() <= 2e-3 * (added + 1.0), "{what}: {found}, {wanted} was wanted");
    }
}

pub(crate) fn plain<'a>(weights: &'a Matrix, x: &'a Columns, y: &'a Columns) -> Product<'a> {
    let output = Output::Plain { y, activation: Activation::Identity, residual: None };
    Product { weights, x, wanted: Wanted::All, norm: None, bias: None, output }
}

/// Runs what `body` records, with the state at `position` and `n_tokens` columns.
fn run(gpu: &Gpu, vectors: &Buffer, position: u32, n_tokens: u32, body: impl FnOnce(&mut Pass<'_>)) {
    let state = gpu.uniform("state", STATE_BYTES);
    write_state(gpu, &state, (position as usize).into(), n_tokens as usize);
    run_with_state(gpu, vectors, &state, ColumnsAre::Sequence, body);
}

pub(crate) fn run_with_state(
    gpu: &Gpu,
    vectors: &Buffer,
    state: &Buffer,
    columns: ColumnsAre,
    body: impl FnOnce(&mut Pass<'_>),
) {
    let mut rec = gpu.recording();
    body(&mut Pass { rec: &mut rec, state, columns, vectors });
    let program = block_on(gpu.program(&rec, &mut |_, _| {})).unwrap();
    gpu.submit(&program, None).unwrap();
}

pub(crate) fn upload(gpu: &Gpu, values: &[f32]) -> Buffer {
    let buffer = gpu.buffer("test", values.len() as u64 * 4).unwrap();
    gpu.write(&buffer, 0, bytemuck::cast_slice(values));
    buffer
}

pub(crate) fn upload_ids(gpu: &Gpu, ids: &[u32]) -> Buffer {
    let buffer = gpu.buffer("test", ids.len() as u64 * 4).unwrap();
    gpu.write(&buffer, 0, bytemuck::cast_slice(ids));
    buffer
}

/// Columns that begin full of garbage, so that an unwritten value shows.
pub(crate) fn poisoned(gpu: &Gpu, n_columns: u32, n_values: u32) -> Columns {
    let columns = Columns::new(gpu, "y", n_columns, n_values).unwrap();
    columns.write(gpu, &vec![1e6; (n_columns * n_values) as usize]);
    columns
}

pub(crate) fn columns(gpu: &Gpu, n_columns: u32, n_values: u32, values: &[f32]) -> Columns {
    let columns = Columns::new(gpu, "x", n_columns, n_values).unwrap();
    columns.write(gpu, values);
    columns
}

/// The fixture's matrix of one type: on the GPU, and its values.
fn matrix(gpu: &Gpu, dtype: DType) -> (Matrix, Vec<f32>) {
    let checkpoint = open_bytes("gguf_types.gguf", TYPES.to_vec());
    let at = ORDER.iter().position(|name| *name == dtype.name()).unwrap();
    let decoded: Vec<f32> = bytemuck::pod_collect_to_vec(TYPES_DECODED);
    let n = decoded.len() / ORDER.len();
    let names = [dtype.name().to_owned()];
    let loaded = block_on(Matrix::load(gpu, &checkpoint, &names, n as u32 / ROWS, RowOrder::AsFiled, &mut |_| Ok(())));
    (loaded.unwrap(), decoded[at * n..(at + 1) * n].to_vec())
}

fn apply(v: f64, activation: Activation) -> f64 {
    match activation {
        Activation::Identity => v,
        Activation::Silu => reference::silu(v),
        Activation::Gelu => reference::gelu(v),
        Activation::Tanh => v.tanh(),
    }
}

#[test]
fn one_column_of_every_type() {
    for gpu in devices_and_choices(&one_column()) {
        for (i, dtype) in DType::all().enumerate() {
            let (weights, decoded) = matrix(&gpu, dtype);
            let n_cols = decoded.len() as u32 / ROWS;
            let x = noise(i as u64 + 1, n_cols as usize);
            let y = poisoned(&gpu, 1, ROWS);
            let x_columns = columns(&gpu, 1, n_cols, &x);
            let vectors = upload(&gpu, &[0.0; 32]);
            run(&gpu, &vectors, 0, 1, |pass| multiply(pass, &plain(&weights, &x_columns, &y)));
            let found = block_on(y.read(&gpu, 1)).unwrap();
            check(&format!("matvec {}", dtype.name()), &found[0], &reference::matvec(&decoded, &x), LIMIT);
        }
    }
}

#[test]
fn one_column_with_norm_bias_activation_and_residual() {
    for gpu in devices_and_choices(&one_column()) {
        let (weights, decoded) = matrix(&gpu, DType::Q4_K);
        let n_cols = decoded.len() as u32 / ROWS;
        let (x, g, b, r) =
            (noise(1, n_cols as usize), noise(2, n_cols as usize), noise(3, 32), noise(4, ROWS as usize));
        let vectors = upload(&gpu, &[b.as_slice(), &g].concat());
        let (x_columns, r_columns) = (columns(&gpu, 1, n_cols, &x), columns(&gpu, 1, ROWS, &r));
        for activation in [Activation::Identity, Activation::Silu, Activation::Gelu, Activation::Tanh] {
            let y = poisoned(&gpu, 1, ROWS);
            let output = Output::Plain { y: &y, activation, residual: Some(&r_columns) };
            let norm = Some(RmsPrologue { weight: 8, eps: 1e-5 });
            let product = Product { norm, bias: Some(0), output, ..plain(&weights, &x_columns, &y) };
            run(&gpu, &vectors, 0, 1, |pass| multiply(pass, &product));
            let found = block_on(y.read(&gpu, 1)).unwrap();
            let products = reference::matvec(&decoded, &reference::rms_norm(&x, &g, 1e-5));
            let wanted: Vec<f64> = products
                .iter()
                .enumerate()
                .map(|(i, v)| apply(v + f64::from(b[i]), activation) + f64::from(r[i]))
                .collect();
            check(&format!("matvec {activation:?}"), &found[0], &wanted, LIMIT);
            // The last quad's missing rows are part of what the next product adds up.
            let padding = block_on(gpu.read(y.buffer(), u64::from(ROWS) * 4, 32)).unwrap();
            assert!(padding.iter().all(|byte| *byte == 0), "padding after {activation:?}: {padding:?}");
        }
    }
}

/// The last of several columns becomes the output's only one.
#[test]
fn the_last_column_alone() {
    for gpu in devices_and_choices(&one_column()) {
        let (weights, decoded) = matrix(&gpu, DType::Q8_0);
        let n_cols = decoded.len() as u32 / ROWS;
        let x = noise(6, 3 * n_cols as usize);
        let (x_columns, y) = (columns(&gpu, 16, n_cols, &x), poisoned(&gpu, 1, ROWS));
        let vectors = upload(&gpu, &[0.0; 32]);
        let product = Product { wanted: Wanted::Last, ..plain(&weights, &x_columns, &y) };
        run(&gpu, &vectors, 0, 3, |pass| multiply(pass, &product));
        let wanted = reference::matvec(&decoded, &x[2 * n_cols as usize..]);
        check("last column", &block_on(y.read(&gpu, 1)).unwrap()[0], &wanted, LIMIT);
    }
}

/// An f32 matrix of `n_rows` × `n_cols`, on the GPU.
pub(crate) fn f32_matrix(gpu: &Gpu, n_rows: usize, n_cols: usize, values: &[f32]) -> Matrix {
    ordered_matrix(gpu, n_rows, n_cols, values, RowOrder::AsFiled)
}

/// The same with its rows in another order.
pub(crate) fn ordered_matrix(gpu: &Gpu, n_rows: usize, n_cols: usize, values: &[f32], order: RowOrder) -> Matrix {
    let file = GgufWriter::default().f32_tensor("w", &[n_rows as u64, n_cols as u64], values).finish();
    let checkpoint = open_bytes("made.gguf", file);
    block_on(Matrix::load(gpu, &checkpoint, &["w".to_owned()], n_cols as u32, order, &mut |_| Ok(()))).unwrap()
}

#[test]
fn gate_and_up_become_one_column_or_many() {
    for gpu in devices_and_choices(&[one_column(), many_columns()].concat()) {
        let (n_gates, n_cols) = (14usize, 40usize);
        let values = noise(11, 2 * n_gates * n_cols);
        let order = RowOrder::Halves { block: 2 * n_gates as u64 };
        let weights = ordered_matrix(&gpu, 2 * n_gates, n_cols, &values, order);
        for n_tokens in [1usize, 11] {
            let capacity = if n_tokens == 1 { 1 } else { 16 };
            let x = noise(12, n_tokens * n_cols);
            let x_columns = columns(&gpu, capacity, n_cols as u32, &x);
            let bias = noise(13, 2 * n_gates);
            let vectors = upload(&gpu, &[&[0.0; 8], bias.as_slice()].concat());
            let y = poisoned(&gpu, capacity, n_gates as u32);
            let output = Output::Gated { y: &y, activation: Activation::Silu };
            let product = Product { bias: Some(2), output, ..plain(&weights, &x_columns, &y) };
            run(&gpu, &vectors, 0, n_tokens as u32, |pass| multiply(pass, &product));
            let found = block_on(y.read(&gpu, n_tokens)).unwrap();
            for (column, x) in x.chunks(n_cols).enumerate() {
                let products = reference::matvec(&values, x);
                let both: Vec<f64> = products.iter().zip(&bias).map(|(v, b)| v + f64::from(*b)).collect();
                let wanted: Vec<f64> = (0..n_gates).map(|i| reference::silu(both[i]) * both[n_gates + i]).collect();
                check("gated", &found[column], &wanted, LIMIT);
            }
        }
    }
}

#[test]
fn matmul_of_every_type_and_a_ragged_number_of_columns() {
    check_tiles(&many_columns());
    check_tiles(&[Choices { math: Math::Int8, ..Choices::default() }]);
}

#[test]
fn matmul_of_every_type_in_16_bit_floats() {
    if has_f16() {
        check_tiles(&[8, 16].map(|tile_columns| Choices { math: Math::F16, tile_columns, ..Choices::default() }));
    }
}

/// Products of every type with 11 columns.
fn check_tiles(all: &[Choices]) {
    const N_TOKENS: u32 = 11;
    for gpu in devices_and_choices(all) {
        for (i, dtype) in DType::all().enumerate() {
            let (weights, decoded) = matrix(&gpu, dtype);
            let n_cols = decoded.len() as u32 / ROWS;
            let x = noise(i as u64 + 50, (N_TOKENS * n_cols) as usize);
            let x_columns = columns(&gpu, TILE_COLUMNS, n_cols, &x);
            let y = poisoned(&gpu, TILE_COLUMNS, ROWS);
            let bias = noise(7, 32);
            let vectors = upload(&gpu, &bias);
            let product = Product { bias: Some(0), ..plain(&weights, &x_columns, &y) };
            run(&gpu, &vectors, 0, N_TOKENS, |pass| multiply(pass, &product));
            let found = block_on(y.read(&gpu, TILE_COLUMNS as usize)).unwrap();
            for (column, x) in x.chunks(n_cols as usize).enumerate() {
                let x = as_taken(&gpu, dtype, x);
                let products = reference::matvec(&decoded, &x);
                let wanted: Vec<f64> = products.iter().zip(&bias).map(|(v, b)| v + f64::from(*b)).collect();
                let name = format!("matmul {} column {column}, {}", dtype.name(), gpu.choices());
                if gpu.choices().math == Math::F16 {
                    check_in_f16(&name, &found[column], &wanted, &decoded, &x);
                } else {
                    check(&name, &found[column], &wanted, LIMIT);
                }
            }
            let is_poison = |v: &f32| *v == 1e6;
            assert!(found[N_TOKENS as usize..].iter().flatten().all(is_poison), "columns past the step were written");
        }
    }
}

#[test]
fn embed_gathers_rows_of_every_type() {
    for gpu in devices() {
        for dtype in DType::all() {
            let (weights, decoded) = matrix(&gpu, dtype);
            let n_cols = decoded.len() as u32 / ROWS;
            let ids = upload_ids(&gpu, &[3, 4, 0, 3]);
            let y = poisoned(&gpu, 4, n_cols);
            let vectors = upload(&gpu, &[0.0; 4]);
            run(&gpu, &vectors, 0, 4, |pass| {
                embed(pass, &weights, Ids::ByColumn(&ids), &y, Store::Set);
                embed(pass, &weights, Ids::ByColumn(&ids), &y, Store::Add);
            });
            let found = block_on(y.read(&gpu, 4)).unwrap();
            for (column, id) in [3usize, 4, 0, 3].into_iter().enumerate() {
                let row = &decoded[id * n_cols as usize..(id + 1) * n_cols as usize];
                let wanted: Vec<f64> = row.iter().map(|v| 2.0 * f64::from(*v)).collect();
                // A driver may fuse the scale's multiply with the minimum's subtraction: the last bit is its own.
                check(&format!("embed {} row {id}", dtype.name()), &found[column], &wanted, 1e-12);
            }
        }
    }
}

#[test]
fn matrices_larger_than_a_binding_are_split_by_rows() {
    let Some(gpu) = raw_gpu() else { return };
    // 32 rows of 64 fit, 64 do not: 44 rows lie in two parts.
    let gpu = gpu.with_max_binding(32 * 64 * 4 + 16);
    let (n_rows, n_cols) = (44, 64);
    let values = noise(3, n_rows * n_cols);
    let file = GgufWriter::default().f32_tensor("w", &[n_rows as u64, n_cols as u64], &values).finish();
    let checkpoint = open_bytes("split.gguf", file);
    let names = ["w".to_owned()];
    let weights =
        block_on(Matrix::load(&gpu, &checkpoint, &names, n_cols as u32, RowOrder::AsFiled, &mut |_| Ok(()))).unwrap();
    assert_eq!(weights.n_parts(), 2);
    let (rows, ids) = (poisoned(&gpu, 2, n_cols as u32), upload_ids(&gpu, &[2, 42]));
    let (bias, vectors) = (noise(6, n_rows), upload(&gpu, &noise(6, n_rows)));
    for n_tokens in [1, 11] {
        let capacity = if n_tokens == 1 { 1 } else { TILE_COLUMNS };
        let (x, r) = (noise(5, n_tokens * n_cols), noise(7, n_tokens * n_rows));
        let x_columns = columns(&gpu, capacity, n_cols as u32, &x);
        let residual = columns(&gpu, capacity, n_rows as u32, &r);
        let y = poisoned(&gpu, capacity, n_rows as u32);
        let output = Output::Plain { y: &y, activation: Activation::Identity, residual: Some(&residual) };
        let product = Product { bias: Some(0), output, ..plain(&weights, &x_columns, &y) };
        run(&gpu, &vectors, 0, n_tokens as u32, |pass| multiply(pass, &product));
        let found = block_on(y.read(&gpu, n_tokens)).unwrap();
        for (column, (x, r)) in x.chunks(n_cols).zip(r.chunks(n_rows)).enumerate() {
            let products = reference::matvec(&values, x);
            let wanted: Vec<f64> =
                products.iter().zip(&bias).zip(r).map(|((v, b), r)| v + f64::from(*b) + f64::from(*r)).collect();
            check(&format!("split product, column {column} of {n_tokens}"), &found[column], &wanted, LIMIT);
        }
    }
    run(&gpu, &vectors, 0, 2, |pass| embed(pass, &weights, Ids::ByColumn(&ids), &rows, Store::Set));
    let found = block_on(rows.read(&gpu, 2)).unwrap();
    for (column, id) in [2usize, 42].into_iter().enumerate() {
        assert_eq!(found[column], values[id * n_cols..(id + 1) * n_cols]);
    }
}

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
        for bias in [None, Some(16)] {
            let (x_columns, y) = (columns(&gpu, 8, n as u32, &x), poisoned(&gpu, 8, n as u32));
            let weights = NormWeights { weight: 0, bias, eps: 1e-6 };
            run(&gpu, &vectors, 0, n_tokens as u32, |pass| norm(pass, weights, &x_columns, &y));
            let found = block_on(y.read(&gpu, n_tokens)).unwrap();
            for (column, x) in x.chunks(n).enumerate() {
                let wanted: Vec<f64> = match bias {
                    None => reference::rms_norm(x, &g[..n], 1e-6).into_iter().map(f64::from).collect(),
                    Some(_) => reference::layer_norm(x, &g[..n], &b[..n], 1e-6),
                };
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
        for activation in [Activation::Silu, Activation::Gelu] {
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

/// Grouped heads, both orders of rotation, both cache types: a prompt in two chunks, then one token.
#[test]
fn attention_over_an_appended_cache() {
    for gpu in devices() {
        for (kv_type, limit) in [(KvType::F32, LIMIT), (KvType::F16, 1e-5)] {
            for rope in [Rope::None, Rope::Interleaved, Rope::Neox] {
                attend(&gpu, kv_type, rope, limit);
            }
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
        for (rope, n_tokens) in [(Rope::Neox, 1u32), (Rope::Interleaved, 11), (Rope::None, 5)] {
            let by_quads = ordered_matrix(&gpu, n_rows, n_cols, &values, rope.row_order(heads.head_dim));
            let capacity = if n_tokens == 1 { 1 } else { 16 };
            let x = columns(&gpu, capacity, n_cols as u32, &noise(34, n_tokens as usize * n_cols));
            let results = [true, false].map(|is_fused| {
                let cache_bytes = 20 * 12 * 4;
                let cache =
                    KvBuffers { k: gpu.buffer("k", cache_bytes).unwrap(), v: gpu.buffer("v", cache_bytes).unwrap() };
                let (q, y) = (poisoned(&gpu, capacity, 36), poisoned(&gpu, capacity, n_rows as u32));
                let qkv = Qkv { heads: &heads, rope, angles: &angles, q: &q, cache: &cache };
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

fn attend(gpu: &Gpu, kv_type: KvType, rope: Rope, limit: f64) {
    const D: usize = 20;
    let heads = Heads { n_heads: 6, n_kv_heads: 2, head_dim: D as u32, context_len: 40, kv_type };
    let (n_heads, width) = (10usize, 10 * D);
    let angles: Vec<[f32; 2]> = noise(3, 40 * D / 2).iter().map(|a| [a.cos(), a.sin()]).collect();
    let angle_buffer = upload(gpu, angles.as_flattened());
    let cache_bytes = 2 * 40 * D as u64 * kv_type.n_bytes();
    let cache = KvBuffers { k: gpu.buffer("k", cache_bytes).unwrap(), v: gpu.buffer("v", cache_bytes).unwrap() };
    let vectors = upload(gpu, &[0.0; 4]);
    let x = noise(8, 33 * width);
    let rotate = |head: &[f32], position: usize| {
        let row = &angles[position * D / 2..(position + 1) * D / 2];
        match rope {
            Rope::None => head.to_vec(),
            Rope::Interleaved => reference::rope(head, row, |t| (2 * t, 2 * t + 1)),
            Rope::Neox => reference::rope(head, row, |t| (t, t + D / 2)),
        }
    };
    let head_of = |position: usize, head: usize| &x[(position * n_heads + head) * D..][..D];
    for (first, n) in [(0usize, 24usize), (24, 8), (32, 1)] {
        let capacity = n.next_multiple_of(8) as u32;
        let qkv_columns = columns(gpu, capacity, width as u32, &x[first * width..(first + n) * width]);
        let (q, y) = (poisoned(gpu, capacity, 6 * D as u32), poisoned(gpu, capacity, 6 * D as u32));
        let qkv = Qkv { heads: &heads, rope, angles: &angle_buffer, q: &q, cache: &cache };
        run(gpu, &vectors, first as u32, n as u32, |pass| {
            rope_append(pass, &qkv, &qkv_columns);
            attention(pass, &heads, Span::Causal, &q, &cache, &Splits::NONE, &y);
        });
        let found = block_on(y.read(gpu, n)).unwrap();
        for (column, found) in found.iter().enumerate() {
            for head in 0..6 {
                let position = first + column;
                let k: Vec<_> = (0..=position).map(|p| rotate(head_of(p, 6 + head / 3), p)).collect();
                let v: Vec<_> = (0..=position).map(|p| head_of(p, 8 + head / 3).to_vec()).collect();
                let wanted = reference::attention(&rotate(head_of(position, head), position), &k, &v);
                let name = format!("attention {kv_type:?} {rope:?} position {position} head {head}");
                check(&name, &found[head * D..(head + 1) * D], &wanted, limit);
            }
        }
    }
}

/// A long span in parts, and columns that see fewer positions than there are parts.
#[test]
fn split_attention_equals_whole_attention() {
    for gpu in devices() {
        let context = 3 * SPLIT;
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
        for (position, n_tokens) in [(2 * SPLIT + 17, 1u32), (SPLIT - 3, 7), (5, 1)] {
            let capacity = if n_tokens == 1 { 1 } else { 8 };
            let q = columns(&gpu, capacity, 192, &noise(43, 192 * n_tokens as usize));
            let results = [1u32, 4].map(|n_splits| {
                let splits = Splits::new(&gpu, &heads, capacity, n_splits).unwrap();
                let y = poisoned(&gpu, capacity, 192);
                run(&gpu, &vectors, position, n_tokens, |pass| {
                    attention(pass, &heads, Span::Causal, &q, &cache, &splits, &y);
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
