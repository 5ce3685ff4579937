//! What tests of kernels share: devices with and without subgroups, columns of activations, and a pass that runs.

use super::gguf_writer::GgufWriter;
use super::gpu::{block_on, open_bytes, raw_gpu};
use super::reference;
use std::rc::Rc;
use trice::format::planes::RowOrder;
use trice::gpu::tensor::{Columns, Matrix};
use trice::gpu::{Buffer, Choices, Gpu, OneColumn, Share};
use trice::kernels::matmul::{Activation, Output, Product, Wanted};
use trice::kernels::{ColumnsAre, Pass, STATE_BYTES, write_state};

/// NMSE that f32 arithmetic keeps.
pub const LIMIT: f64 = 1e-6;

/// The device as it is and, where it has subgroups, as one that has none.
pub fn devices() -> Vec<Rc<Gpu>> {
    let Some(gpu) = raw_gpu() else { return Vec::new() };
    let mut all = vec![];
    if gpu.caps().subgroups {
        all.extend(raw_gpu().map(|gpu| Rc::new(gpu.without_subgroups())));
    }
    all.push(Rc::new(gpu));
    all
}

/// The same devices with every way of sharing out one column, then many.
pub fn devices_and_choices(all: &[Choices]) -> Vec<Rc<Gpu>> {
    let mut made = Vec::new();
    for choices in all {
        let Some(gpu) = raw_gpu() else { return Vec::new() };
        made.push(Rc::new(gpu.with_choices(*choices)));
        made.extend(raw_gpu().map(|gpu| Rc::new(gpu.without_subgroups().with_choices(*choices))));
    }
    made
}

pub fn one_column() -> Vec<Choices> {
    let choices = Choices::default();
    [
        (OneColumn::Team1, Share::Shuffle),
        (OneColumn::Team2, Share::Broadcast),
        (OneColumn::Team8, Share::Shuffle),
        (OneColumn::Tile16, Share::Broadcast),
        (OneColumn::Tile64, Share::Shuffle),
    ]
    .map(|(one_column, share)| Choices { one_column, share, ..choices })
    .to_vec()
}

pub fn many_columns() -> Vec<Choices> {
    [(4, Share::Broadcast), (8, Share::Shuffle), (16, Share::Broadcast)]
        .map(|(tile_columns, share)| Choices { tile_columns, share, ..Choices::default() })
        .to_vec()
}

pub fn plain<'a>(weights: &'a Matrix, x: &'a Columns, y: &'a Columns) -> Product<'a> {
    let output = Output::Plain { y, activation: Activation::Identity, residual: None };
    Product { weights, x, wanted: Wanted::All, norm: None, bias: None, output }
}

/// Runs what `body` records, with the state at `position` and `n_tokens` columns.
pub fn run(gpu: &Gpu, vectors: &Buffer, position: u32, n_tokens: u32, body: impl FnOnce(&mut Pass<'_>)) {
    let state = gpu.uniform("state", STATE_BYTES);
    write_state(gpu, &state, (position as usize).into(), n_tokens as usize);
    run_with_state(gpu, vectors, &state, ColumnsAre::Sequence, body);
}

pub fn run_with_state(
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

pub fn upload(gpu: &Gpu, values: &[f32]) -> Buffer {
    let buffer = gpu.buffer("test", values.len() as u64 * 4).unwrap();
    gpu.write(&buffer, 0, bytemuck::cast_slice(values));
    buffer
}

pub fn upload_ids(gpu: &Gpu, ids: &[u32]) -> Buffer {
    let buffer = gpu.buffer("test", ids.len() as u64 * 4).unwrap();
    gpu.write(&buffer, 0, bytemuck::cast_slice(ids));
    buffer
}

/// Columns that begin full of garbage, so that an unwritten value shows.
pub fn poisoned(gpu: &Gpu, n_columns: u32, n_values: u32) -> Columns {
    let columns = Columns::new(gpu, "y", n_columns, n_values).unwrap();
    columns.write(gpu, &vec![1e6; (n_columns * n_values) as usize]);
    columns
}

pub fn columns(gpu: &Gpu, n_columns: u32, n_values: u32, values: &[f32]) -> Columns {
    let columns = Columns::new(gpu, "x", n_columns, n_values).unwrap();
    columns.write(gpu, values);
    columns
}

/// An f32 matrix of `n_rows` × `n_cols`, on the GPU.
pub fn f32_matrix(gpu: &Gpu, n_rows: usize, n_cols: usize, values: &[f32]) -> Matrix {
    ordered_matrix(gpu, n_rows, n_cols, values, RowOrder::AsFiled)
}

/// The same with its rows in another order.
pub fn ordered_matrix(gpu: &Gpu, n_rows: usize, n_cols: usize, values: &[f32], order: RowOrder) -> Matrix {
    let file = GgufWriter::default().f32_tensor("w", &[n_rows as u64, n_cols as u64], values).finish();
    let checkpoint = open_bytes("made.gguf", file);
    block_on(Matrix::load(gpu, &checkpoint, &["w".to_owned()], n_cols as u32, order, &mut |_| Ok(()))).unwrap()
}

/// `activation` of a value.
pub fn apply(v: f64, activation: Activation) -> f64 {
    match activation {
        Activation::Identity => v,
        Activation::Silu => reference::silu(v),
        Activation::Gelu => reference::gelu(v),
        Activation::GeluTanh => {
            let u = (2.0 / std::f64::consts::PI).sqrt() * (v + 0.044_715 * v.powi(3));
            0.5 * v * (1.0 + u.tanh())
        }
        Activation::Relu => v.max(0.0),
        Activation::Tanh => v.tanh(),
        Activation::SoftCap(bound) => f64::from(bound) * (v / f64::from(bound)).tanh(),
    }
}
