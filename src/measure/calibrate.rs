//! How much each column of a model's matrices counts: the mean square of what it is multiplied by while the model reads a text.
//! Rounding weighs errors by it.

use crate::error::Result;
use crate::format::Checkpoint;
use crate::format::planes::STEP;
use crate::gpu::{Buffer, Gpu, Program};
use crate::session::Session;
use std::collections::HashMap;

/// Tokens of context that each piece of the text is read in.
const WINDOW: usize = 512;

/// Mean squares of the columns of each matrix, by its name.
pub type Importance = HashMap<String, Vec<f32>>;

/// Sums of squares by the name of the first matrix that shares an input.
#[derive(Default)]
struct Squares {
    sums: HashMap<String, Vec<f64>>,
    n_tokens: u64,
}

/// Reads `ids` with the decoder `session`, loaded from `checkpoint`; `on_tokens(done, total)` hears how far it is, and its error
/// ends it.
///
/// # Errors
/// `Invalid` for a text of no token; `Gpu` for the driver's.
pub async fn calibrate(
    session: &mut Session,
    checkpoint: &Checkpoint,
    ids: &[u32],
    on_tokens: &mut dyn FnMut(u64, u64) -> Result<()>,
) -> Result<Importance> {
    if ids.is_empty() {
        return Err(crate::Error::invalid("a text of one token at least wanted to calibrate with"));
    }
    // What is read overwrites the cache.
    session.forget();
    let (gpu, bos) = (session.gpu().clone(), session.tokenizer().added_bos());
    let window = WINDOW.min(session.info().context_len) - usize::from(bos.is_some());
    let decoder = session.decoder();
    let mut squares = Squares::default();
    for (i, piece) in ids.chunks(window.max(1)).enumerate() {
        let piece: Vec<u32> = bos.into_iter().chain(piece.iter().copied()).collect();
        for (j, chunk) in piece.chunks(decoder.chunk_len()).enumerate() {
            on_tokens((i * window + j * decoder.chunk_len()) as u64, ids.len() as u64)?;
            let first = j * decoder.chunk_len();
            gpu.write(decoder.history(), 4 * first as u64, bytemuck::cast_slice(chunk));
            decoder.set_state(&gpu, first, chunk.len());
            let [program, ..] = decoder.prompt_programs()?;
            squares.read(&gpu, checkpoint, program, chunk.len()).await?;
        }
    }
    Ok(squares.of_matrices(checkpoint))
}

impl Squares {
    /// Runs the program for `n_tokens` columns, stopping before each product to look at what it multiplies by.
    async fn read(&mut self, gpu: &Gpu, checkpoint: &Checkpoint, program: &Program, n_tokens: usize) -> Result<()> {
        let is_product = |i: &usize| ["matmul", "matvec"].iter().any(|name| program.label(*i).kernel.starts_with(name));
        let products: Vec<usize> = (0..program.n_dispatches()).filter(is_product).collect();
        let mut done = 0;
        for at in products {
            gpu.time_some(program, &(done..at).collect::<Vec<_>>(), 1).await?;
            done = at;
            // The order of their bindings.
            let [_, weights, x, ..] = program.buffers(at) else { continue };
            if let Some(tensor) = checkpoint.tensor(weights.label()) {
                self.add(gpu, &tensor.name, x, tensor.cols() as usize, n_tokens).await?;
            }
        }
        gpu.time_some(program, &(done..program.n_dispatches()).collect::<Vec<_>>(), 1).await?;
        self.n_tokens += n_tokens as u64;
        Ok(())
    }

    async fn add(&mut self, gpu: &Gpu, name: &str, x: &Buffer, n_cols: usize, n_tokens: usize) -> Result<()> {
        let stride = n_cols.next_multiple_of(STEP);
        let bytes = gpu.read(x, 0, (4 * stride * n_tokens) as u64).await?;
        let values: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes);
        let sums = self.sums.entry(name.to_owned()).or_insert_with(|| vec![0.0; n_cols]);
        for column in values.chunks(stride) {
            sums.iter_mut().zip(column).for_each(|(sum, x)| *sum += f64::from(*x).powi(2));
        }
        Ok(())
    }

    /// Means, also for the matrices that are stacked with those that were seen.
    fn of_matrices(self, checkpoint: &Checkpoint) -> Importance {
        let means = |sums: &Vec<f64>| sums.iter().map(|sum| (sum / self.n_tokens as f64) as f32).collect();
        let of = |name: &String| {
            let sums = self.sums.get(name).or_else(|| self.sums.get(&first_of_stack(name)))?;
            Some((name.clone(), means(sums)))
        };
        checkpoint.tensors().filter_map(|tensor| of(&tensor.name)).collect()
    }
}

/// The matrix that one of q, k and v, or of gate and up, is stacked behind.
fn first_of_stack(name: &str) -> String {
    let parts = name.split('.').map(|part| match part {
        "attn_k" | "attn_v" => "attn_q",
        "ffn_up" => "ffn_gate",
        other => other,
    });
    parts.collect::<Vec<_>>().join(".")
}
