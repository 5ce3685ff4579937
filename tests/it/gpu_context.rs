//! Texts around and beyond the context: what is read again, what is left out, and that the answers are those of a fresh session.

use crate::common::gpu::{block_on, open_bytes, raw_gpu};
use crate::common::toy::{CONTEXT, Toy};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::rc::Rc;
use trice::Error;
use trice::gpu::Gpu;
use trice::session::{
    Batch, Cancel, FinishReason, GenerateOptions, Generation, KvType, LoadOptions, Overflow, Session, Speculate,
    Timings,
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
                if name == "draft" {
                    // The same model guesses right, after every shift.
                    let Timings { drafted_tokens, accepted_tokens, .. } = found.timings;
                    assert!(drafted_tokens > 100 && accepted_tokens == drafted_tokens, "{:?}", found.timings);
                }
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

/// A conversation, two ways on from it, and their answers. Without a fork they are long enough for a copy to be worth it.
fn check_fork(session: &mut Session, fresh: &mut Session, forks: bool) {
    let first = answer(session, &prompt(30), &greedy(8, Overflow::Error));
    let shared = [&prompt(30)[..], &first.tokens].concat();
    if forks {
        // The last token was chosen and not run.
        assert_eq!(session.fork().unwrap(), shared.len() - 1);
    }
    let n_turn = if forks { 3 } else { 20 };
    let mut texts =
        [7u32, 100].map(|first| shared.iter().copied().chain(first..first + n_turn as u32).collect::<Vec<_>>());
    for turn in 0..3 {
        for (i, text) in texts.iter_mut().enumerate() {
            let found = answer(session, text, &greedy(4, Overflow::Error));
            fresh.forget();
            let wanted = answer(fresh, text, &greedy(4, Overflow::Error));
            assert_eq!(found.tokens, wanted.tokens, "way {i}, turn {turn}");
            assert_eq!(wanted.timings.prefill_tokens, text.len());
            // The token that was chosen and not run, and the turn. Without a fork the second way finds what the first has run.
            let n_new = match (turn, i) {
                (0, 1) if !forks => n_turn,
                (0, _) => 1 + n_turn,
                _ => 1 + 1,
            };
            assert_eq!(found.timings.prefill_tokens, n_new, "way {i}, turn {turn}");
            text.extend(found.tokens);
            text.push(40 + i as u32);
        }
    }
}

#[test]
fn a_forked_conversation_goes_on_in_two_ways_and_reads_only_what_is_new() {
    let Some(gpu) = gpu() else { return };
    for n_slots in [2, 3] {
        for forks in [true, false] {
            let toy = Toy::llama().uint("llama.context_length", 128);
            let mut session = load(&gpu, &toy, parallel(n_slots));
            check_fork(&mut session, &mut load(&gpu, &toy, parallel(n_slots)), forks);
        }
    }
}

#[test]
fn a_fork_without_a_slot_or_a_conversation_says_so() {
    let Some(gpu) = gpu() else { return };
    let mut single = load(&gpu, &Toy::llama(), LoadOptions::default());
    answer(&mut single, &PROMPT, &greedy(4, Overflow::Error));
    let error = single.fork().unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }) && error.to_string().contains("`parallel` of 2"), "{error}");
    let mut empty = load(&gpu, &Toy::llama(), parallel(2));
    assert!(empty.fork().unwrap_err().to_string().contains("no conversation yet"));
}

/// A request that begins like one that is being answered takes what that has read.
#[test]
fn answers_beside_each_other_read_a_shared_beginning_once() {
    let Some(gpu) = gpu() else { return };
    let toy = Toy::llama();
    let (mut session, mut fresh) = (load(&gpu, &toy, parallel(3)), load(&gpu, &toy, parallel(3)));
    let shared = prompt(36);
    let mut batch = Batch::new(&mut session);
    let (mut tickets, mut ended) = (Vec::new(), HashMap::new());
    for turn in [[1u32, 2], [3, 4], [5, 6]] {
        let text = [&shared[..], &turn].concat();
        let quiet = Box::new(|_: trice::session::Piece<'_>| ControlFlow::Continue(()));
        tickets.push((batch.admit(&text, &greedy(20, Overflow::Error), quiet).unwrap(), text));
        ended.extend(block_on(batch.step()).unwrap());
    }
    while !batch.is_empty() {
        ended.extend(block_on(batch.step()).unwrap());
    }
    for (i, (ticket, text)) in tickets.iter().enumerate() {
        let found = ended[ticket].as_ref().unwrap();
        fresh.forget();
        assert_eq!(found.tokens, answer(&mut fresh, text, &greedy(20, Overflow::Error)).tokens);
        assert_eq!(found.timings.prefill_tokens, if i == 0 { 38 } else { 2 });
    }
}

fn stories(gpu: &Rc<Gpu>, kv_type: KvType) -> Session {
    let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let checkpoint = open_bytes("stories.gguf", std::fs::read(models.join("stories.gguf")).unwrap());
    let options = LoadOptions { kv_type, ..LoadOptions::default() };
    block_on(Session::load(gpu, &checkpoint, &options, &mut |_| {})).unwrap()
}

#[test]
fn every_turn_of_a_chat_reads_only_what_is_new() {
    let Some(gpu) = gpu() else { return };
    let (mut session, mut fresh) = (stories(&gpu, KvType::F16), stories(&gpu, KvType::F16));
    let mut text = session.raw_prompt("Once upon a time there was a cat").unwrap();
    let mut n_new = text.len();
    for turn in ["One day a dog came", "The cat said", "The end"] {
        let found = answer(&mut session, &text, &greedy(12, Overflow::Error));
        assert_eq!(found.timings.prefill_tokens, n_new, "before {turn:?}");
        fresh.forget();
        assert_eq!(found.tokens, answer(&mut fresh, &text, &greedy(12, Overflow::Error)).tokens);
        // Text without its begin token: what a turn adds.
        let added = &session.raw_prompt(turn).unwrap()[1..];
        text.extend(found.tokens.iter().chain(added));
        n_new = 1 + added.len();
    }
}

/// In chunks of 128, and a token at a time behind what the cache holds of those before it.
#[test]
fn prompts_around_the_borders_of_chunks_have_the_logits_of_one_token_after_the_other() {
    let Some(gpu) = gpu() else { return };
    let mut session = stories(&gpu, KvType::F32);
    let n_tokens = session.info().vocab_size as u32;
    let text: Vec<u32> = (0..386u32).map(|i| if i == 0 { 1 } else { 3 + (i * i * 7 + i) % (n_tokens - 3) }).collect();
    let lengths = [1, 2, 127, 128, 129, 255, 256, 257, 384, 385];
    let mut one_by_one = Vec::new();
    for n in 1..=385 {
        if lengths.contains(&n) {
            one_by_one.push(answer_logprobs(&mut session, &text[..n], 1));
        } else {
            assert_eq!(answer(&mut session, &text[..n], &greedy(1, Overflow::Error)).timings.prefill_tokens, 1);
        }
    }
    for (n, one_by_one) in lengths.into_iter().zip(one_by_one) {
        session.forget();
        let chunked = answer_logprobs(&mut session, &text[..n], n);
        assert_eq!(chunked.len(), n_tokens as usize);
        for (a, b) in chunked.iter().zip(&one_by_one) {
            assert!((a - b).abs() < 1e-3, "{n} tokens: {a} and {b}");
        }
    }
}

/// Log-probabilities of every token after `prompt`, by id, once `n_new` tokens of it are read.
fn answer_logprobs(session: &mut Session, prompt: &[u32], n_new: usize) -> Vec<f32> {
    let n_tokens = session.info().vocab_size;
    let options = GenerateOptions { logprobs: Some(n_tokens), ..greedy(1, Overflow::Error) };
    let found = answer(session, prompt, &options);
    assert_eq!(found.timings.prefill_tokens, n_new);
    let mut top = found.logprobs.unwrap().swap_remove(0).top;
    top.sort_by_key(|entry| entry.id);
    top.iter().map(|entry| entry.logprob).collect()
}

#[test]
fn the_context_fills_to_its_last_position() {
    let Some(gpu) = gpu() else { return };
    let context = CONTEXT as usize;
    for options in [LoadOptions::default(), speculating(), parallel(2)] {
        let mut session = load(&gpu, &Toy::llama(), options);
        let whole = answer(&mut session, &PROMPT, &greedy(1000, Overflow::Error));
        assert_eq!((whole.tokens.len(), whole.finish_reason), (context - 5, FinishReason::Length));
        for n in [1, 2, 3] {
            // Room for exactly as many as asked for, and for one less.
            let text = [&PROMPT[..], &whole.tokens[..context - 5 - n]].concat();
            for asked in [n, n + 1] {
                let last = answer(&mut session, &text, &greedy(asked, Overflow::Error));
                assert_eq!(last.tokens, whole.tokens[whole.tokens.len() - n..]);
                assert_eq!(last.finish_reason, FinishReason::Length);
                // An answer that fits does not shift; one that is longer by a token does.
                let shifted = answer(&mut session, &text, &greedy(asked, Overflow::Shift));
                assert_eq!((shifted.tokens.len(), shifted.dropped_tokens), (asked, (asked - n) * BLOCK));
                assert_eq!(shifted.tokens[..n], last.tokens);
            }
        }
    }
}

/// A prompt that is stopped between its chunks leaves in the cache what was read, and nothing wrong.
#[test]
fn a_cancelled_prompt_and_a_cancelled_answer_go_on() {
    let Some(gpu) = gpu() else { return };
    let toy = Toy::llama().uint("llama.context_length", 1024);
    let (mut session, mut fresh) = (load(&gpu, &toy, LoadOptions::default()), load(&gpu, &toy, LoadOptions::default()));
    let long = prompt(700);
    let wanted = answer(&mut fresh, &long, &greedy(40, Overflow::Error)).tokens;
    let cancel = Cancel::default();
    cancel.cancel();
    let options = GenerateOptions { cancel, ..greedy(40, Overflow::Error) };
    let none = answer(&mut session, &long, &options);
    assert_eq!((none.finish_reason, none.tokens.len(), none.timings.prefill_tokens), (FinishReason::Cancelled, 0, 0));
    // One at a time: a chunk is 128 tokens, and the flag is looked at before each.
    let mut batch = Batch::new(&mut session);
    let cancel = Cancel::default();
    let options = GenerateOptions { cancel: cancel.clone(), ..greedy(40, Overflow::Error) };
    let quiet = Box::new(|_: trice::session::Piece<'_>| ControlFlow::Continue(()));
    batch.admit(&long, &options, quiet).unwrap();
    assert!(block_on(batch.step()).unwrap().is_empty());
    cancel.cancel();
    let (_, stopped) = block_on(batch.step()).unwrap().remove(0);
    let stopped = stopped.unwrap();
    assert_eq!((stopped.finish_reason, stopped.timings.prefill_tokens), (FinishReason::Cancelled, 4 * 128));
    drop(batch);
    let mut n = 0;
    let amid = block_on(session.generate(&long, &greedy(40, Overflow::Error), &mut |_| {
        n += 1;
        if n == 17 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }));
    let amid = amid.unwrap();
    assert_eq!((&amid.tokens[..], amid.timings.prefill_tokens), (&wanted[..17], 700 - 4 * 128));
    let text = [&long[..], &amid.tokens].concat();
    let rest = answer(&mut session, &text, &greedy(23, Overflow::Error));
    assert_eq!((&rest.tokens[..], rest.timings.prefill_tokens), (&wanted[17..], 1));
}
