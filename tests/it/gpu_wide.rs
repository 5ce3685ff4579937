//! A vocabulary of 262 144 tokens at a width of 2048, tied and untied: matrices of a gigabyte on bindings of 128 MiB.

use crate::common::gpu::{block_on, raw_gpu};
use crate::common::reference::{check, matvec, rms_norm, silu};
use trice::format::Checkpoint;
use trice::format::blocks::dequantize;
use trice::kernels::attention::KvType;
use trice::model::decoder::{Decoder, Room, Speculation};

const BINDING: u64 = 128 << 20;
/// Logits are compared for every so many tokens: some in every part of the head.
const EVERY: u64 = 4099;
const EPS: f64 = 1e-5;

/// Rows `first..first + n` of a matrix, dequantized.
fn rows(checkpoint: &Checkpoint, name: &str, first: u64, n: u64) -> Vec<f32> {
    let tensor = checkpoint.tensor(name).unwrap();
    dequantize(tensor.dtype, &block_on(checkpoint.read_rows(tensor, first, n)).unwrap())
}

fn matrix(checkpoint: &Checkpoint, name: &str) -> Vec<f32> {
    rows(checkpoint, name, 0, checkpoint.tensor(name).unwrap().rows())
}

fn f32s(values: Vec<f64>) -> Vec<f32> {
    values.into_iter().map(|value| value as f32).collect()
}

fn add(a: &[f32], b: &[f64]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) + b) as f32).collect()
}

/// What the head multiplies after one token, which stands at position 0, where nothing rotates, and sees itself alone.
fn hidden(checkpoint: &Checkpoint, id: u64) -> Vec<f32> {
    let block = |name: &str| format!("blk.0.{name}.weight");
    let norm = |x: &[f32], name: &str| rms_norm(x, &matrix(checkpoint, name), EPS);
    let x = rows(checkpoint, "token_embd.weight", id, 1);
    let v = f32s(matvec(&matrix(checkpoint, &block("attn_v")), &norm(&x, &block("attn_norm"))));
    let (n_heads, n_kv_heads, head_dim) = (32, 8, 64);
    let attended: Vec<f32> =
        (0..n_heads).flat_map(|head| v[head * n_kv_heads / n_heads * head_dim..][..head_dim].to_vec()).collect();
    let x = add(&x, &matvec(&matrix(checkpoint, &block("attn_output")), &attended));
    let normed = norm(&x, &block("ffn_norm"));
    let gates = matvec(&matrix(checkpoint, &block("ffn_gate")), &normed);
    let ups = matvec(&matrix(checkpoint, &block("ffn_up")), &normed);
    let gated = f32s(gates.iter().zip(ups).map(|(gate, up)| silu(*gate) * up).collect());
    let x = add(&x, &matvec(&matrix(checkpoint, &block("ffn_down")), &gated));
    norm(&x, "output_norm.weight")
}

#[test]
fn gpu_a_vocabulary_of_a_quarter_million_runs_on_small_bindings() {
    for (spec, head) in [
        ("wide:F16", "token_embd.weight"),
        ("wide-untied:F16", "output.weight"),
        ("wide:Q6_K", "token_embd.weight"),
        ("wide-untied:Q6_K", "output.weight"),
    ] {
        let Some(gpu) = raw_gpu() else { return };
        let gpu = gpu.with_max_binding(BINDING);
        let checkpoint = Checkpoint::random(spec).unwrap();
        let n_rows = checkpoint.tensor(head).unwrap().rows();
        let room = Room { context_len: 32, n_slots: 1, kv_type: KvType::F32, speculation: Speculation::None };
        let loading = block_on(Decoder::load(&gpu, &checkpoint, room)).unwrap();
        let loading = block_on(loading.read(&mut |_| Ok(()))).unwrap();
        let decoder = block_on(loading.finish(&mut |_, _| Ok(()))).unwrap();
        // A token of the last part.
        let id = n_rows - 5;
        decoder.prefill(&gpu, 0, &[id as u32]).unwrap();
        decoder.prefill_head(&gpu).unwrap();
        let logits = block_on(decoder.logits(&gpu)).unwrap();
        assert_eq!(logits.len() as u64, n_rows);
        let hidden = hidden(&checkpoint, id);
        let compared: Vec<u64> = (0..n_rows).step_by(EVERY as usize).chain([n_rows - 1]).collect();
        let wanted: Vec<f64> =
            compared.iter().map(|row| matvec(&rows(&checkpoint, head, *row, 1), &hidden)[0]).collect();
        let found: Vec<f32> = compared.iter().map(|row| logits[*row as usize]).collect();
        check(spec, &found, &wanted, 1e-6);
        println!("{spec}: {} MiB of weights on bindings of {} MiB", checkpoint.weight_bytes() >> 20, BINDING >> 20);
    }
}
