//! Answers beside each other: the same as alone, whatever the others do.

use crate::common::gpu::{block_on, open_bytes, open_folder, raw_gpu};
use crate::common::shared;
use crate::common::toy::{DIM, Toy};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::rc::Rc;
use trice::Error;
use trice::format::{Checkpoint, DType};
use trice::gpu::Gpu;
use trice::session::{Batch, Cancel, FinishReason, GenerateOptions, Generation, KvType, LoadOptions, Session, Ticket};
use trice::text::SamplingParams;

/// The device as it is and, where it has subgroups, as one that has none.
fn gpus() -> Vec<Rc<Gpu>> {
    let without = raw_gpu().filter(|gpu| gpu.caps().subgroups).map(Gpu::without_subgroups);
    raw_gpu().into_iter().chain(without).map(Rc::new).collect()
}

fn load(gpu: &Rc<Gpu>, checkpoint: &Checkpoint, parallel: usize) -> Session {
    let options = LoadOptions { kv_type: KvType::F32, parallel: Some(parallel), ..LoadOptions::default() };
    block_on(Session::load(gpu, checkpoint, &options, &mut |_| {})).unwrap()
}

fn stories() -> Checkpoint {
    let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    open_bytes("stories.gguf", std::fs::read(models.join("stories.gguf")).unwrap())
}

/// A request: prompt and options.
type Request = (Vec<u32>, GenerateOptions);

/// Three lengths of prompt, the longest of several chunks; the second draws.
fn requests(session: &Session) -> Vec<Request> {
    let long = "Once there was a big dog who had a red ball. ".repeat(16);
    let warm =
        SamplingParams { temperature: 0.9, top_k: 40, top_p: 0.95, seed: 7, repeat_penalty: 1.1, ..Default::default() };
    let request = |text: &str, n, sampling| {
        let options = GenerateOptions { max_tokens: Some(n), sampling, ignore_end: true, ..GenerateOptions::default() };
        (session.raw_prompt(text).unwrap(), options)
    };
    vec![
        request("Once upon a time", 40, SamplingParams::default()),
        request("The sun was", 25, warm),
        request(&long, 33, SamplingParams::default()),
    ]
}

fn alone(session: &mut Session, (prompt, options): &Request) -> Generation {
    session.forget();
    block_on(session.generate(prompt, options, &mut |_| ControlFlow::Continue(()))).unwrap()
}

/// Steps until nothing is under way.
fn run_out(batch: &mut Batch<'_>) -> HashMap<Ticket, trice::Result<Generation>> {
    let mut ended = HashMap::new();
    while !batch.is_empty() {
        ended.extend(block_on(batch.step()).unwrap());
    }
    ended
}

fn check_same(session: &mut Session) {
    let requests = requests(session);
    let wanted: Vec<Generation> = requests.iter().map(|request| alone(session, request)).collect();
    session.forget();
    let streamed: Vec<_> = requests.iter().map(|_| RefCell::new(String::new())).collect();
    let mut batch = Batch::new(session);
    let mut tickets = Vec::new();
    let mut ended = HashMap::new();
    for ((prompt, options), streamed) in requests.iter().zip(&streamed) {
        let on_piece = Box::new(|piece: trice::session::Piece<'_>| {
            streamed.borrow_mut().push_str(piece.text);
            ControlFlow::Continue(())
        });
        tickets.push(batch.admit(prompt, options, on_piece).unwrap());
        // Each comes while those before it are at work.
        ended.extend(block_on(batch.step()).unwrap());
    }
    ended.extend(run_out(&mut batch));
    for (i, wanted) in wanted.iter().enumerate() {
        let found = ended[&tickets[i]].as_ref().unwrap();
        assert_eq!(found.tokens, wanted.tokens, "request {i}");
        assert_eq!((&found.text, found.finish_reason), (&wanted.text, wanted.finish_reason));
        assert_eq!(*streamed[i].borrow(), wanted.text);
    }
}

#[test]
fn answers_together_equal_answers_alone() {
    for gpu in gpus() {
        check_same(&mut load(&gpu, &stories(), 3));
    }
}

#[test]
fn tinystories_together_equals_tinystories_alone() {
    if shared("models/TinyStories-656K").is_none() {
        return;
    }
    for gpu in gpus() {
        check_same(&mut load(&gpu, &open_folder("models/TinyStories-656K"), 8));
    }
}

/// Loading for several answers changes nothing of what one says.
#[test]
fn parallel_or_not_the_built_in_model_gives_its_references() {
    let Some(gpu) = raw_gpu().map(Rc::new) else { return };
    let mut session = load(&gpu, &stories(), 2);
    let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let reference: serde_json::Value =
        serde_json::from_slice(&std::fs::read(models.join("stories.reference.json")).unwrap()).unwrap();
    for case in reference["cases"].as_array().unwrap() {
        let options = GenerateOptions { max_tokens: Some(60), ..GenerateOptions::default() };
        let prompt = session.raw_prompt(case["prompt"].as_str().unwrap()).unwrap();
        let wanted: Vec<u32> = serde_json::from_value(case["greedy_ids"].clone()).unwrap();
        assert_eq!(alone(&mut session, &(prompt, options)).tokens, wanted);
    }
}

#[test]
fn a_cancelled_answer_leaves_its_slot_and_the_others_alone() {
    let Some(gpu) = raw_gpu().map(Rc::new) else { return };
    let mut session = load(&gpu, &stories(), 3);
    let requests = requests(&session);
    let wanted: Vec<Generation> = requests.iter().map(|request| alone(&mut session, request)).collect();
    session.forget();
    let mut batch = Batch::new(&mut session);
    let cancel = Cancel::default();
    let mut tickets = Vec::new();
    for (i, (prompt, options)) in requests.iter().enumerate() {
        let options =
            GenerateOptions { cancel: if i == 0 { cancel.clone() } else { Cancel::default() }, ..options.clone() };
        let (mut n_pieces, cancel) = (0, cancel.clone());
        let on_piece = move |_: trice::session::Piece<'_>| {
            n_pieces += 1;
            // The first is stopped by another's fifth piece, amid its own.
            if i == 2 && n_pieces == 5 {
                cancel.cancel();
            }
            ControlFlow::Continue(())
        };
        tickets.push(batch.admit(prompt, &options, Box::new(on_piece)).unwrap());
    }
    assert!(!batch.has_room());
    let (prompt, options) = &requests[0];
    let refused = batch.admit(prompt, options, Box::new(|_| ControlFlow::Continue(()))).unwrap_err();
    assert!(matches!(refused, Error::Limit { .. }), "{refused}");
    let mut ended = HashMap::new();
    while ended.is_empty() {
        ended.extend(block_on(batch.step()).unwrap());
    }
    let cancelled = ended[&tickets[0]].as_ref().unwrap();
    assert_eq!(cancelled.finish_reason, FinishReason::Cancelled);
    let n = cancelled.tokens.len();
    assert!(n > 0 && n < 40, "{n} tokens");
    assert_eq!(cancelled.tokens, wanted[0].tokens[..n]);
    // Its slot serves the same request again, beside the others.
    tickets[0] = batch.admit(prompt, options, Box::new(|_| ControlFlow::Continue(()))).unwrap();
    ended.extend(run_out(&mut batch));
    for (ticket, wanted) in tickets.iter().zip(&wanted) {
        assert_eq!(ended[ticket].as_ref().unwrap().tokens, wanted.tokens);
    }
}

/// A token whose embedding overflows: an answer right after it fails, those beside it do not, and its slot is good again.
#[test]
fn a_failed_answer_harms_no_other() {
    let Some(gpu) = raw_gpu().map(Rc::new) else { return };
    let mut toy = Toy::llama();
    let row = 65 * DIM as usize;
    toy = toy.patch("token_embd.weight", row * 4, bytemuck::cast_slice(&[3e38f32; DIM as usize]));
    assert_eq!(toy.tensors["token_embd.weight"].0, DType::F32);
    let mut session = load(&gpu, &toy.open(), 2);
    let options = GenerateOptions { max_tokens: Some(6), ignore_end: true, ..GenerateOptions::default() };
    let good: Request = (vec![257, 3, 4, 5], options.clone());
    let wanted = alone(&mut session, &good).tokens;
    assert!(!wanted.contains(&65));
    session.forget();
    let mut batch = Batch::new(&mut session);
    let quiet = || Box::new(|_: trice::session::Piece<'_>| ControlFlow::Continue(()));
    let beside = batch.admit(&good.0, &options, quiet()).unwrap();
    let bad = batch.admit(&[257, 4, 65], &options, quiet()).unwrap();
    let mut ended = run_out(&mut batch);
    let error = ended.remove(&bad).unwrap().unwrap_err();
    assert!(error.to_string().contains("not numbers"), "{error}");
    assert_eq!(ended[&beside].as_ref().unwrap().tokens, wanted);
    let both = [(); 2].map(|()| batch.admit(&good.0, &options, quiet()).unwrap());
    let ended = run_out(&mut batch);
    assert!(both.iter().all(|ticket| ended[ticket].as_ref().unwrap().tokens == wanted));
}

#[test]
fn a_slot_keeps_its_conversation_for_the_next_turn() {
    let Some(gpu) = raw_gpu().map(Rc::new) else { return };
    let mut session = load(&gpu, &stories(), 2);
    let requests = requests(&session);
    let quiet = || Box::new(|_: trice::session::Piece<'_>| ControlFlow::Continue(()));
    let mut batch = Batch::new(&mut session);
    let tickets: Vec<Ticket> =
        requests[1..].iter().map(|(prompt, options)| batch.admit(prompt, options, quiet()).unwrap()).collect();
    let mut ended = run_out(&mut batch);
    let first = ended.remove(&tickets[1]).unwrap().unwrap();
    let longer: Vec<u32> = first.prompt_tokens.iter().chain(&first.tokens[..20]).copied().collect();
    let options = GenerateOptions { max_tokens: Some(13), ignore_end: true, ..GenerateOptions::default() };
    let again = batch.admit(&longer, &options, quiet()).unwrap();
    // One chunk is enough: all but the last token are there.
    let mut n_steps = 0;
    let mut ended = HashMap::new();
    while ended.is_empty() {
        ended = block_on(batch.step()).unwrap().into_iter().collect();
        n_steps += 1;
    }
    assert!(n_steps <= 13, "{n_steps} steps");
    assert_eq!(ended[&again].as_ref().unwrap().tokens, first.tokens[20..33]);
}

#[test]
fn too_many_answers_at_once_are_a_limit() {
    let Some(gpu) = raw_gpu() else { return };
    // 8 kB of keys per layer and sequence.
    let gpu = Rc::new(gpu.with_max_binding(40 << 10));
    let load = |parallel| {
        let options = LoadOptions { parallel: Some(parallel), kv_type: KvType::F32, ..LoadOptions::default() };
        block_on(Session::load(&gpu, &Toy::llama().open(), &options, &mut |_| {}))
    };
    let Err(error) = load(8) else { panic!("64 kB of keys in a binding of 40") };
    assert!(error.to_string().contains("fewer sequences"), "{error}");
    assert!(matches!(load(9), Err(Error::Limit { available: 8, .. })));
    assert!(matches!(load(0), Err(Error::Invalid { .. })));
}
