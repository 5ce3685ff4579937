#import state
#import next
// Chooses the next token from each column of logits and advances the state: repetition penalty (arXiv 1909.05858),
// temperature, top-k, top-p (arXiv 1904.09751), min-p (arXiv 2407.01082), then a draw by the Gumbel-max trick whose noise is a hash
// of (seed, position, token), so nothing accumulates between steps. One workgroup per column.
struct Params {
    n_cols: u32,
    context_len: u32,
    stride: u32, // floats per column of logits
    pad0: u32,
}
struct Sampling {
    temperature: f32,
    top_p: f32,
    min_p: f32,
    repeat_penalty: f32,
    top_k: u32,
    repeat_last_n: u32,
    seed: u32,
    pad0: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> sampling: array<Sampling, 8>; // by request
@group(0) @binding(2) var<storage, read_write> logits: array<f32>;
@group(0) @binding(3) var<storage, read_write> history: array<u32>; // (slot, context_len + 1): token id by position
@group(0) @binding(4) var<storage, read_write> state: State;

const INFINITE: u32 = 0xFF800000u; // key of +inf; a NaN's is above it
const NOTHING: u32 = 0x007FFFFFu;  // key of -inf: as the best, no token is possible
const BAD: u32 = 0xFFFFFFFFu;      // the token that says: logits hold no number

var<workgroup> keys: array<u32, WG>;
var<workgroup> ids: array<u32, WG>;
var<workgroup> sums: array<f32, WG>;

// Floats as unsigned integers in the same order; NaN above all.
fn key(v: f32) -> u32 {
    let bits = bitcast<u32>(v);
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u) { return BAD; }
    return select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
}

fn unkey(k: u32) -> f32 { return bitcast<f32>(select(~k, k & 0x7FFFFFFFu, (k >> 31u) == 1u)); }

// PCG output hash (Jarzynski and Olano, JCGT 9(3), 2020).
fn pcg(v: u32) -> u32 {
    let s = v * 747796405u + 2891336453u;
    let w = ((s >> ((s >> 28u) + 4u)) ^ s) * 277803737u;
    return (w >> 22u) ^ w;
}

// The next token of a slot's sequence.
fn append(slot: u32, end: u32, token: u32) {
    history[slot * (params.context_len + 1u) + min(end, params.context_len)] = token;
}

// Each recent token once: thread i looks at the i-th last and leaves it to a later twin.
fn penalize(local: u32, column: u32, end: u32) {
    let first = column * params.stride;
    let last = slot_of(column) * (params.context_len + 1u) + end - 1u;
    let wanted = sampling[request_of(column)];
    let n = min(wanted.repeat_last_n, end);
    for (var i = local; i < n; i += WG) {
        let token = history[last - i];
        var is_first = token < params.n_cols;
        for (var j = 0u; j < i; j++) { is_first = is_first && history[last - j] != token; }
        if (is_first) {
            let v = logits[first + token];
            logits[first + token] = select(v * wanted.repeat_penalty, v / wanted.repeat_penalty, v > 0.0);
        }
    }
}

// The largest key among the threads and its lowest id, into keys[0] and ids[0].
fn reduce_best(local: u32) {
    workgroupBarrier();
    for (var step = WG / 2u; step > 0u; step /= 2u) {
        if (local < step) {
            let other = local + step;
            if (keys[other] > keys[local] || (keys[other] == keys[local] && ids[other] < ids[local])) {
                keys[local] = keys[other];
                ids[local] = ids[other];
            }
        }
        workgroupBarrier();
    }
}

// Sum over the threads, in a fixed order.
fn reduce_sum(local: u32, v: f32) -> f32 {
    workgroupBarrier();
    sums[local] = v;
    workgroupBarrier();
    var sum = 0.0;
    for (var i = 0u; i < WG; i++) { sum += sums[i]; }
    return sum;
}

// Sum over the tokens with key ≥ cut: of their probabilities relative to the best, or (COUNT) of ones.
fn mass(local: u32, column: u32, cut: u32, best: f32, count: bool) -> f32 {
    let first = column * params.stride;
    let temperature = sampling[request_of(column)].temperature;
    var sum = 0.0;
    for (var i = local; i < params.n_cols; i += WG) {
        let v = logits[first + i];
        if (key(v) >= cut) { sum += select(exp((v - best) / temperature), 1.0, count); }
    }
    return reduce_sum(local, sum);
}

// The largest cut ≥ floor that still leaves `wanted` mass, built bit by bit.
fn find_cut(local: u32, column: u32, floor: u32, wanted: f32, best: f32, count: bool) -> u32 {
    var cut = 0u;
    for (var bit = 0u; bit < 32u; bit++) {
        let tried = cut | (0x80000000u >> bit);
        if (mass(local, column, max(tried, floor), best, count) >= wanted) { cut = tried; }
    }
    return max(cut, floor);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let column = group.x;
    let first = column * params.stride;
    let end = end_of(column);
    let wanted = sampling[request_of(column)];
    if (wanted.repeat_penalty != 1.0) {
        penalize(local, column, end);
        storageBarrier();
        workgroupBarrier();
    }
    keys[local] = 0u;
    ids[local] = local;
    for (var i = local; i < params.n_cols; i += WG) {
        let k = key(logits[first + i]);
        if (k > keys[local]) {
            keys[local] = k;
            ids[local] = i;
        }
    }
    reduce_best(local);
    let best_key = keys[0];
    let best = unkey(best_key);
    if (wanted.temperature > 0.0) {
        var cut = 0u;
        if (wanted.top_k > 0u && wanted.top_k < params.n_cols) {
            cut = find_cut(local, column, 0u, f32(wanted.top_k), best, true);
        }
        if (wanted.top_p < 1.0) {
            let share = wanted.top_p * mass(local, column, cut, best, false);
            cut = find_cut(local, column, cut, share, best, false);
        }
        workgroupBarrier();
        keys[local] = 0u;
        ids[local] = local;
        let noise = pcg(end ^ pcg(wanted.seed));
        for (var i = local; i < params.n_cols; i += WG) {
            let v = logits[first + i];
            let scaled = (v - best) / wanted.temperature;
            if (key(v) >= cut && exp(scaled) >= wanted.min_p) {
                // 23 bits and a half: never 0 or 1. The floor keeps a coarse log near 1 from making noise infinite.
                let uniform = (f32(pcg(i ^ noise) >> 9u) + 0.5) / 8388608.0;
                let k = key(scaled - log(max(-log(uniform), 1e-7)));
                if (k > keys[local]) {
                    keys[local] = k;
                    ids[local] = i;
                }
            }
        }
        reduce_best(local);
    }
    if (local == 0u && is_live(column)) {
        let token = select(ids[0], BAD, best_key >= INFINITE || best_key <= NOTHING);
        take(column, end, token);
    }
}
