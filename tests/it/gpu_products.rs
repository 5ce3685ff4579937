//! Products and embeddings of weights of every type against CPU twins, on devices with and without subgroups. Weights are the
//! bytes of real blocks of every type, decoded by PyPI's `gguf` (tests/golden), so quantization adds no slack.

use crate::common::gguf_writer::GgufWriter;
use crate::common::gpu::{block_on, has_f16, open_bytes, raw_gpu};
use crate::common::kernels::{
    LIMIT, apply, columns, devices, devices_and_choices, many_columns, one_column, ordered_matrix, plain, poisoned,
    run, upload, upload_ids,
};
use crate::common::reference::{self, check, noise};
use trice::format::DType;
use trice::format::planes::RowOrder;
use trice::gpu::tensor::Matrix;
use trice::gpu::{Choices, Gpu, Math};
use trice::kernels::matmul::{
    Activation, Ids, Output, Product, Residual, RmsPrologue, Store, TILE_COLUMNS, Wanted, embed, multiply,
};

const TYPES: &[u8] = include_bytes!("../golden/gguf_types.gguf");
const TYPES_DECODED: &[u8] = include_bytes!("../golden/gguf_types.f32");

/// Rows of the fixture's tensors, one of every type in the table's order.
const ROWS: u32 = 5;

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

/// The fixture's matrix of one type: on the GPU, and its values.
fn matrix(gpu: &Gpu, dtype: DType) -> (Matrix, Vec<f32>) {
    let checkpoint = open_bytes("gguf_types.gguf", TYPES.to_vec());
    let at = DType::all().position(|known| known == dtype).unwrap();
    let decoded: Vec<f32> = bytemuck::pod_collect_to_vec(TYPES_DECODED);
    let n = decoded.len() / DType::all().count();
    let names = [dtype.name().to_owned()];
    let loaded = block_on(Matrix::load(gpu, &checkpoint, &names, n as u32 / ROWS, RowOrder::AsFiled, &mut |_| Ok(())));
    (loaded.unwrap(), decoded[at * n..(at + 1) * n].to_vec())
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
        // A residual stream takes outputs as they are or by a factor; a bound takes that factor's place.
        let kinds = [
            (Activation::Identity, Some(0.25)),
            (Activation::Silu, Some(1.0)),
            (Activation::Gelu, None),
            (Activation::GeluTanh, None),
            (Activation::Relu, None),
            (Activation::Tanh, Some(1.0)),
            (Activation::SoftCap(0.5), None),
        ];
        for (activation, factor) in kinds {
            let y = poisoned(&gpu, 1, ROWS);
            let residual = factor.map(|factor| Residual::Stream { stream: &r_columns, factor });
            let output = Output::Plain { y: &y, activation, residual };
            let norm = Some(RmsPrologue { weight: 8, eps: 1e-5 });
            let product = Product { norm, bias: Some(0), output, ..plain(&weights, &x_columns, &y) };
            run(&gpu, &vectors, 0, 1, |pass| multiply(pass, &product));
            let found = block_on(y.read(&gpu, 1)).unwrap();
            let products = reference::matvec(&decoded, &reference::rms_norm(&x, &g, 1e-5));
            let wanted: Vec<f64> = products
                .iter()
                .enumerate()
                .map(|(i, v)| {
                    let activated = apply(v + f64::from(b[i]), activation);
                    factor.map_or(activated, |factor| f64::from(factor) * activated + f64::from(r[i]))
                })
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
                embed(pass, &weights, 1.0, Ids::ByColumn(&ids), &y, Store::Set);
                embed(pass, &weights, 0.5, Ids::ByColumn(&ids), &y, Store::Add);
            });
            let found = block_on(y.read(&gpu, 4)).unwrap();
            for (column, id) in [3usize, 4, 0, 3].into_iter().enumerate() {
                let row = &decoded[id * n_cols as usize..(id + 1) * n_cols as usize];
                let wanted: Vec<f64> = row.iter().map(|v| 1.5 * f64::from(*v)).collect();
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
        let output =
            Output::Plain { y: &y, activation: Activation::Identity, residual: Some(Residual::new(&residual)) };
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
    run(&gpu, &vectors, 0, 2, |pass| embed(pass, &weights, 1.0, Ids::ByColumn(&ids), &rows, Store::Set));
    let found = block_on(rows.read(&gpu, 2)).unwrap();
    for (column, id) in [2usize, 42].into_iter().enumerate() {
        assert_eq!(found[column], values[id * n_cols..(id + 1) * n_cols]);
    }
}
