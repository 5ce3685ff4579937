//! CPU twins of the kernels, as plain as can be, in f64 where sums matter. Named like the shaders.

/// W·x for one column; `w` is `(rows, x.len())`.
pub fn matvec(w: &[f32], x: &[f32]) -> Vec<f64> {
    w.chunks(x.len()).map(|row| row.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum()).collect()
}

/// x·g / sqrt(mean(x²) + eps).
pub fn rms_norm(x: &[f32], g: &[f32], eps: f64) -> Vec<f32> {
    let mean = x.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / x.len() as f64;
    x.iter().zip(g).map(|(v, g)| (f64::from(*v) * f64::from(*g) / (mean + eps).sqrt()) as f32).collect()
}

/// (x − mean)·g / sqrt(var + eps) + b.
pub fn layer_norm(x: &[f32], g: &[f32], b: &[f32], eps: f64) -> Vec<f64> {
    let n = x.len() as f64;
    let mean = x.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
    let var = x.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n;
    let scale = 1.0 / (var + eps).sqrt();
    x.iter().zip(g).zip(b).map(|((v, g), b)| (f64::from(*v) - mean) * scale * f64::from(*g) + f64::from(*b)).collect()
}

/// x·σ(x).
pub fn silu(v: f64) -> f64 {
    v / (1.0 + (-v).exp())
}

/// x·Φ(x), by the integral of the bell curve.
pub fn gelu(v: f64) -> f64 {
    let n = 4000;
    let step = v / f64::from(n);
    let bell = |t: f64| (-t * t / 2.0).exp() / std::f64::consts::TAU.sqrt();
    let simpson: f64 = (0..n)
        .map(|i| {
            let a = f64::from(i) * step;
            (bell(a) + 4.0 * bell(a + step / 2.0) + bell(a + step)) * step / 6.0
        })
        .sum();
    v * (0.5 + simpson)
}

/// Rotates one head; `pair(t)` gives the two indices of pair t.
pub fn rope(head: &[f32], angles: &[[f32; 2]], pair: impl Fn(usize) -> (usize, usize)) -> Vec<f32> {
    let mut out = head.to_vec();
    for (t, [cos, sin]) in angles.iter().enumerate() {
        let (a, b) = pair(t);
        out[a] = head[a] * cos - head[b] * sin;
        out[b] = head[a] * sin + head[b] * cos;
    }
    out
}

/// softmax(q·Kᵀ / √d)·V for one head; `k` and `v` are `(positions, d)`.
pub fn attention(q: &[f32], k: &[Vec<f32>], v: &[Vec<f32>]) -> Vec<f64> {
    let scale = 1.0 / (q.len() as f64).sqrt();
    scored_attention(q, k, v, |score| score * scale)
}

/// softmax(score(q·Kᵀ))·V for one head; `k` and `v` are `(positions, d)`.
pub fn scored_attention(q: &[f32], k: &[Vec<f32>], v: &[Vec<f32>], score: impl Fn(f64) -> f64) -> Vec<f64> {
    let product = |k: &Vec<f32>| q.iter().zip(k).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let scores: Vec<f64> = k.iter().map(|k| score(product(k))).collect();
    let best = scores.iter().copied().fold(f64::MIN, f64::max);
    let weights: Vec<f64> = scores.iter().map(|s| (s - best).exp()).collect();
    let sum: f64 = weights.iter().sum();
    (0..q.len()).map(|d| weights.iter().zip(v).map(|(w, v)| w * f64::from(v[d])).sum::<f64>() / sum).collect()
}

/// −ln softmax(logits)[target].
pub fn nll(logits: &[f32], target: usize) -> f64 {
    let best = f64::from(logits.iter().copied().fold(f32::MIN, f32::max));
    let sum: f64 = logits.iter().map(|l| (f64::from(*l) - best).exp()).sum();
    best + sum.ln() - f64::from(logits[target])
}

/// The logits of tokens whose bit is not set in `allowed` become −inf: token i is bit i % 32 of word i / 32.
pub fn mask(allowed: &[u32], logits: &[f32]) -> Vec<f32> {
    let is_allowed = |i: usize| (allowed[i / 32] >> (i % 32)) & 1 == 1;
    logits.iter().enumerate().map(|(i, v)| if is_allowed(i) { *v } else { f32::NEG_INFINITY }).collect()
}

/// What followed when the last 4, else 3, else 2 ids of `text` stood there before, at the latest place: up to `max_drafts` ids
/// that all find room before the last position of a context. What lies past the end of the text are the drafts themselves.
pub fn lookup(text: &[u32], max_drafts: usize, context_len: usize) -> Vec<u32> {
    let n_drafts = max_drafts.min(context_len - text.len());
    for n in (2..=4.min(text.len())).rev() {
        let wanted = &text[text.len() - n..];
        if let Some(at) = (0..text.len() - n).rev().find(|at| &text[*at..at + n] == wanted) {
            let mut all = text.to_vec();
            (0..n_drafts).for_each(|i| all.push(all[at + n + i]));
            return all.split_off(text.len());
        }
    }
    Vec::new()
}

/// The tokens that a step appends which chose `chosen` behind its columns, those after the first being `drafts`: one for each
/// right draft, and the first that was not drafted.
pub fn accept(chosen: &[u32], drafts: &[u32]) -> Vec<u32> {
    let n_right = chosen.iter().zip(drafts).take_while(|(chosen, draft)| chosen == draft).count();
    chosen[..=n_right].to_vec()
}

/// ‖out − wanted‖² / ‖wanted‖²; NaN never passes a comparison.
pub fn nmse(out: &[f32], wanted: &[f64]) -> f64 {
    assert_eq!(out.len(), wanted.len());
    let error: f64 = out.iter().zip(wanted).map(|(a, b)| (f64::from(*a) - b).powi(2)).sum();
    error / wanted.iter().map(|b| b * b).sum::<f64>()
}

/// Fails with the first values when `out` is further from `wanted` than `limit`.
pub fn check(what: &str, out: &[f32], wanted: &[f64], limit: f64) {
    let error = nmse(out, wanted);
    let first: Vec<_> = out.iter().zip(wanted).take(5).collect();
    assert!(error <= limit, "{what}: NMSE {error:e}, {limit:e} was wanted; (found, wanted) {first:?}");
}

/// Seeded values in −1..1, different for every seed.
pub fn noise(seed: u64, n: usize) -> Vec<f32> {
    let mut s = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..n)
        .map(|_| {
            s ^= s << 13;
            s ^= s >> 7;
            s ^= s << 17;
            (s >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}
