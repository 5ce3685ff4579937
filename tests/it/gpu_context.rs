//! Texts around and beyond the context: what is read again, what is left out, and that the answers are those of a fresh session.

use crate::common::gpu::{block_on, raw_gpu};
use crate::common::toy::{CONTEXT, Toy};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::rc::Rc;
use trice::Error;
use trice::gpu::Gpu;
use trice::session::{
    Batch, FinishReason, GenerateOptions, Generation, KvType, LoadOptions, Overflow, Session, Speculate,
};
use trice::text::SamplingParams;

const PROMPT: [u32; 5] = [257, 3, 1, 4, 1];
/// Tokens of the toy's context that stay, and those of a block that goes.
const KEPT: usize = CONTEXT as usize / 4;
const BLOCK: usize = 24;

fn gpu() -> Option<Rc<Gpu>> {
    raw_gpu().map(Rc::new)
}

fn load(gpu: &Rc<Gpu>, toy: &Toy, options: LoadOptions) -> Session {
    let options = LoadOptions { kv_type: KvType::F32, ..options };
    block_on(Session::load(gpu, &toy.open(), &options, &mut |_| {})).unwrap()
}

fn speculating() -> LoadOptions {
    LoadOptions { speculate: Speculate::Lookup, ..LoadOptions::default() }
}

fn parallel(n: usize) -> LoadOptions {
    LoadOptions { parallel: Some(n), ..LoadOptions::default() }
}

fn greedy(n: usize, overflow: Overflow) -> GenerateOptions {
    GenerateOptions { max_tokens: Some(n), overflow, ignore_end: true, ..GenerateOptions::default() }
}

fn answer(session: &mut Session, prompt: &[u32], options: &GenerateOptions) -> Generation {
    block_on(session.generate(prompt, options, &mut |_| ControlFlow::Continue(()))).unwrap()
}

/// A prompt of `n` tokens that repeats nothing.
fn prompt(n: usize) -> Vec<u32> {
    (0..n).map(|i| if i == 0 { 257 } else { (i * i * 7 + i) as u32 % 250 }).collect()
}

/// What is left of `text` once blocks have gone until it fits.
fn cut(mut text: Vec<u32>) -> Vec<u32> {
    while text.len() >= CONTEXT as usize {
        text.drain(KEPT..KEPT + BLOCK);
    }
    text
}

/// `n` tokens after `prompt` by a session that forgets everything at every shift, and never shifts by itself.
fn by_hand(session: &mut Session, prompt: &[u32], n: usize, sampling: SamplingParams) -> Vec<u32> {
    let (mut text, mut tokens) = (cut(prompt.to_vec()), Vec::new());
    while tokens.len() < n {
        session.forget();
        let wanted = (CONTEXT as usize - text.len()).min(n - tokens.len());
        let options = GenerateOptions { sampling, without_drafts: true, ..greedy(wanted, Overflow::Error) };
        let new = answer(session, &text, &options).tokens;
        text.extend(&new);
        tokens.extend(&new);
        text = cut(text);
    }
    tokens
}

fn ways() -> [SamplingParams; 2] {
    let warm =
        SamplingParams { temperature: 0.9, top_k: 40, seed: 5, repeat_penalty: 1.2, ..SamplingParams::default() };
    [SamplingParams::default(), warm]
}

#[test]
fn a_shifted_answer_is_that_of_a_fresh_session_given_what_is_left() {
    let Some(gpu) = gpu() else { return };
    let toy = Toy::llama();
    let mut drafted = load(&gpu, &toy, speculating());
    let load_options = LoadOptions { kv_type: KvType::F32, ..LoadOptions::default() };
    block_on(drafted.draft_with(&toy.open(), &load_options, &mut |_| {})).unwrap();
    let looked_up = load(&gpu, &toy, speculating());
    let plain = load(&gpu, &toy, LoadOptions::default());
    for (name, mut session) in [("plain", plain), ("lookup", looked_up), ("draft", drafted)] {
        for sampling in ways() {
            // A short prompt, one to the last position, and one that is too long by itself.
            for (n_prompt, n_dropped) in [(5, 6 * BLOCK), (63, 8 * BLOCK), (150, 12 * BLOCK)] {
                let prompt = prompt(n_prompt);
                let wanted = by_hand(&mut session, &prompt, 180, sampling);
                session.forget();
                let options = GenerateOptions { sampling, ..greedy(180, Overflow::Shift) };
                let found = answer(&mut session, &prompt, &options);
                assert_eq!(found.tokens, wanted, "{name} after {n_prompt}");
                assert_eq!(found.prompt_tokens, cut(prompt.clone()));
                let whole = n_prompt + found.tokens.len() - 1;
                assert_eq!(found.dropped_tokens, (whole + 1 - CONTEXT as usize).div_ceil(BLOCK) * BLOCK);
                assert_eq!(found.dropped_tokens, n_dropped, "{name} after {n_prompt}");
                assert_eq!(found.finish_reason, FinishReason::Length);
                // The next turn finds in the cache what this one left: it reads the last token and its own.
                let next = [&prompt[..], &found.tokens, &[7, 8, 9]].concat();
                let going_on = answer(&mut session, &next, &GenerateOptions { sampling, ..greedy(9, Overflow::Shift) });
                assert_eq!(going_on.timings.prefill_tokens, 4, "{name} after {n_prompt}");
                assert_eq!(going_on.tokens, by_hand(&mut session, &next, 9, sampling));
            }
        }
    }
}

#[test]
fn log_probabilities_go_on_over_a_shift() {
    let Some(gpu) = gpu() else { return };
    let mut session = load(&gpu, &Toy::llama(), LoadOptions::default());
    let wanted = answer(&mut session, &PROMPT, &greedy(130, Overflow::Shift));
    let options = GenerateOptions { logprobs: Some(1), ..greedy(130, Overflow::Shift) };
    let found = answer(&mut session, &PROMPT, &options);
    assert_eq!((&found.tokens, &found.text), (&wanted.tokens, &wanted.text));
    assert_eq!(found.logprobs.unwrap().len(), 130);
}

#[test]
fn answers_shift_beside_others() {
    let Some(gpu) = gpu() else { return };
    let mut session = load(&gpu, &Toy::llama(), parallel(3));
    let requests = [(prompt(5), 150), (prompt(150), 90), (prompt(33), 20), (prompt(64), 131)];
    let wanted: Vec<_> =
        requests.iter().map(|(prompt, n)| by_hand(&mut session, prompt, *n, SamplingParams::default())).collect();
    session.forget();
    let mut batch = Batch::new(&mut session);
    let (mut tickets, mut ended) = (Vec::new(), HashMap::new());
    for (prompt, n) in &requests {
        while !batch.has_room() {
            ended.extend(block_on(batch.step()).unwrap());
        }
        let quiet = Box::new(|_: trice::session::Piece<'_>| ControlFlow::Continue(()));
        tickets.push(batch.admit(prompt, &greedy(*n, Overflow::Shift), quiet).unwrap());
        ended.extend(block_on(batch.step()).unwrap());
    }
    while !batch.is_empty() {
        ended.extend(block_on(batch.step()).unwrap());
    }
    for (ticket, wanted) in tickets.iter().zip(&wanted) {
        assert_eq!(&ended[ticket].as_ref().unwrap().tokens, wanted);
    }
}

#[test]
fn a_shift_hears_cancelling_and_stops() {
    let Some(gpu) = gpu() else { return };
    let mut session = load(&gpu, &Toy::llama(), LoadOptions::default());
    // Without an end: nothing but the listener stops it.
    let options = GenerateOptions { max_tokens: None, ..greedy(0, Overflow::Shift) };
    let wanted = answer(&mut session, &PROMPT, &greedy(400, Overflow::Shift)).tokens;
    let mut n = 0;
    let cancelled = block_on(session.generate(&PROMPT, &options, &mut |_| {
        n += 1;
        if n == 300 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }));
    let cancelled = cancelled.unwrap();
    assert_eq!((cancelled.finish_reason, &cancelled.tokens[..]), (FinishReason::Cancelled, &wanted[..300]));
    let going_on = [&PROMPT[..], &cancelled.tokens].concat();
    let rest = answer(&mut session, &going_on, &greedy(50, Overflow::Shift));
    assert_eq!((&rest.tokens[..], rest.timings.prefill_tokens), (&wanted[300..350], 1));
}

#[test]
fn the_middle_of_a_long_prompt_is_left_out() {
    let Some(gpu) = gpu() else { return };
    let mut session = load(&gpu, &Toy::llama(), LoadOptions::default());
    let context = CONTEXT as usize;
    for (n_prompt, max_tokens, n_left) in
        [(48, None, 48), (49, None, 48), (200, None, 48), (200, Some(5), 59), (60, Some(4), 60), (61, Some(4), 60)]
    {
        let prompt = prompt(n_prompt);
        let options = GenerateOptions { max_tokens, ..greedy(0, Overflow::TruncateMiddle) };
        let found = answer(&mut session, &prompt, &options);
        let wanted = match n_left {
            _ if n_left == n_prompt => prompt.clone(),
            _ => [&prompt[..KEPT], &prompt[n_prompt - (n_left - KEPT)..]].concat(),
        };
        assert_eq!(found.prompt_tokens, wanted, "{n_prompt} tokens, {max_tokens:?} asked for");
        assert_eq!(found.dropped_tokens, n_prompt - n_left);
        assert_eq!(found.tokens.len(), max_tokens.unwrap_or(context - n_left));
        session.forget();
        let fresh = answer(&mut session, &wanted, &greedy(found.tokens.len(), Overflow::Error));
        assert_eq!(found.tokens, fresh.tokens);
        assert_eq!(fresh.dropped_tokens, 0);
    }
}

#[test]
fn an_error_is_an_error_and_bad_ids_are_bad_wherever_they_stand() {
    let Some(gpu) = gpu() else { return };
    let mut session = load(&gpu, &Toy::llama(), LoadOptions::default());
    let mut generate = |prompt: &[u32], overflow| {
        block_on(session.generate(prompt, &greedy(3, overflow), &mut |_| ControlFlow::Continue(()))).unwrap_err()
    };
    assert!(matches!(generate(&prompt(64), Overflow::Error), Error::Limit { needed: 65, available: 64, .. }));
    let mut bad = prompt(100);
    bad[50] = 999;
    for overflow in [Overflow::Shift, Overflow::TruncateMiddle] {
        assert!(matches!(generate(&bad, overflow), Error::Invalid { .. }), "{overflow:?}");
        assert!(matches!(generate(&[], overflow), Error::Invalid { .. }), "{overflow:?}");
    }
}
