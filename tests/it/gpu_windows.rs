//! Windows as rings: a cache that forgets what no token sees any more gives the answers of one that holds everything, however a
//! sequence is taken back.

use crate::common::gpu::{block_on, raw_gpu};
use crate::common::toy::Toy;
use std::ops::ControlFlow;
use std::rc::Rc;
use trice::gpu::Gpu;
use trice::session::{GenerateOptions, Generation, KvType, LoadOptions, Session, Speculate};

/// Shorter than what a ring holds beyond it, so that rings are in use at this context.
const WINDOW: u32 = 16;
const CONTEXT: u32 = 2048;

/// A toy whose first layer sees a window and whose second sees all.
fn toy() -> Toy {
    let toy = Toy::llama().uint("llama.context_length", CONTEXT);
    toy.uint("llama.attention.sliding_window", WINDOW).uint("llama.attention.sliding_window_pattern", 2)
}

fn load(gpu: &Rc<Gpu>, kv_type: KvType, options: LoadOptions) -> Session {
    let options = LoadOptions { kv_type, context_len: Some(CONTEXT as usize), ..options };
    block_on(Session::load(gpu, &toy().open(), &options, &mut |_| {})).unwrap()
}

fn answer(session: &mut Session, prompt: &[u32], n: usize) -> Generation {
    let options = GenerateOptions { max_tokens: Some(n), ignore_end: true, ..GenerateOptions::default() };
    block_on(session.generate(prompt, &options, &mut |_| ControlFlow::Continue(()))).unwrap()
}

/// `n` tokens, which depend on `seed` from token `common` on.
fn prompt(n: usize, common: usize, seed: usize) -> Vec<u32> {
    let token = |i: usize| if i < common { (i * i * 7 + i) % 250 } else { (i * i * 11 + 3 * i + seed) % 250 };
    (0..n).map(|i| if i == 0 { 257 } else { token(i) as u32 }).collect()
}

#[test]
fn gpu_rings_answer_as_full_caches_do() {
    let Some(gpu) = raw_gpu().map(Rc::new) else { return };
    for (kv_type, options) in [
        (KvType::F32, LoadOptions::default()),
        (KvType::F16, LoadOptions { speculate: Speculate::Lookup, ..LoadOptions::default() }),
        (KvType::F16, LoadOptions { parallel: Some(2), ..LoadOptions::default() }),
    ] {
        let mut kept = load(&gpu, kv_type, options.clone());
        let mut fresh = load(&gpu, kv_type, options);
        // Taken back a little, far, and to the beginning; shorter and longer than a ring.
        for (n, common) in [(1200, 1200), (1200, 1150), (1300, 700), (900, 300), (200, 30), (1500, 100)] {
            let text = prompt(n, common, n + common);
            fresh.forget();
            let (found, wanted) = (answer(&mut kept, &text, 40), answer(&mut fresh, &text, 40));
            assert_eq!(found.tokens, wanted.tokens, "{kv_type:?}, {n} tokens of which {common} are shared");
        }
        // A chat that goes on reads no more than what is new.
        let mut text = prompt(1200, 1200, 0);
        let first = answer(&mut kept, &text, 8);
        text.extend(first.tokens.iter().chain(&[5, 6, 7]));
        assert!(answer(&mut kept, &text, 8).timings.prefill_tokens <= 5, "the conversation was read again");
    }
}

/// A slot is copied with its scales, whatever stands in the slots beside it.
#[test]
fn gpu_forks_of_bytes_and_rings_answer_as_fresh_sessions_do() {
    let Some(gpu) = raw_gpu().map(Rc::new) else { return };
    for (kv_type, text) in [(KvType::Q8, prompt(60, 60, 0)), (KvType::F16, prompt(700, 700, 0))] {
        let mut session = load(&gpu, kv_type, LoadOptions { parallel: Some(3), ..LoadOptions::default() });
        let mut fresh = load(&gpu, kv_type, LoadOptions { parallel: Some(3), ..LoadOptions::default() });
        answer(&mut session, &prompt(50, 1, 9), 4);
        answer(&mut session, &text, 4);
        assert_eq!(session.fork().unwrap(), text.len() + 3);
        for end in [[1, 2], [3, 4], [5, 6]] {
            let text = [&text[..], &end].concat();
            fresh.forget();
            let (found, wanted) = (answer(&mut session, &text, 24), answer(&mut fresh, &text, 24));
            assert_eq!(found.tokens, wanted.tokens, "{kv_type:?}, {end:?}");
        }
    }
}

/// With windows in every layer but one the cache is far smaller than the context.
#[test]
fn gpu_a_window_reserves_less() {
    let Some(gpu) = raw_gpu().map(Rc::new) else { return };
    let step = |toy: Toy| {
        let options = LoadOptions { context_len: Some(CONTEXT as usize), ..LoadOptions::default() };
        let session = block_on(Session::load(&gpu, &toy.open(), &options, &mut |_| {})).unwrap();
        session.cache_bytes()
    };
    let full = step(Toy::llama().uint("llama.context_length", CONTEXT));
    let windowed = step(toy());
    assert!(windowed * 3 < full * 2, "{windowed} bytes with a window, {full} without");
}
